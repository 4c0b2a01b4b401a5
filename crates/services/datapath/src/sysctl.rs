//! Kernel settings of a network namespace.

use std::fs;
use std::io;

/// Sets `net.<key>` (with `/` between its parts) in the calling thread's network namespace.
pub fn set(key: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{key}");
    fs::write(&path, value)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot set {path} to {value}: {error}")))
}

/// Settings of a pod's or node's namespace, to be made before it gets its links.
///
/// Addresses are assigned by us, so neither duplicate detection (a second of waiting for each IPv6 address)
/// nor router advertisements have a part.
pub(crate) fn quiet_ipv6() -> io::Result<()> {
    if !has_ipv6() {
        return Ok(());
    }
    for key in ["accept_dad", "accept_ra", "router_solicitations"] {
        for scope in ["all", "default"] {
            set(&format!("ipv6/conf/{scope}/{key}"), "0")?;
        }
    }
    Ok(())
}

/// Links of a node's namespace get no IPv6 address but those that we give them: its ends of the pods' links are
/// only ports of the bridge.
pub(crate) fn no_own_ipv6() -> io::Result<()> {
    const NONE: &str = "1";
    if has_ipv6() { set("ipv6/conf/default/addr_gen_mode", NONE) } else { Ok(()) }
}

/// What passes the node's bridge is not shown to the packet filter of its namespace: there are no rules, the
/// walk costs every packet, and fragments would be put together before the pods' links are judged.
pub(crate) fn no_bridge_filter() -> io::Result<()> {
    for table in ["iptables", "ip6tables", "arptables"] {
        let key = format!("bridge/bridge-nf-call-{table}");
        match set(&key, "0") {
            // The kernel has no such filter.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

/// Whether the kernel speaks IPv6.
pub(crate) fn has_ipv6() -> bool {
    fs::exists("/proc/sys/net/ipv6").unwrap_or(false)
}
