//! Other people's programs against lictor: clients of the Workload API and Envoy in the pods of a lab, and OPA beside the engine.
//!
//! A peer comes from a public package registry, at the version that its recipe pins, or it is named with the reason why
//! there is none. Every peer runs against a lab of its own; each check asserts what it says of real output.

mod beside_spire;
mod broker;
mod build;
mod checks;
mod client;
mod deviations;
mod envoy;
mod federation;
mod ghostunnel;
mod go_spiffe;
mod lab;
mod opa;
mod rust_clients;
mod spire;
mod spire_server;

use crate::cargo::{cargo, is_root, run as run_command};
use anyhow::{Result, bail, ensure};
use build::{Programs, Recipe};
use checks::{Checks, Outcome, table};
use spire_server::Spire;

/// A program of other people, and what is asked of it.
struct Peer {
    name: &'static str,
    version: &'static str,
    recipe: Recipe,
    run: fn(&Programs, &mut Checks) -> Result<()>,
}

impl Peer {
    /// Whether it runs in the pods of a lab; OPA is asked what lictor's engine is asked.
    fn runs_in_a_lab(&self) -> bool {
        self.name != opa::PEER.name
    }
}

const PEERS: [Peer; 7] =
    [go_spiffe::PEER, spire::PEER, ghostunnel::PEER, rust_clients::PEER, beside_spire::PEER, envoy::PEER, opa::PEER];

/// What a user would look for here and no registry has; each with the reason.
const NOT_AVAILABLE: [(&str, &str); 4] = [
    ("SPIRE after 1.10", "the Go registry has no complete set of modules for 1.11 to 1.15"),
    ("spiffe-helper", "no version of it is on the Go registry; go-spiffe and ghostunnel stand in for it"),
    ("spire-agent api fetch bundle", "SPIRE 1.10 has no such command; what it prints of bundles is checked instead"),
    (
        "opa-envoy-plugin",
        "no version of it is on the Go registry; its input document is made by the libraries that it uses",
    ),
];

const USAGE: &str = "usage: cargo xtask interop [--cached] [PEER...]
  --cached  build no peer: run those whose programs are there, and name the others";

/// A SPIRE that runs until it is dropped, if its programs have been built.
pub(crate) fn spire_beside() -> Result<Option<Spire>> {
    beside_spire::PEER.recipe.cached().map(|programs| Spire::start(&programs)).transpose()
}

/// Runs the named peers, or all; fails when a check fails or a peer cannot be built.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let (options, names): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('-'));
    let cached = options.contains(&"--cached");
    ensure!(options.iter().all(|option| *option == "--cached"), "{USAGE}");
    let unknown = names.iter().find(|name| PEERS.iter().all(|peer| peer.name != **name));
    if let Some(unknown) = unknown {
        let known: Vec<&str> = PEERS.iter().map(|peer| peer.name).collect();
        bail!("{USAGE}\n{unknown}: no such peer; there are {}", known.join(", "));
    }
    if !is_root() && PEERS.iter().any(|peer| peer.runs_in_a_lab() && (names.is_empty() || names.contains(&peer.name))) {
        eprintln!("not root: the lab runs by sudo (namespaces, eBPF and cgroups need it); the builds do not");
    }
    let mut chosen = PEERS.iter().filter(|peer| names.is_empty() || names.contains(&peer.name));
    let outcomes = if cached && chosen.clone().all(|peer| peer.recipe.cached().is_none()) {
        chosen.map(not_built).collect()
    } else {
        if chosen.clone().any(Peer::runs_in_a_lab) {
            run_command(&mut cargo(&["build", "--locked", "-p", "lictor"]))?;
        }
        chosen.try_fold(Vec::new(), |mut outcomes, peer| {
            outcomes.push(run_peer(peer, cached)?);
            anyhow::Ok(outcomes)
        })?
    };
    print!("\n{}", table(&outcomes, &NOT_AVAILABLE));
    ensure!(outcomes.iter().all(Outcome::is_clean), "not every peer passed");
    Ok(())
}

fn run_peer(peer: &Peer, cached: bool) -> Result<Outcome> {
    let programs = match (peer.recipe.cached(), cached) {
        (Some(programs), _) => programs,
        (None, true) => return Ok(not_built(peer)),
        (None, false) => match peer.recipe.build() {
            Ok(programs) => programs,
            Err(error) => {
                let mut checks = Checks::default();
                checks.check("its programs are built", Err(error));
                return Ok(Outcome::ran(peer.name, peer.version, "none".to_owned(), checks));
            }
        },
    };
    println!("\n{} {} ({})", peer.name, peer.version, programs.how());
    let mut checks = Checks::default();
    // A peer that cannot go on is a failure of its own: the others still run.
    if let Err(error) = (peer.run)(&programs, &mut checks) {
        checks.check("the peer's run goes to its end", Err(error));
    }
    Ok(Outcome::ran(peer.name, peer.version, programs.how(), checks))
}

fn not_built(peer: &Peer) -> Outcome {
    Outcome::not_built(peer.name, peer.version)
}
