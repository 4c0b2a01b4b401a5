//! The fuzz targets: built with the coverage that libFuzzer follows by the toolchain of the workspace, and run.

use crate::cargo::{cargo, root, run, target_directory};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What libFuzzer needs to see of the code (SanitizerCoverage). No sanitizer beside it: the code is safe Rust, and a
/// panic, an overflow or a broken assertion is what is looked for.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
                        -Ccodegen-units=1";

/// Where a target begins, beside what earlier runs found.
const SEEDS: [(&str, &[&str]); 2] =
    [("manifest_read", &["examples", "crates/base/manifest/testdata"]), ("rego_policy", &["fuzz/seeds/rego_policy"])];

/// Checks that the targets fit the code, without building libFuzzer (it is C++).
pub(crate) fn check() -> Result<()> {
    let elsewhere = root().join("fuzz/libfuzzer.a");
    run(cargo(&["clippy", "--locked", "--quiet", "--manifest-path", "fuzz/Cargo.toml"])
        .args(["--", "-D", "warnings"])
        .env("CUSTOM_LIBFUZZER_PATH", elsewhere)
        .env("CARGO_TARGET_DIR", target_directory()?))
}

/// Runs each fuzz target, or those named, for some seconds.
pub(crate) fn fuzz(args: &[&str]) -> Result<()> {
    let (seconds, names) = match args.split_first() {
        Some((first, rest)) => (first.parse().context("expected a number of seconds")?, rest),
        None => (60_u32, &[][..]),
    };
    let fuzz = root().join("fuzz");
    let target_directory = target_directory()?.join("fuzz");
    run(cargo(&["build", "--locked", "--release", "--target", TARGET, "--manifest-path", "fuzz/Cargo.toml"])
        .args(names.iter().flat_map(|name| ["--bin", name]))
        .env("CARGO_TARGET_DIR", &target_directory)
        .env("RUSTFLAGS", COVERAGE))?;
    let mut targets: Vec<String> = fs::read_dir(fuzz.join("fuzz_targets"))?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|target| names.is_empty() || names.contains(&target.as_str()))
        .collect();
    targets.sort_unstable();
    ensure!(!targets.is_empty(), "no fuzz target is called {}", names.join(" or "));
    for target in targets {
        let (corpus, artifacts) = (fuzz.join("corpus").join(&target), fuzz.join("artifacts").join(&target));
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&artifacts)?;
        let seeds = SEEDS.iter().filter(|(of, _)| *of == target).flat_map(|(_, folders)| *folders);
        println!("{target}: {seconds} s");
        run(Command::new(target_directory.join(TARGET).join("release").join(&target))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"])
            .arg(corpus)
            .args(seeds.map(|folder| root().join(folder))))?;
    }
    Ok(())
}
