//! The files below a path, in a fixed order.

use lictor_manifest::{Code, Finding, Position};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Folders are not entered deeper than this.
const MAX_DEPTH: usize = 32;
/// More files than this are not read.
const MAX_FILES: usize = 50_000;

/// What can be told of files without reading them. Two are equal when no file was added, removed or written between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint(u64);

/// The files that were found, and what was wrong on the way.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The files by the name that findings call them.
    pub files: BTreeMap<String, PathBuf>,
    pub findings: Vec<Finding>,
    folders: HashSet<(u64, u64)>,
}

impl Found {
    /// The files below these paths. With one folder, names are relative to it; otherwise they begin as the path was given.
    pub(crate) fn below(roots: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for root in roots {
            let known = found.files.len();
            let name = root.display().to_string();
            match std::fs::metadata(root) {
                Ok(metadata) if metadata.is_dir() => {
                    let prefix =
                        if roots.len() == 1 { String::new() } else { format!("{}/", name.trim_end_matches('/')) };
                    found.folder(root, &prefix, 0);
                    if found.files.len() == known && found.findings.is_empty() {
                        found.complain(&name, "expected a YAML or JSON file in this folder or below, found none");
                    }
                }
                Ok(_) => drop(found.files.insert(name, root.clone())),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    found.complain(&name, "expected a folder or a file, found nothing of this name");
                }
                Err(error) => found.complain(&name, &error.to_string()),
            }
        }
        found
    }

    fn complain(&mut self, name: &str, message: &str) {
        self.findings.push(Finding::new(Code::Unreadable, Position::of_file(name), message));
    }

    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.complain(prefix.trim_end_matches('/'), &error.to_string()),
        };
        if depth > MAX_DEPTH {
            return self.complain(
                prefix.trim_end_matches('/'),
                &format!("expected at most {MAX_DEPTH} folders in each other"),
            );
        }
        // A folder that is reached twice, by a link, is read once.
        if let Ok(metadata) = std::fs::metadata(folder)
            && !self.folders.insert((metadata.dev(), metadata.ino()))
        {
            return;
        }
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            let path = folder.join(name);
            if path.is_dir() {
                self.folder(&path, &format!("{prefix}{name}/"), depth + 1);
            } else if is_manifest(&path) {
                if self.files.len() == MAX_FILES {
                    return self.complain(prefix.trim_end_matches('/'), &format!("expected at most {MAX_FILES} files"));
                }
                self.files.insert(format!("{prefix}{name}"), path);
            }
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        for (name, path) in &self.files {
            name.hash(&mut hasher);
            let facts = std::fs::metadata(path).ok();
            facts
                .map(|facts| {
                    (
                        facts.dev(),
                        facts.ino(),
                        facts.size(),
                        facts.mtime(),
                        facts.mtime_nsec(),
                        facts.ctime(),
                        facts.ctime_nsec(),
                    )
                })
                .hash(&mut hasher);
        }
        for finding in &self.findings {
            finding.hash(&mut hasher);
        }
        Fingerprint(hasher.finish())
    }
}

/// Whether a file's name ends as manifests do.
fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["yaml", "yml", "json"].iter().any(|known| known.eq_ignore_ascii_case(ending)) || is_kustomization(path)
}

/// Whether a file is one that `kubectl -k` looks for.
///
/// Source: kubectl.docs.kubernetes.io, "The Kustomization File".
pub(crate) fn is_kustomization(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    matches!(name, "kustomization.yaml" | "kustomization.yml" | "Kustomization")
}
