//! The Rust crates `spiffe` and `spiffe-rustls`: a client program of our own on them.

use super::build::{Programs, Recipe, cache};
use super::checks::Checks;
use super::lab::Lab;
use super::{Peer, broker, client, go_spiffe};
use crate::cargo::run as run_command;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

pub(super) const PEER: Peer = Peer {
    name: "rust-spiffe",
    version: "0.19.0, rustls 0.11.0",
    recipe: Recipe { folder: "rust-clients", programs: &["rust-clients"], make },
    run,
};

fn run(programs: &Programs, checks: &mut Checks) -> Result<()> {
    let lab = Lab::up("interop-rust")?;
    let program = programs.path("rust-clients");
    client::check(&lab, &program, checks)?;
    broker::check(&program, checks)?;
    let Some(go) = go_spiffe::PEER.recipe.cached() else {
        println!("  go-spiffe is not built: no check of the two libraries with each other");
        return Ok(());
    };
    let go = go.path("go-spiffe");
    println!("  as the client of go-spiffe, then as its server:");
    client::mutual_tls(&lab, &program, &go, checks)?;
    client::mutual_tls(&lab, &go, &program, checks)
}

fn make(sources: &Path, out: &Path) -> Result<()> {
    // A target folder that stays, so that a change of the program does not compile the crates again.
    let target = cache()?.join("rust-clients.target");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--locked", "--target-dir"]).arg(&target).current_dir(sources);
    run_command(&mut build)?;
    let built = target.join("debug/rust-clients");
    std::fs::copy(&built, out.join("rust-clients")).with_context(|| built.display().to_string())?;
    Ok(())
}
