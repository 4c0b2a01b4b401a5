//! Where a Workload API listens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The unix socket of a Workload API, by its absolute path.
///
/// Source: SPIFFE Workload Endpoint, section 4. The scheme `tcp` is refused: who asks is known by the socket alone, and
/// over TCP by nothing that this kernel vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadEndpoint(PathBuf);

/// A text that is no such place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected unix: and the absolute path of a socket, such as unix:/run/spire/agent.sock, saw {0}")]
pub struct InvalidEndpoint(String);

impl WorkloadEndpoint {
    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for WorkloadEndpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let refused = || InvalidEndpoint(text.to_owned());
        let rest = text.strip_prefix("unix:").ok_or_else(refused)?;
        // RFC 3986, section 3: `//` begins an authority, which has to be empty here.
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let plain = path.starts_with('/') && !path.starts_with("//") && !path.contains(['?', '#', '%', '\0']);
        if plain && path.len() > 1 { Ok(Self(PathBuf::from(path))) } else { Err(refused()) }
    }
}

impl fmt::Display for WorkloadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.0.display())
    }
}

#[cfg(test)]
mod tests {
    use super::WorkloadEndpoint;
    use std::path::Path;

    #[test]
    fn absolute_paths_of_unix_sockets_and_nothing_else() {
        for text in ["unix:/run/spire/agent.sock", "unix:///run/spire/agent.sock"] {
            let endpoint: WorkloadEndpoint = text.parse().expect("an endpoint");
            assert_eq!(endpoint.path(), Path::new("/run/spire/agent.sock"));
            assert_eq!(endpoint.to_string(), "unix:/run/spire/agent.sock");
        }
        let refused = [
            "",
            "unix:",
            "unix:/",
            "unix://",
            "unix:run/a",
            "unix://host/run/a",
            "unix:////run/a",
            "/run/a",
            "tcp://127.0.0.1:8000",
            "unix:/run/a?b",
            "unix:/run/a#b",
            "unix:/run/%61",
            "UNIX:/run/a",
        ];
        for text in refused {
            assert!(text.parse::<WorkloadEndpoint>().is_err(), "{text}");
        }
    }
}
