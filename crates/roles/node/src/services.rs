//! The service table of a snapshot, as the kernel's programs read it.

use lictor_cluster::Snapshot;
use lictor_datapath::VirtualService;
use lictor_model::Protocol;
use std::net::SocketAddr;

/// One entry for each virtual address and port, with the backends of its own family.
pub(crate) fn virtual_services(snapshot: &Snapshot) -> Vec<VirtualService> {
    let mut table = Vec::new();
    for service in snapshot.services.values() {
        for address in &service.addresses {
            for port in service.ports.iter().filter(|port| matches!(port.port.protocol, Protocol::Tcp | Protocol::Udp))
            {
                let backends = port.backends.iter().filter(|backend| backend.address.is_ipv4() == address.is_ipv4());
                table.push(VirtualService {
                    address: SocketAddr::new(*address, port.port.port),
                    protocol: port.port.protocol,
                    backends: backends.map(|backend| SocketAddr::new(backend.address, backend.port)).collect(),
                });
            }
        }
    }
    table
}
