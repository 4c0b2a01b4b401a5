//! Developer tasks: `cargo xtask TASK`, or `./x TASK` on a machine that may lack what the task needs.

mod bench;
mod bpf;
mod cargo;
mod demo;
mod floors;
mod fuzz;
mod gates;
mod interop;
mod licences;
mod picture;
mod suites;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  demo                       build, bring examples/shop up in the lab, probe it, leave it running
  test [ARGS...]             every test of the workspace, root parts included
  ci                         the gates, then the tests
  gates                      fmt, clippy, rustdoc, floors, licences, BPF objects, generated pages
  floors                     which crate may use which
  licences                   licences and banned crates
  bpf [--check]              compile bpf/*.bpf.c; with --check, compare with the committed objects
  conformance DIR... [--json]  run every public suite found below the folders
  bench NAME [--json]        a benchmark with its baseline in the same run: lab, path, engine
  fuzz [SECONDS [TARGET...]]  each fuzz target, so many seconds each (60)
  interop [--cached] [PEER...]  other people's clients and servers against a lab
  picture                    draw the pictures of docs/pictures again";

fn main() -> ExitCode {
    match task() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(1)
        }
    }
}

fn task() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["demo"] => demo::run_demo(),
        ["test", rest @ ..] => gates::test(rest),
        ["ci"] => gates::ci(),
        ["gates"] => gates::all(),
        ["floors"] => floors::check(),
        ["licences"] => licences::check(),
        ["bpf"] => bpf::compile(),
        ["bpf", "--check"] => bpf::check(),
        ["conformance", rest @ ..] => suites::conformance(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["fuzz", rest @ ..] => fuzz::fuzz(rest),
        ["interop", rest @ ..] => interop::run(rest),
        ["picture"] => picture::take(),
        _ => bail!("{USAGE}"),
    }
}
