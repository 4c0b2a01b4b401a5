use super::{Loaded, Sources};
use std::path::{Path, PathBuf};

const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

fn load(paths: &[&Path]) -> Loaded {
    Sources::new(paths.iter().map(|path| PathBuf::from(*path))).expect("sources").load()
}

fn names(loaded: &Loaded) -> Vec<String> {
    loaded.objects.iter().map(|object| format!("{} {:?}", object.meta().name, object.meta().origin)).collect()
}

#[test]
fn every_manifest_below_a_folder_is_read_in_order() {
    let folder = folder(&[
        ("b.yml", POLICY),
        ("a/z.yaml", POLICY),
        ("c.json", "{}"),
        (".git/x.yaml", "x: ["),
        ("n.txt", "x: ["),
    ]);
    let loaded = load(&[folder.path()]);
    assert_eq!(names(&loaded), ["default/p Origin(a/z.yaml:1:1)", "default/p Origin(b.yml:1:1)"]);
}

#[test]
fn a_kustomization_gives_its_namespace_to_files_beside_and_below_it() {
    let folder = folder(&[
        ("x/kustomization.yaml", "namespace: payments\n"),
        ("x/a.yaml", POLICY),
        ("x/deep/b.yaml", POLICY),
        ("x/other/kustomization.yaml", "namespace: other\n"),
        ("x/other/c.yaml", POLICY),
        ("x/named.yaml", &POLICY.replace("name: p", "name: p, namespace: own")),
        ("y.yaml", POLICY),
    ]);
    let loaded = load(&[folder.path()]);
    let namespaces: Vec<&str> = loaded.objects.iter().map(|object| &*object.meta().name.namespace).collect();
    assert_eq!(namespaces, ["payments", "payments", "own", "other", "default"]);
}

#[test]
fn several_folders_keep_their_names_apart() {
    let (one, two) = (folder(&[("a.yaml", POLICY)]), folder(&[("a.yaml", POLICY)]));
    let loaded = load(&[one.path(), two.path()]);
    let prefix = |folder: &tempfile::TempDir| format!("default/p Origin({}/a.yaml:1:1)", folder.path().display());
    let mut expected = [prefix(&one), prefix(&two)];
    expected.sort();
    assert_eq!(names(&loaded), expected);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let folder = folder(&[("a.yaml", POLICY), ("empty/n.txt", "")]);
    std::fs::write(folder.path().join("bad.yaml"), [0xff, 0xfe]).expect("a file");
    let loaded = load(&[folder.path()]);
    assert_eq!(loaded.objects.len(), 1);
    assert_eq!(
        loaded.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["error LIC1025: bad.yaml: expected UTF-8, found a byte at 0 that is not"]
    );
    for path in [folder.path().join("none"), folder.path().join("empty")] {
        assert!(load(&[&path]).has_errors(), "{}", path.display());
    }
}

#[test]
fn the_fingerprint_changes_with_the_files_alone() {
    let folder = folder(&[("a.yaml", POLICY)]);
    let sources = Sources::new([folder.path().to_owned()]).expect("sources");
    let first = sources.fingerprint();
    assert_eq!(sources.fingerprint(), first);
    assert_eq!(sources.load().fingerprint, first);
    std::fs::write(folder.path().join("n.txt"), "x").expect("a file");
    assert_eq!(sources.fingerprint(), first);
    std::fs::write(folder.path().join("a.yaml"), format!("{POLICY}#")).expect("a file");
    let second = sources.fingerprint();
    assert_ne!(second, first);
    std::fs::write(folder.path().join("b.yaml"), POLICY).expect("a file");
    assert_ne!(sources.fingerprint(), second);
}

#[test]
fn a_loop_of_links_ends() {
    let folder = folder(&[("a.yaml", POLICY)]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).expect("a link");
    assert_eq!(load(&[folder.path()]).objects.len(), 1);
}
