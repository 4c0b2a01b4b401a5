//! What the machine and the caller must have.

use lictor_report::{CheckRow, CheckState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What making namespaces, links, cgroups and BPF programs needs, by capability number (capability.h).
const NEEDED: [(u32, &str); 4] = [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (21, "CAP_SYS_ADMIN"), (39, "CAP_BPF")];
/// Files that a lab of two hundred pods holds open, with room.
const FILES: u64 = 16_384;
/// Memory that a small lab needs, in KiB.
const MEMORY: u64 = 512 << 10;
/// 2025-01-01: a clock before it was never set.
const NOT_BEFORE: Duration = Duration::from_secs(1_735_689_600);

/// Whether the caller has the capabilities.
pub(super) fn capabilities(status: &str) -> CheckRow {
    let sentence = "the caller may make namespaces, links and BPF programs";
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else {
        return CheckRow::failed(CheckState::Unknown, sentence, "/proc/self/status could not be read");
    };
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(number, _)| effective & (1 << number) == 0).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return CheckRow::passed(sentence);
    }
    let hint = "run the lab with sudo; `why` and `edges` need no root with -f DIR";
    CheckRow::failed(CheckState::Failed, sentence, hint).seeing(format!("without {}", missing.join(", ")))
}

/// Whether enough files may be open; the lab raises its soft limit to the hard one.
pub(super) fn open_files(limits: &str) -> CheckRow {
    let sentence = "enough files may be open for a lab of 200 pods";
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let hard = line.and_then(|line| line.split_whitespace().nth(1));
    match hard.map(|hard| if hard == "unlimited" { Ok(u64::MAX) } else { hard.parse() }) {
        Some(Ok(hard)) if hard >= FILES => CheckRow::passed(sentence),
        Some(Ok(hard)) => {
            let hint = format!("raise the hard limit: ulimit -Hn {FILES}");
            CheckRow::failed(CheckState::Warning, sentence, hint).seeing(format!("{hard} of {FILES}"))
        }
        _ => CheckRow::failed(CheckState::Unknown, sentence, "/proc/self/limits could not be read"),
    }
}

/// Whether there is memory for a small lab.
pub(super) fn memory(meminfo: &str) -> CheckRow {
    let sentence = format!("{} MiB of memory are free", MEMORY >> 10);
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    match line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()) {
        Some(free) if free >= MEMORY => CheckRow::passed(sentence).seeing(format!("{} MiB", free >> 10)),
        Some(free) => CheckRow::failed(CheckState::Warning, sentence, "end what else runs, or take a smaller lab")
            .seeing(format!("{} MiB", free >> 10)),
        None => CheckRow::failed(CheckState::Unknown, sentence, "/proc/meminfo could not be read"),
    }
}

/// Whether the clock was set: certificates are valid from now on.
pub(super) fn clock(now: SystemTime) -> CheckRow {
    let sentence = "the clock is set";
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) if since >= NOT_BEFORE => CheckRow::passed(sentence),
        _ => CheckRow::failed(CheckState::Failed, sentence, "certificates are valid from now on; set the clock first"),
    }
}

#[cfg(test)]
mod tests {
    use super::{capabilities, clock, memory, open_files};
    use lictor_report::CheckState::{Failed, Passed, Unknown, Warning};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_user_lacks_capabilities_and_root_does_not() {
        assert_eq!(capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n").state, Passed);
        let user = capabilities("CapEff:\t0000000000003000\n");
        assert_eq!((user.state, user.seen.as_deref()), (Failed, Some("without CAP_SYS_ADMIN, CAP_BPF")));
        assert_eq!(capabilities("").state, Unknown);
    }

    #[test]
    fn limits_and_memory() {
        let limits =
            |hard: &str| format!("Max open files            1024                 {hard}               files\n");
        assert_eq!(open_files(&limits("1048576")).state, Passed);
        assert_eq!(open_files(&limits("unlimited")).state, Passed);
        assert_eq!(open_files(&limits("4096")).state, Warning);
        assert_eq!(memory("MemAvailable:    8000000 kB\n").state, Passed);
        assert_eq!(memory("MemAvailable:    80000 kB\n").state, Warning);
        assert_eq!(memory("").state, Unknown);
    }

    #[test]
    fn a_clock_that_was_never_set() {
        assert_eq!(clock(UNIX_EPOCH + Duration::from_secs(3600)).state, Failed);
        assert_eq!(clock(UNIX_EPOCH + Duration::from_secs(2_000_000_000)).state, Passed);
    }
}
