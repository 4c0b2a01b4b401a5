use super::{Conflict, Registration, Registry};
use crate::cgroup::{Cgroup, CgroupPath};
use crate::needs::Identity;
use lictor_model::{Name, SpiffeId};
use lictor_pki::Subject;
use std::collections::BTreeSet;
use time::Duration;

fn pod(name: &str, account: &str, cgroups: &[(&str, u64)]) -> Registration {
    let cgroup = |&(path, id): &(&str, u64)| Cgroup { path: path.parse().expect("a path"), id }.into();
    Registration {
        pod: Name::parse(name, "shop"),
        uid: None,
        ids: vec![id(account).into()],
        federates_with: BTreeSet::new(),
        cgroups: cgroups.iter().map(cgroup).collect(),
    }
}

fn id(account: &str) -> SpiffeId {
    format!("spiffe://td/ns/shop/sa/{account}").parse().expect("an identity")
}

fn path(text: &str) -> CgroupPath {
    text.parse().expect("a path")
}

#[test]
fn the_shallowest_registered_cgroup_counts() {
    let registry = Registry::new();
    registry.add(pod("a", "a", &[("/lab/a", 1)])).expect("a place");
    registry.add(pod("b", "b", &[("/lab/b", 2), ("/other/b", 3)])).expect("a place");
    let of =
        |text: &str| registry.pod_of_path(&path(text)).map(|(pod, place)| (pod.name().to_string(), place.cgroup.id));
    let (a, b) = ("shop/a".to_owned(), "shop/b".to_owned());
    assert_eq!(of("/lab/a"), Some((a.clone(), 1)));
    assert_eq!(of("/lab/a/x/y"), Some((a.clone(), 1)));
    assert_eq!(of("/lab/a/lab/b"), Some((a, 1)), "named like another pod's");
    assert_eq!(of("/other/b/x"), Some((b, 3)));
    for nobody in ["/", "/lab", "/lab/ab", "/lab/a.b", "/x/lab/a"] {
        assert_eq!(of(nobody), None, "{nobody}");
    }
    assert_eq!(registry.pod_of_cgroup(3).map(|pod| pod.name().to_string()).as_deref(), Some("shop/b"));
}

#[test]
fn no_process_can_belong_to_two_pods() {
    let registry = Registry::new();
    registry.add(pod("a", "a", &[("/lab/a", 1)])).expect("a place");
    let refused = |cgroup: &str| registry.add(pod("b", "b", &[("/fine", 8), (cgroup, 9)])).err();
    assert!(matches!(refused("/"), Some(Conflict::Root { .. })));
    for cgroup in ["/lab", "/lab/a", "/lab/a/b"] {
        let Some(Conflict::Overlap { other, .. }) = refused(cgroup) else { panic!("{cgroup} was accepted") };
        assert_eq!(other.to_string(), "shop/a");
    }
    assert_eq!((registry.len(), registry.pod_of_cgroup(8).is_none()), (1, true), "nothing of it was kept");
    assert!(registry.add(pod("b", "b", &[("/lab/ab", 9), ("/lab/a-b", 10)])).is_ok());
}

#[test]
fn a_pod_that_is_removed_or_replaced_knows_it() {
    let registry = Registry::new();
    let mut changes = registry.changes();
    let first = registry.add(pod("a", "a", &[("/lab/a", 1)])).expect("a place");
    assert!(first.is_registered() && changes.has_changed().expect("a registry"));
    let second = registry.add(pod("a", "a", &[("/lab/a", 2)])).expect("its own place again");
    assert!(!first.is_registered() && second.is_registered());
    assert!(registry.pod_of_cgroup(1).is_none());
    changes.mark_unchanged();
    assert!(!registry.remove(&Name::new("shop", "x")) && !changes.has_changed().expect("a registry"));
    assert!(registry.remove(second.name()) && changes.has_changed().expect("a registry"));
    assert!(!second.is_registered() && registry.is_empty());
    assert!(registry.pod_of_path(&path("/lab/a")).is_none());
}

#[test]
fn a_uid_finds_the_one_pod_that_has_it() {
    let registry = Registry::new();
    let with = |name: &str, uid: &str| {
        let plain = pod(name, name, &[(&format!("/lab/{name}"), 0)]);
        registry.add(Registration { uid: Some(uid.into()), ..plain }).expect("a place");
    };
    let of = |uid: &str| registry.pod_of_uid(uid).map(|pod| pod.name().name.to_string());
    with("a", "1");
    with("b", "2");
    assert_eq!((of("1").as_deref(), of("2").as_deref(), of("3")), (Some("a"), Some("b"), None));
    with("c", "2");
    assert_eq!(of("2"), None, "two have it");
    registry.remove(&Name::new("shop", "b"));
    assert_eq!(of("2").as_deref(), Some("c"));
    with("a", "4");
    assert_eq!((of("1"), of("4").as_deref()), (None, Some("a")), "the pod that had it is another one now");
    registry.remove(&Name::new("shop", "a"));
    assert_eq!(of("4"), None);
}

#[test]
fn an_identity_stays_until_its_last_pod_goes() {
    let registry = Registry::new();
    for (name, account) in [("a-0", "a"), ("a-1", "a"), ("b", "b")] {
        registry.add(pod(name, account, &[(&format!("/lab/{name}"), 0)])).expect("a place");
    }
    let accounts = || registry.subjects().iter().map(|subject| subject.id.path().to_owned()).collect::<Vec<_>>();
    assert_eq!(accounts(), ["/ns/shop/sa/a", "/ns/shop/sa/b"]);
    registry.remove(&Name::new("shop", "a-0"));
    assert_eq!(accounts().len(), 2);
    registry.remove(&Name::new("shop", "a-1"));
    assert_eq!(accounts(), ["/ns/shop/sa/b"]);
}

#[test]
fn a_pod_has_several_identities_and_the_strictest_limit_counts() {
    let registry = Registry::new();
    let limited = |account: &str, minutes: i64| Identity {
        x509_lifetime: Some(Duration::minutes(minutes)),
        ..Identity::from(id(account))
    };
    let with = |name: &str, ids: Vec<Identity>| {
        let plain = pod(name, "a", &[(&format!("/lab/{name}"), 0)]);
        registry.add(Registration { ids, ..plain }).expect("a place");
    };
    with("a", vec![id("a").into(), limited("b", 30)]);
    with("b", vec![limited("b", 10)]);
    with("c", vec![limited("b", 10)]);
    with("none", vec![]);
    let limit = |account: &str| registry.lifetime_limit(&id(account).into());
    assert_eq!(registry.subjects(), [id("a").into(), id("b").into()]);
    assert_eq!((limit("a"), limit("b"), limit("x")), (None, Some(Duration::minutes(10)), None));
    registry.remove(&Name::new("shop", "b"));
    assert_eq!(limit("b"), Some(Duration::minutes(10)), "another pod sets it as well");
    registry.remove(&Name::new("shop", "c"));
    assert_eq!(limit("b"), Some(Duration::minutes(30)));
    with("a", vec![id("c").into()]);
    assert_eq!(registry.subjects(), [id("c").into()], "those that it had are gone");
}

#[test]
fn an_identity_with_names_is_needed_by_itself_and_with_them_until_it_has_others() {
    let registry = Registry::new();
    let subject = |name: &str| Subject { id: id("a"), dns_names: [name.parse().expect("a name")].into() };
    let named = |name: &str, minutes: i64| Identity {
        dns_names: subject(name).dns_names,
        x509_lifetime: Some(Duration::minutes(minutes)),
        ..Identity::from(id("a"))
    };
    let with = |name: &str, ids: Vec<Identity>| {
        let plain = pod(name, "a", &[(&format!("/lab/{name}"), 0)]);
        registry.add(Registration { ids, ..plain }).expect("a place");
    };
    let plain = || Subject::from(id("a"));
    with("plain", vec![id("a").into()]);
    assert_eq!(registry.subjects(), [plain()], "no second one where there are no names");
    with("a", vec![named("a.test", 30)]);
    with("b", vec![named("b.test", 10)]);
    assert_eq!(registry.subjects(), [plain(), subject("a.test"), subject("b.test")]);
    let limit = |subject: Subject| registry.lifetime_limit(&subject).map(Duration::whole_minutes);
    assert_eq!([limit(plain()), limit(subject("a.test")), limit(subject("b.test"))], [Some(10), Some(30), Some(10)]);

    let mut changes = registry.changes();
    let a = Name::new("shop", "a");
    registry.set_identities(&a, vec![named("a.test", 30)]);
    registry.set_identities(&Name::new("shop", "x"), vec![named("x.test", 30)]);
    assert!(!changes.has_changed().expect("a registry"), "nothing is new");
    registry.set_identities(&a, vec![named("b.test", 5)]);
    assert!(changes.has_changed().expect("a registry"));
    assert_eq!(registry.subjects(), [plain(), subject("b.test")]);
    assert_eq!([limit(plain()), limit(subject("b.test"))], [Some(5), Some(5)]);
    changes.mark_unchanged();
    registry.remove(&a);
    registry.remove(&Name::new("shop", "b"));
    assert_eq!((registry.subjects(), limit(plain())), (vec![plain()], None));
}
