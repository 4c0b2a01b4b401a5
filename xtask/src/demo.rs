//! The shop in the lab, for somebody who sees lictor for the first time.

use crate::cargo::{cargo, is_root, root, run, target_directory};
use anyhow::Result;
use std::ffi::OsStr;
use std::process::Command;

/// The built program with these arguments, by sudo where needed.
pub(crate) fn run_lictor(lictor: &OsStr, args: &[&str]) -> Command {
    let mut command = if is_root() { Command::new(lictor) } else { sudo(lictor) };
    command.args(args).current_dir(root());
    command
}

/// Builds, brings `examples/shop` up, shows its status, probes it, and leaves it running.
pub(crate) fn run_demo() -> Result<()> {
    if !is_root() {
        eprintln!("not root: the lab runs by sudo (namespaces, eBPF and cgroups need it); the build does not");
    }
    println!("building lictor (the first time takes a few minutes on two cores)");
    run(&mut cargo(&["build", "--locked", "-p", "lictor"]))?;
    let lictor = target_directory()?.join("debug/lictor");
    let lictor = lictor.as_os_str();
    let step = |args: &[&str]| {
        println!("\n$ lictor {}", args.join(" "));
        run_lictor(lictor, args).status()
    };
    run_lictor(lictor, &["down"]).output()?;
    let up = step(&["up", "examples/shop", "--detach"])?;
    anyhow::ensure!(up.success(), "the lab did not come up");
    anyhow::ensure!(step(&["status"])?.success(), "the lab does not answer");
    anyhow::ensure!(step(&["probe"])?.success(), "the probe found what the engine had not predicted, or failed");
    let shown = lictor.to_string_lossy();
    let shown = shown.strip_prefix(&format!("{}/", root().display())).unwrap_or(&shown);
    let sudo = if is_root() { "" } else { "sudo " };
    println!("\nThe shop is running. Try next:");
    println!(
        "  {sudo}{shown} why production/api production/db:5432     # why the published pair of policies is not enough"
    );
    println!("  {sudo}{shown} flows -f                                  # every decision as it is made");
    println!("  {sudo}{shown} down                                      # when you are done");
    Ok(())
}

fn sudo(lictor: &OsStr) -> Command {
    let mut command = Command::new("sudo");
    command.arg(lictor);
    command
}
