//! ghostunnel: a pair of tunnels, each with its pod's SVID from our Workload API.

use super::Peer;
use super::build::{self, Programs, Recipe};
use super::checks::Checks;
use super::lab::{Lab, Running, SVID_SECONDS, id};
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Duration;

pub(super) const PEER: Peer = Peer {
    name: "ghostunnel",
    version: "v1.8.4",
    recipe: Recipe { folder: "ghostunnel", programs: &["ghostunnel"], make: build::go },
    run,
};

/// Where the server's end listens, in front of its pod's echo server.
const SERVER: u16 = 8443;

fn run(programs: &Programs, checks: &mut Checks) -> Result<()> {
    let lab = Lab::up("interop-ghost")?;
    let program = programs.path("ghostunnel");
    let listen = format!("0.0.0.0:{SERVER}");
    let words = ["server", "--use-workload-api", "--listen", &listen, "--target", "127.0.0.1:7000"];
    let _server =
        lab.start("server", &program, &[&words[..], &["--allow-uri", &id("client")]].concat(), "listening")?;
    let address = lab.address("server")?;
    let tunnel = |pod: &str, port: u16, expected: &str| Tunnel::open(&lab, &program, pod, port, (&address, expected));

    let own = tunnel("client", 9000, "server")?;
    checks.check("a request through both ends reaches the echo server behind", own.passes(&lab));
    let renewed = || {
        std::thread::sleep(Duration::from_secs(2 * SVID_SECONDS));
        own.passes(&lab)
    };
    checks.check("it does still when both first SVIDs have expired", renewed());
    let stranger = tunnel("stranger", 9000, "server")?;
    checks.check("the server's end refuses the SVID of another pod", stranger.is_refused(&lab));
    let wary = tunnel("client", 9001, "stranger")?;
    checks.check("the client's end refuses a server of another SPIFFE ID", wary.is_refused(&lab));
    Ok(())
}

/// A client's end of a tunnel.
struct Tunnel {
    pod: String,
    port: u16,
    _running: Running,
}

impl Tunnel {
    fn open(lab: &Lab, program: &Path, pod: &str, port: u16, (address, expected): (&str, &str)) -> Result<Self> {
        let (listen, target) = (format!("127.0.0.1:{port}"), format!("{address}:{SERVER}"));
        let words = ["client", "--use-workload-api", "--listen", &listen, "--target", &target];
        let expected = id(expected);
        let words = [&words[..], &["--verify-uri", &expected]].concat();
        let running = lab.start(pod, program, &words, "listening")?;
        Ok(Self { pod: pod.to_owned(), port, _running: running })
    }

    /// What the echo server behind answers to a question through the tunnel; nothing when the tunnel is closed.
    fn answer(&self, lab: &Lab) -> Result<String> {
        lab.ask(&self.pod, "127.0.0.1", self.port)
    }

    fn passes(&self, lab: &Lab) -> Result<()> {
        let answer = self.answer(lab)?;
        ensure!(answer.contains("interop/server"), "expected the server's answer, seen `{answer}`");
        Ok(())
    }

    fn is_refused(&self, lab: &Lab) -> Result<()> {
        let answer = self.answer(lab)?;
        // Nothing came back, not even the echo of the question.
        ensure!(answer.is_empty(), "it passed: {answer}");
        Ok(())
    }
}
