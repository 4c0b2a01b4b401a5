//! What a port speaks, as far as its declarations say.

use lictor_cluster::{Pod, Snapshot};
use lictor_model::Protocol;

/// The application protocol of a pod's TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AppProtocol {
    /// HTTP/1.1, which may be upgraded.
    Http,
    /// HTTP/2 without TLS, gRPC included.
    Http2,
    /// Something else: TLS, a database's protocol, plain TCP.
    Other,
    /// Nothing says; the first bytes do.
    Undeclared,
}

impl AppProtocol {
    /// What a pod's TCP port is declared to speak: by `appProtocol` of a Service in front of it, else by the name
    /// of the Service's port, else by the name of the container's.
    ///
    /// Source: istio.io, ops/configuration/traffic-management/protocol-selection: a name is
    /// `<protocol>[-<suffix>]`, and `appProtocol` comes before it.
    pub fn of(snapshot: &Snapshot, pod: &Pod, port: u16) -> Self {
        let serves = |backends: &&lictor_cluster::ServiceBackends| {
            backends.port.protocol == Protocol::Tcp
                && backends
                    .backends
                    .iter()
                    .any(|backend| backend.port == port && backend.pod.as_ref() == Some(&pod.name))
        };
        let in_namespace =
            snapshot.services.values().filter(|service| service.service.meta.name.namespace == pod.name.namespace);
        let fronts: Vec<_> = in_namespace.flat_map(|service| service.ports.iter().filter(serves)).collect();
        let by_field = fronts.iter().filter_map(|front| front.port.app_protocol.as_deref()).map(Self::of_field);
        let by_name = fronts.iter().map(|front| Self::of_name(&front.port.name));
        let container = pod.ports.iter().filter(|own| own.port == port && own.protocol == Protocol::Tcp);
        let by_container = container.map(|own| Self::of_name(&own.name));
        by_field.chain(by_name).chain(by_container).find(|found| *found != Self::Undeclared).unwrap_or(Self::Undeclared)
    }

    /// What an `appProtocol` stands for; a prefix such as `kubernetes.io/` is no part of it.
    pub fn of_field(text: &str) -> Self {
        Self::of_word(text.rsplit('/').next().unwrap_or(text))
    }

    /// What a port's name stands for: `http`, `http-metrics`, `grpc-web`.
    pub fn of_name(name: &str) -> Self {
        match name.split_once('-') {
            Some(("grpc", "web")) => Self::Http,
            Some((word, _)) => Self::of_word(word),
            None => Self::of_word(name),
        }
    }

    fn of_word(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "http" | "http1" | "ws" => Self::Http,
            "http2" | "h2c" | "grpc" => Self::Http2,
            "https" | "tls" | "tcp" | "udp" | "mongo" | "mysql" | "redis" | "wss" => Self::Other,
            _ => Self::Undeclared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AppProtocol;

    #[test]
    fn names_and_fields() {
        for (name, protocol) in [
            ("http", AppProtocol::Http),
            ("http-metrics", AppProtocol::Http),
            ("HTTP", AppProtocol::Http),
            ("http2-api", AppProtocol::Http2),
            ("grpc", AppProtocol::Http2),
            ("grpc-web", AppProtocol::Http),
            ("https", AppProtocol::Other),
            ("tcp-postgres", AppProtocol::Other),
            ("web", AppProtocol::Undeclared),
            ("httpx", AppProtocol::Undeclared),
            ("", AppProtocol::Undeclared),
        ] {
            assert_eq!(AppProtocol::of_name(name), protocol, "{name}");
        }
        assert_eq!(AppProtocol::of_field("kubernetes.io/h2c"), AppProtocol::Http2);
        assert_eq!(AppProtocol::of_field("kubernetes.io/ws"), AppProtocol::Http);
        assert_eq!(AppProtocol::of_field("http"), AppProtocol::Http);
        assert_eq!(AppProtocol::of_field("example.com/own"), AppProtocol::Undeclared);
    }
}
