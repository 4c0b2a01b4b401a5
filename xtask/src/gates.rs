//! What must hold before a change lands.

use crate::cargo::{cargo, is_root, run};
use crate::{bpf, floors, fuzz, licences};
use anyhow::{Context, Result, ensure};
use std::time::Instant;

/// The gates, then every test.
pub(crate) fn ci() -> Result<()> {
    all()?;
    test(&[])
}

/// Every gate, with the time that each took.
pub(crate) fn all() -> Result<()> {
    type Gate = fn() -> Result<()>;
    let gates: [(&str, Gate); 7] = [
        ("fmt", || run(&mut cargo(&["fmt", "--all", "--check"]))),
        ("floors", floors::check),
        ("licences", licences::check),
        ("bpf", bpf::check),
        ("clippy", || {
            run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"]))
        }),
        ("fuzz targets", fuzz::check),
        ("rustdoc", || {
            run(cargo(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
        }),
    ];
    for (name, gate) in gates {
        let start = Instant::now();
        gate().with_context(|| format!("gate {name}"))?;
        println!("gate {name}: passed in {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Every test; those that speak to the kernel need root, so without it all test programs run by sudo.
pub(crate) fn test(args: &[&str]) -> Result<()> {
    let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(args);
    if !is_root() {
        eprintln!("not root: the test programs run by sudo (namespaces, eBPF and cgroups need it)");
        command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo -E");
    }
    let start = Instant::now();
    let output = run(&mut command);
    println!("tests took {:.0} s", start.elapsed().as_secs_f64());
    output?;
    ensure!(args.is_empty() || !args.contains(&"--no-run"), "nothing was run");
    Ok(())
}
