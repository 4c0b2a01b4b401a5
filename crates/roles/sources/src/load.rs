//! From paths to objects.

use crate::walk::{Fingerprint, Found, is_kustomization};
use lictor_manifest::{Code, Finding, Object, Position, kustomization, read_in};
use lictor_rego::Program;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file larger than this is not read.
const MAX_BYTES: u64 = 64 << 20;
/// How the standard input is called in findings.
const STDIN: &str = "stdin";

/// The texts of the files that were read, by the name that findings call them.
pub type Texts = BTreeMap<Arc<str>, String>;

/// Paths to read manifests from.
#[derive(Debug, Clone)]
pub struct Sources {
    paths: Vec<PathBuf>,
    /// The standard input, read once.
    stdin: Option<Arc<str>>,
    default_namespace: Arc<str>,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The objects, in the order of files and of documents within each.
    pub objects: Vec<Object>,
    /// What is wrong, or worth knowing.
    pub findings: Vec<Finding>,
    /// The files' texts, for printing findings with the lines that they are about.
    pub texts: Texts,
    /// What the files were before they were read.
    pub fingerprint: Fingerprint,
}

impl Loaded {
    /// Whether anything in it is refused.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }
}

impl Sources {
    /// These folders and files; `-` is the standard input, which is read now.
    ///
    /// # Errors
    /// When the standard input is asked for and is not text.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> std::io::Result<Self> {
        let (stdin, paths): (Vec<PathBuf>, Vec<PathBuf>) = paths.into_iter().partition(|path| path == Path::new("-"));
        let stdin = match stdin.is_empty() {
            true => None,
            false => Some(std::io::read_to_string(std::io::stdin().lock().take(MAX_BYTES))?.into()),
        };
        Ok(Self { paths, stdin, default_namespace: "default".into() })
    }

    /// The paths, without the standard input.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads everything anew.
    pub fn load(&self) -> Loaded {
        let found = Found::below(&self.paths);
        let mut loaded = Loaded { fingerprint: found.fingerprint(), ..Loaded::default() };
        let mut namespaces: BTreeMap<PathBuf, Arc<str>> = BTreeMap::new();
        let mut manifests = Vec::new();
        for (name, path) in &found.files {
            let text = match text(path) {
                Ok(text) => text,
                Err(message) => {
                    loaded.findings.push(Finding::new(Code::Unreadable, Position::of_file(name.as_str()), message));
                    continue;
                }
            };
            if is_kustomization(path) {
                let read = kustomization(name, &text);
                loaded.findings.extend(read.findings);
                if let (Some(namespace), Some(folder)) = (read.namespace, path.parent()) {
                    namespaces.insert(folder.to_owned(), namespace);
                }
            } else {
                manifests.push((name, path));
            }
            loaded.texts.insert(Arc::from(name.as_str()), text);
        }
        for (name, path) in manifests {
            let Some(text) = loaded.texts.get(name.as_str()) else { continue };
            let namespace = path.ancestors().skip(1).find_map(|folder| namespaces.get(folder));
            let reading = read_in(name, text, namespace.unwrap_or(&self.default_namespace));
            loaded.objects.extend(reading.objects);
            loaded.findings.extend(reading.findings);
        }
        if let Some(text) = &self.stdin {
            let reading = read_in(STDIN, text, &self.default_namespace);
            loaded.objects.extend(reading.objects);
            loaded.findings.extend(reading.findings);
            loaded.texts.insert(Arc::from(STDIN), text.to_string());
        }
        loaded.findings.extend(rego(&loaded.objects));
        loaded.findings.extend(found.findings);
        loaded
    }

    /// What can be told of the files without reading them.
    pub fn fingerprint(&self) -> Fingerprint {
        Found::below(&self.paths).fingerprint()
    }
}

/// What is wrong with the Rego of ConfigMaps. It is compiled again where it comes into force.
fn rego(objects: &[Object]) -> Vec<Finding> {
    let configs = objects.iter().filter_map(|object| match object {
        Object::Stored(stored) if stored.is_authorization() => Some(stored),
        _ => None,
    });
    Program::compile(configs, &Program::default()).err().unwrap_or_default()
}

fn text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("expected at most {MAX_BYTES} bytes, found {size}"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes)
        .map_err(|error| format!("expected UTF-8, found a byte at {} that is not", error.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests;
