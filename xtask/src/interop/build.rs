//! The peers' programs: built from what is pinned below `tests/interop`, and kept by the hash of that.

use crate::cargo::{run, target_directory};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How a peer's programs are made.
pub(super) struct Recipe {
    /// The folder below `tests/interop`: sources, and the pins of everything that they use.
    pub(super) folder: &'static str,
    /// The programs that come of it.
    pub(super) programs: &'static [&'static str],
    /// Makes them from the first folder into the second.
    pub(super) make: fn(&Path, &Path) -> Result<()>,
}

/// A peer's programs, ready to run.
pub(super) struct Programs {
    folder: PathBuf,
    seconds: Option<u64>,
}

impl Programs {
    /// One of them.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// How they came to be here.
    pub(super) fn how(&self) -> String {
        self.seconds.map_or_else(|| "cached".to_owned(), |seconds| format!("built in {seconds} s"))
    }
}

impl Recipe {
    /// The programs, if they have been built from just these sources and pins.
    pub(super) fn cached(&self) -> Option<Programs> {
        let folder = self.place().ok()?;
        let whole = self.programs.iter().all(|program| folder.join(program).is_file());
        whole.then_some(Programs { folder, seconds: None })
    }

    /// Builds them; what an earlier version left is removed.
    pub(super) fn build(&self) -> Result<Programs> {
        println!("building {} ...", self.folder);
        let began = Instant::now();
        let place = self.place()?;
        let unfinished = place.with_extension("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished).with_context(|| unfinished.display().to_string())?;
        (self.make)(&self.sources(), &unfinished).with_context(|| format!("{} cannot be built", self.folder))?;
        for program in self.programs {
            ensure!(unfinished.join(program).is_file(), "{}: the build made no {program}", self.folder);
        }
        self.remove_others(&place)?;
        fs::rename(&unfinished, &place).with_context(|| place.display().to_string())?;
        Ok(Programs { folder: place, seconds: Some(began.elapsed().as_secs()) })
    }

    fn sources(&self) -> PathBuf {
        crate::cargo::root().join("tests/interop").join(self.folder)
    }

    /// Where programs of these sources belong.
    fn place(&self) -> Result<PathBuf> {
        Ok(cache()?.join(format!("{}-{}", self.folder, hash(&self.sources())?)))
    }

    fn remove_others(&self, place: &Path) -> Result<()> {
        let ours = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.rsplit_once('-').is_some_and(|(folder, _)| folder == self.folder)
        };
        let entries = fs::read_dir(cache()?)?.filter_map(|entry| Some(entry.ok()?.path()));
        for old in entries.filter(|path| ours(path) && path.extension().is_none_or(|end| end != "unfinished")) {
            fs::remove_dir_all(&old).with_context(|| format!("{} beside {}", old.display(), place.display()))?;
        }
        Ok(())
    }
}

/// The folder of everything that interop runs make.
pub(super) fn cache() -> Result<PathBuf> {
    Ok(target_directory()?.join("interop"))
}

/// Builds a Go module's `tool` lines, or its own program when it has none, from the registry alone and by its `go.sum`.
pub(super) fn go(sources: &Path, out: &Path) -> Result<()> {
    let has_tools = fs::read_to_string(sources.join("go.mod"))?.lines().any(|line| line.trim().starts_with("tool"));
    let registry = Command::new("go").args(["env", "GOPROXY"]).output().context("cannot start go: is it installed?")?;
    let registry = String::from_utf8_lossy(&registry.stdout);
    let registry: Vec<&str> = registry.trim().split([',', '|']).filter(|part| *part != "direct").collect();
    let mut build = Command::new("nice");
    build.args(["-n", "19", "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o"]).arg(out.join(""));
    build.arg(if has_tools { "tool" } else { "." }).current_dir(sources);
    // A peer may need C (SPIRE's SQLite, ghostunnel's PKCS#11); nothing may come from anywhere but the registry.
    run(build.env("CGO_ENABLED", "1").env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env("GOPROXY", registry.join(",")))
}

/// The hash of a folder's files with their names, as far as it names a cache: 16 hexadecimal digits of SHA-256.
fn hash(folder: &Path) -> Result<String> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start sha256sum")?;
    let mut to_hash = child.stdin.take().context("sha256sum without an input")?;
    for file in files(folder)? {
        let content = fs::read(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(folder)?.display();
        writeln!(to_hash, "{name} {}", content.len())?;
        to_hash.write_all(&content)?;
    }
    drop(to_hash);
    let output = child.wait_with_output()?;
    ensure!(output.status.success() && output.stdout.len() > 16, "sha256sum ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout[..16]).into_owned())
}

/// A folder's files in order, those below it among them, without what a build leaves.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                found.extend(files(&path)?);
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::hash;
    use std::fs;

    #[test]
    fn every_byte_and_name_counts_for_the_hash() {
        let folder = std::env::temp_dir().join(format!("interop-hash-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let with = |name: &str, text: &str| {
            fs::write(folder.join(name), text).expect("a file");
            hash(&folder).expect("a hash")
        };
        let (one, same, other) = (with("a", "1"), with("a", "1"), with("a", "2"));
        let more = with("b", "");
        fs::remove_dir_all(&folder).expect("removal");
        assert!(one == same && one.len() == 16);
        assert!(one != other && other != more);
    }
}
