//! What a node may ask for: the identities of the pods that run on it.

use super::node_name::NodeName;
use crate::entitlement::identities_of;
use crate::needs::Identity;
use lictor_cluster::Snapshot;
use lictor_model::{DnsName, InvalidSpiffeId, Name, SpiffeId};
use lictor_wire::node;

/// Why a node is not issued what it asks for. The node is not told what runs elsewhere; the log is ([`Refused::detail`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// No pod is named.
    #[error("expected the namespace and name of a pod")]
    NoName,
    /// It runs elsewhere, or nowhere.
    #[error("expected a pod that runs on node {node}, {pod} does not")]
    NotHere {
        pod: Name,
        node: NodeName,
        /// Where it runs, if it is a pod.
        on: Option<String>,
    },
    /// The pod of this name is another one.
    #[error("expected pod {pod} with uid {wanted}, it has another one")]
    AnotherUid { pod: Name, wanted: String },
    /// It asks for what is no SPIFFE ID.
    #[error("expected a SPIFFE ID: {0}")]
    Id(#[from] InvalidSpiffeId),
    /// Nothing gives the pod this identity.
    #[error("expected an identity that pod {pod} is registered for, saw {id}")]
    NotRegistered { pod: Name, id: SpiffeId },
    /// It has the identity, with other DNS names.
    #[error("expected the DNS names that pod {pod} is registered for with {id}, saw {}", names.join(", "))]
    OtherNames { pod: Name, id: SpiffeId, names: Vec<String> },
}

impl Refused {
    /// What control alone knows.
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::NotHere { on: Some(on), .. } => on,
            Self::NotHere { on: None, .. } => "no node",
            _ => "",
        }
    }
}

/// Whether a pod runs on `node` and has this identity, by this snapshot; with these DNS names, if any are asked for.
pub(super) fn entitled(
    snapshot: &Snapshot,
    node: &NodeName,
    asked: Option<&node::Pod>,
    (id, names): (&str, &[String]),
) -> Result<Identity, Refused> {
    let asked = asked.filter(|pod| !pod.namespace.is_empty() && !pod.name.is_empty()).ok_or(Refused::NoName)?;
    let name = Name::new(asked.namespace.as_str(), asked.name.as_str());
    let found = snapshot.pods.get(&name);
    let pod = found.filter(|pod| *pod.node == *node.as_str()).ok_or_else(|| {
        let on = found.map(|pod| pod.node.to_string());
        Refused::NotHere { pod: name.clone(), node: node.clone(), on }
    })?;
    if !asked.uid.is_empty() && *pod.uid != *asked.uid {
        return Err(Refused::AnotherUid { pod: name, wanted: asked.uid.clone() });
    }
    let id: SpiffeId = id.parse()?;
    let mut has = identities_of(pod);
    has.retain(|identity| identity.id == id);
    if has.is_empty() {
        return Err(Refused::NotRegistered { pod: name, id });
    }
    let named = |identity: &Identity| names.is_empty() || identity.dns_names.iter().map(DnsName::as_str).eq(names);
    has.into_iter().find(named).ok_or_else(|| Refused::OtherNames { pod: name, id, names: names.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::{Refused, entitled};
    use crate::needs::Identity;
    use lictor_cluster::{AddressPool, Node, Settings, Snapshot, UnknownNodes};
    use lictor_model::{Labels, Revision};
    use lictor_wire::node::Pod;
    use time::Duration;

    const OBJECTS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, uid: 7d44, labels: {tier: front}}
spec: {nodeName: n1, serviceAccountName: web, containers: [{name: main, image: x}, {name: side, image: x}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop}
spec: {nodeName: n2, serviceAccountName: db, containers: [{name: main, image: x}]}
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: front}
spec: {spiffeIDTemplate: 'spiffe://td/front', podSelector: {matchLabels: {tier: front}}, ttl: 10m}
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: named}
spec:
  spiffeIDTemplate: 'spiffe://td/named'
  podSelector: {matchLabels: {tier: front}}
  dnsNameTemplates: [a.example, b.example]
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: part}
spec:
  spiffeIDTemplate: 'spiffe://td/part'
  podSelector: {matchLabels: {tier: front}}
  workloadSelectorTemplates: ['k8s:container-name:main']
";

    fn snapshot() -> Snapshot {
        let node = |name: &str| Node { name: name.into(), labels: Labels::default(), addresses: Vec::new() };
        let settings = Settings {
            trust_domain: "td".parse().expect("a trust domain"),
            unknown_nodes: UnknownNodes::Absent,
            ..Settings::new(vec![node("n1"), node("n2")])
        };
        let mut pool = AddressPool::new(&["10.1.0.0/16".parse().expect("a block")], &[]);
        let objects = lictor_manifest::read("test.yaml", OBJECTS).objects;
        Snapshot::build(&objects, &settings, &mut pool, Revision(1)).0
    }

    #[test]
    fn a_node_is_entitled_to_the_identities_of_its_own_pods() {
        let snapshot = snapshot();
        let ask = |node: &str, pod: &str, uid: &str, id: &str| {
            let pod = Pod { namespace: "shop".into(), name: pod.into(), uid: uid.into() };
            entitled(&snapshot, &node.parse().expect("a name"), Some(&pod), (id, &[]))
        };
        let named = |names: &[&str]| {
            let pod = Pod { namespace: "shop".into(), name: "web".into(), uid: String::new() };
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            entitled(&snapshot, &"n1".parse().expect("a name"), Some(&pod), ("spiffe://td/named", &names))
        };
        let names = |identity: Identity| identity.dns_names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for asked in [&[][..], &["a.example", "b.example"]] {
            assert_eq!(named(asked).map(names).as_deref(), Ok(&["a.example".to_owned(), "b.example".to_owned()][..]));
        }
        for asked in [&["a.example"][..], &["b.example", "a.example"], &["a.example", "b.example", "c.example"]] {
            let refused = named(asked).expect_err("a refusal").to_string();
            assert!(refused.starts_with("expected the DNS names that pod shop/web is registered for"), "{refused}");
        }
        let given = |id: &str, minutes: Option<i64>| {
            let id: lictor_model::SpiffeId = id.parse().expect("an identity");
            Identity { x509_lifetime: minutes.map(Duration::minutes), ..id.into() }
        };
        assert_eq!(ask("n1", "web", "", "spiffe://td/front"), Ok(given("spiffe://td/front", Some(10))));
        assert_eq!(ask("n1", "web", "7d44", "spiffe://td/front"), Ok(given("spiffe://td/front", Some(10))));
        let part = ask("n1", "web", "", "spiffe://td/part").expect("an identity of some of its processes");
        assert_eq!(part.processes.containers, Some(["main".into()].into()));
        assert_eq!(ask("n2", "db", "", "spiffe://td/ns/shop/sa/db"), Ok(given("spiffe://td/ns/shop/sa/db", None)));

        let why = |node: &str, pod: &str, uid: &str, id: &str| {
            let refused = ask(node, pod, uid, id).expect_err("a refusal");
            (refused.to_string(), refused.detail().to_owned())
        };
        let not_here = |on: &str| ("expected a pod that runs on node n1, shop/db does not".to_owned(), on.to_owned());
        assert_eq!(why("n1", "db", "", "spiffe://td/ns/shop/sa/db"), not_here("n2"));
        assert_eq!(why("n3", "web", "", "spiffe://td/front").1, "n1");
        assert_eq!(why("n1", "gone", "", "spiffe://td/front").1, "no node");
        assert!(why("n1", "web", "7d45", "spiffe://td/front").0.contains("uid 7d45"));
        for wrong in [
            "spiffe://td/ns/shop/sa/web",
            "spiffe://td/ns/shop/sa/db",
            "spiffe://td/lictor/control",
            "spiffe://other/front",
        ] {
            let expected = format!("expected an identity that pod shop/web is registered for, saw {wrong}");
            assert_eq!(why("n1", "web", "", wrong).0, expected);
        }
        assert!(matches!(ask("n1", "web", "", "front"), Err(Refused::Id(_))));
        let nobody = entitled(&snapshot, &"n1".parse().expect("a name"), None, ("spiffe://td/front", &[]));
        assert_eq!(nobody, Err(Refused::NoName));
    }
}
