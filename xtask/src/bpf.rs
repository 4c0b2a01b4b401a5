//! The eBPF objects: compiled by clang 14, committed, and compared byte for byte.

use crate::cargo::{root, run, target_directory};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FLAGS: [&str; 8] = ["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3", "-fdebug-compilation-dir=."];

/// Compiles every program into `bpf/`.
pub(crate) fn compile() -> Result<()> {
    for name in programs()? {
        build(&name, &root().join("bpf"))?;
    }
    Ok(())
}

/// Compiles every program elsewhere and fails when an object differs from the committed one.
pub(crate) fn check() -> Result<()> {
    let out = target_directory()?.join("bpf-check");
    fs::create_dir_all(&out)?;
    let names = programs()?;
    for name in &names {
        let fresh = fs::read(build(name, &out)?)?;
        let committed = fs::read(root().join("bpf").join(format!("{name}.bpf.o"))).unwrap_or_default();
        ensure!(fresh == committed, "bpf/{name}.bpf.o is not what its source compiles to: run `cargo xtask bpf`");
    }
    println!("bpf: {} objects match their source byte for byte", names.len());
    Ok(())
}

fn programs() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("bpf")).context("cannot read bpf/")? {
        let file = entry?.file_name();
        names.extend(file.to_str().and_then(|name| name.strip_suffix(".bpf.c")).map(ToOwned::to_owned));
    }
    ensure!(!names.is_empty(), "bpf/ holds no program");
    names.sort();
    Ok(names)
}

fn build(name: &str, out: &Path) -> Result<PathBuf> {
    let object = out.join(format!("{name}.bpf.o"));
    let source = format!("{name}.bpf.c");
    // Relative names only: the object must not depend on where the tree lies.
    run(Command::new("clang-14").current_dir(root().join("bpf")).args(FLAGS).args(["-c", &source, "-o"]).arg(&object))?;
    run(Command::new("llvm-strip-14").arg("-g").arg(&object))?;
    Ok(object)
}
