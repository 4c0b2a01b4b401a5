//! Benchmarks of a running lictor; each prints what it measured beside a baseline of the same run.
//!
//! `lictor-bench lab` and `lictor-bench path` bring a lab up with the `lictor` binary beside this one and need
//! root; `identity` needs root for its cgroups; `engine` and `growth` need nothing. `serve` and `load` are the two ends that
//! `path` runs inside pods, `callers` are the pods of `identity`.

mod cost;
mod engine;
mod figures;
mod growth;
mod identity;
mod lab;
mod load;
mod objects;
mod path;
mod pods;
mod process;

use anyhow::{Result, bail};
use mimalloc::MiMalloc;

/// The one of `lictor`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const USAGE: &str = "usage: lictor-bench lab|path|engine|growth|identity [--json] [--spire SERVER-PROGRAM SERVER-SOCKET AGENT-SOCKET AGENT-ID]";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let json = words.contains(&"--json");
    match words.as_slice() {
        ["serve"] => load::serve(),
        ["load", kind, address, amount] => load::run(kind, address, amount),
        ["callers", socket] => identity::callers(socket),
        ["identity", rest @ ..] => identity::measure(identity::Spire::of(rest)?.as_ref())?.print(json),
        ["lab", ..] => lab::measure()?.print(json),
        ["path", ..] => path::measure()?.print(json),
        ["engine-shape", number] => engine::shape(number),
        ["growth"] => growth::measure(),
        ["growth-point", sizes @ ..] => growth::point(sizes),
        ["engine", ..] => engine::measure()?.print(json),
        _ => bail!(USAGE),
    }
}
