//! The allocator, told what a relay does.

#![allow(unsafe_code)] // glibc's settings have no safe interface.

/// Keeps up to 16 MiB of freed memory in each arena instead of giving it back to the kernel at once.
///
/// A bulk transfer allocates and frees buffers of some hundred KiB all the time. glibc's defaults return them to the
/// kernel (`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` are 128 KiB, mallopt(3)), and each comes back as page faults: a third of
/// the CPU time of a transfer (`measure_the_path`). Another allocator than glibc's is left alone.
pub(crate) fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (setting, bytes) in [(libc::M_TRIM_THRESHOLD, 16 << 20), (libc::M_MMAP_THRESHOLD, 4 << 20)] {
        // SAFETY: `mallopt` takes two integers and may be called at any time; it locks the arenas itself.
        let taken = unsafe { libc::mallopt(setting, bytes) };
        if taken == 0 {
            tracing::debug!(setting, bytes, "the allocator does not take a setting");
        }
    }
}
