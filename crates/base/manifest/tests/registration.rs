//! The kinds of `spire.spiffe.io` as they are read.

use lictor_manifest::{BundleProfile, ClusterSpiffeId, Object, read};
use std::time::Duration;

fn objects() -> Vec<Object> {
    read("registration.yaml", include_str!("../testdata/whole/registration.yaml")).objects
}

fn named(name: &str) -> Object {
    objects().into_iter().find(|object| &*object.meta().name.name == name).expect("an object")
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn every_field_of_a_cluster_spiffe_id_is_read() {
    let Object::ClusterSpiffeId(all) = named("everything") else { panic!("another kind") };
    let ClusterSpiffeId { meta, namespaces, pods, id, dns_names, selectors, fallback, class, issuance, .. } = &*all;
    assert!(meta.name.namespace.is_empty() && *fallback && all.auto_populate_dns_names && &**class == "spire");
    assert_eq!((namespaces.to_string(), pods.to_string()), ("team".to_owned(), "app!=old".to_owned()));
    assert_eq!(id.as_str(), "spiffe://{{ .TrustDomain }}/{{ or .PodMeta.Labels.team \"none\" }}");
    assert_eq!(dns_names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["{{ .PodMeta.Name }}.test"]);
    assert_eq!(selectors.len(), 2);
    let lives = (issuance.x509_lifetime, issuance.jwt_lifetime);
    assert_eq!(lives, (Some(Duration::from_secs(3600)), Some(Duration::from_secs(300))));
    assert_eq!((texts(&issuance.federates_with), &*issuance.hint), (vec!["other.test".to_owned()], "main"));
    assert!(issuance.admin && issuance.downstream);
}

#[test]
fn what_a_cluster_spiffe_id_leaves_out_selects_all_and_says_nothing() {
    let Object::ClusterSpiffeId(plain) = named("backend-workloads-with-dns-names") else { panic!("another kind") };
    assert!(plain.namespaces.is_empty() && plain.pods.is_empty() && plain.class.is_empty() && !plain.fallback);
    assert_eq!(plain.issuance, lictor_manifest::Issuance { hint: "".into(), ..Default::default() });
}

#[test]
fn a_static_entry_and_other_trust_domains_are_read() {
    let Object::ClusterStaticEntry(entry) = named("nested") else { panic!("another kind") };
    assert_eq!((entry.id.path(), entry.parent.path()), ("/nested", "/spire/agent/join_token/a"));
    assert_eq!(texts(&entry.selectors), ["unix:uid:1000", "k8s:pod-label:app:web"]);
    assert_eq!((entry.selectors[1].kind(), entry.selectors[1].value()), ("k8s", "pod-label:app:web"));
    assert_eq!(texts(&entry.dns_names), ["nested.test", "*.nested.test"]);
    let lives = (entry.issuance.x509_lifetime, entry.issuance.jwt_lifetime);
    assert_eq!(lives, (Some(Duration::from_secs(5400)), None));
    let Object::ClusterFederatedTrustDomain(other) = named("other") else { panic!("another kind") };
    let endpoint = "spiffe://other.test/spire/server".parse().expect("an identity");
    assert_eq!((other.trust_domain.as_str(), &other.profile), ("other.test", &BundleProfile::Spiffe(endpoint)));
    assert!(other.bundle.is_some() && &*other.bundle_endpoint == "https://bundle.other.test:8443/bundle");
    let Object::ClusterFederatedTrustDomain(web) = named("web") else { panic!("another kind") };
    assert_eq!((&web.profile, &web.bundle), (&BundleProfile::Web, &None));
}

#[test]
fn a_dumped_pod_keeps_its_uid() {
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, uid: 5dbb7b21}\nspec: {containers: [{name: c, image: i}]}\n";
    let reading = read("pod.yaml", pod);
    assert_eq!(reading.objects[0].meta().uid.as_deref(), Some("5dbb7b21"));
}
