//! go-spiffe: a client program of our own on it.

use super::build::{self, Programs, Recipe};
use super::checks::Checks;
use super::lab::Lab;
use super::{Peer, client, federation};
use anyhow::Result;

pub(super) const PEER: Peer = Peer {
    name: "go-spiffe",
    version: "v2.9.0",
    recipe: Recipe { folder: "go-spiffe", programs: &["go-spiffe"], make: build::go },
    run,
};

fn run(programs: &Programs, checks: &mut Checks) -> Result<()> {
    let program = programs.path("go-spiffe");
    client::check(&Lab::up("interop-go")?, &program, checks)?;
    federation::check(&program, checks)
}
