//! Two labs with two trust domains, federated by both profiles.

use crate::capture::node_of;
use crate::foreign_client::Call;
use crate::lab::{Lab, soon};
use lictor_datapath::link::{self, End};
use lictor_datapath::netns::Netns;
use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::Path;

const SERVER: &str = "spiffe://b.example/ns/shop/sa/server";

/// A pod with a service account of its name and an echo server on port 7000.
pub(crate) fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: shop}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {name}}}}}\nspec:\n  \
         serviceAccountName: {name}\n  containers:\n  - {{name: main, image: x, ports: [{{name: tcp, containerPort: 7000}}]}}\n---\n"
    )
}

/// The identities that pods have anyway, for which another trust domain is believed.
pub(crate) fn entries(federates_with: &str) -> String {
    format!(
        "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {{name: all}}\nspec:\n  \
         spiffeIDTemplate: 'spiffe://{{{{ .TrustDomain }}}}/ns/{{{{ .PodMeta.Namespace }}}}/sa/{{{{ .PodSpec.ServiceAccountName }}}}'\n  \
         federatesWith: [{federates_with}]\n---\n"
    )
}

const ONLY_WEB_OF_A: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-web-of-a, namespace: shop}
spec: {selector: {matchLabels: {app: server}}, rules: [{from: [{source: {principals: [a.example/ns/shop/sa/web]}}]}]}
";

/// A port that was free a moment ago.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A root of the web in `roots.pem`, and a certificate below it for this machine.
fn web(folder: &Path) {
    let (root_key, key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let mut root = rcgen::CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = root.self_signed(&root_key).unwrap();
    let leaf = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(root, root_key)).unwrap();
    fs::write(folder.join("roots.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

/// Joins the nodes of two labs by a link, so that the pods of each reach those of the other.
fn join(a: &Lab, b: &Lab) {
    let (left, right) = (node_of(a), node_of(b));
    let [at_a, at_b]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
    let end = |netns, address| End { netns, name: "to-other", address: (address, 30) };
    link::veth(&end(&left, at_a), &end(&right, at_b)).unwrap();
    let lead = |netns: &Netns, gateway| {
        link::route_by(netns, gateway).unwrap();
        netns.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap();
    };
    lead(&left, at_b);
    lead(&right, at_a);
}

/// What is known about a trust domain, and how its endpoint answers.
fn bundle(lab: &Lab, domain: &str) -> serde_json::Value {
    let listed = lab.run(&["identity", "bundle", "list", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed.as_array().unwrap().iter().find(|one| one["trustDomain"] == domain).cloned().unwrap_or_default()
}

#[test]
fn calls_between_two_trust_domains_pass_until_the_federation_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (pods_a, pods_b) = (path("a"), path("b"));
    for (at, text, federates_with) in [
        (&pods_a, pod("web") + &pod("side"), "b.example"),
        (&pods_b, pod("server") + &pod("web") + ONLY_WEB_OF_A, "a.example"),
    ] {
        fs::create_dir(at).unwrap();
        fs::write(at.join("m.yaml"), text).unwrap();
        fs::write(at.join("ids.yaml"), entries(federates_with)).unwrap();
    }
    web(folder.path());
    let (port_a, port_b) = (port(), port());
    let file = |name: &str| path(name).display().to_string();

    // a is asked by its SVID, b by its certificate of the web.
    let with_b = format!("b.example=https://127.0.0.1:{port_b}/,profile=https_web,ca={}", file("roots.pem"));
    let at_a = format!("127.0.0.1:{port_a}");
    let options = ["--trust-domain", "a.example", "--bundle-endpoint", &at_a, "--federate-with", &with_b];
    let a = Lab::up_with("e2e-fed-a", &options, &[&pods_a]);
    let own = a.run(&["identity", "bundle", "show"]);
    assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stderr));
    fs::write(path("a.json"), own.stdout).unwrap();

    let with_a = format!(
        "a.example=https://127.0.0.1:{port_a}/,profile=https_spiffe,id=spiffe://a.example/lictor/bundle-endpoint,bundle={}",
        file("a.json")
    );
    let at_b = format!(
        "127.0.0.1:{port_b},profile=https_web,certificate={},key={},refresh=10s",
        file("cert.pem"),
        file("key.pem")
    );
    let options = ["--trust-domain", "b.example", "--bundle-endpoint", &at_b, "--federate-with", &with_a];
    let cidrs = ["--pod-cidr", "10.245.0.0/16", "--service-cidr", "10.97.0.0/16"];
    let b = Lab::up_with("e2e-fed-b", &[&options[..], &cidrs].concat(), &[&pods_b]);
    soon(|| bundle(&b, "a.example")["endpoint"]["fetched"].is_string());
    soon(|| bundle(&a, "b.example")["endpoint"]["fetched"].is_string());
    join(&a, &b);

    let server = b.address("shop/server");
    let call = |pod: &str| Call::start(&a, pod, &server, SERVER);
    let web = call("shop/web");
    assert_eq!(web.says(), "served");
    assert_eq!(call("shop/side").says(), "refused: status 401 Unauthorized", "another principal of a");
    assert!(!b.reaches("shop/web", &server, 7000), "the principal of that name of b");

    // b believes nobody of a any more: what is open ends, and nothing new begins.
    let ended = b.run(&["identity", "bundle", "delete", "a.example"]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let said = web.says();
    assert!(said.starts_with("ended: "), "{said}");
    let said = call("shop/web").says();
    assert!(said.starts_with("refused: ") && !said.contains("401"), "no handshake: {said}");

    // With a again, and a without b: the client does not believe the server.
    let again = b.run(&["identity", "bundle", "set", "a.example", &file("a.json")]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(call("shop/web").says(), "served");
    assert!(a.run(&["identity", "bundle", "delete", "b.example"]).status.success());
    let said = call("shop/web").says();
    assert!(said.contains("UnknownIssuer"), "{said}");
    assert_eq!(a.run(&["identity", "bundle", "show", "b.example"]).status.code(), Some(2));
}

/// A relation to a trust domain, as an object.
fn related(trust_domain: &str, port: u16, rest: &str) -> String {
    format!(
        "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterFederatedTrustDomain\nmetadata: {{name: other}}\nspec:\n  \
         trustDomain: {trust_domain}\n  bundleEndpointURL: https://127.0.0.1:{port}/\n  {rest}\n"
    )
}

/// How a relation stands.
fn relation(lab: &Lab, domain: &str) -> serde_json::Value {
    let shown = lab.run(&["identity", "federation", "show", domain, "-o", "json"]);
    serde_json::from_slice(&shown.stdout).unwrap_or_default()
}

#[test]
fn federations_come_and_go_with_their_objects_and_reach_the_pods_whose_entries_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (pods_a, pods_b) = (path("a"), path("b"));
    for (at, text) in [(&pods_a, pod("web") + &entries("b.example")), (&pods_b, pod("server"))] {
        fs::create_dir(at).unwrap();
        fs::write(at.join("m.yaml"), text).unwrap();
    }
    web(folder.path());
    let (port_a, port_b) = (port(), port());
    let file = |name: &str| path(name).display().to_string();
    let at_a = format!("127.0.0.1:{port_a}");
    let roots = file("roots.pem");
    let options = ["--trust-domain", "a.example", "--bundle-endpoint", &at_a, "--web-roots", &roots];
    let a = Lab::up_with("e2e-fobj-a", &options, &[&pods_a]);
    let at_b = format!("127.0.0.1:{port_b},profile=https_web,certificate={},key={}", file("cert.pem"), file("key.pem"));
    let options = ["--trust-domain", "b.example", "--bundle-endpoint", &at_b];
    let cidrs = ["--pod-cidr", "10.245.0.0/16", "--service-cidr", "10.97.0.0/16"];
    let b = Lab::up_with("e2e-fobj-b", &[&options[..], &cidrs].concat(), &[&pods_b]);
    join(&a, &b);
    let listed = a.run(&["identity", "federation", "list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("b.example: entries federate with it, and there is no relation to it"), "{listed}");

    // The object of a says https_web; that of b https_spiffe, with the bundle that a has now.
    let own = String::from_utf8(a.run(&["identity", "bundle", "show"]).stdout).unwrap();
    let of_a = related(
        "a.example",
        port_a,
        &format!(
            "bundleEndpointProfile: {{type: https_spiffe, endpointSPIFFEID: 'spiffe://a.example/lictor/bundle-endpoint'}}\n  \
             trustDomainBundle: '{}'",
            own.trim()
        ),
    );
    fs::write(pods_a.join("other.yaml"), related("b.example", port_b, "bundleEndpointProfile: {type: https_web}"))
        .unwrap();
    fs::write(pods_b.join("other.yaml"), &of_a).unwrap();
    soon(|| relation(&a, "b.example")["fetched"].is_string());
    soon(|| relation(&b, "a.example")["fetched"].is_string());
    let seen = relation(&b, "a.example");
    assert_eq!((&seen["declaredBy"], &seen["pods"]), (&"other".into(), &0.into()), "{seen}");
    let server = b.address("shop/server");
    let call = || Call::start(&a, "shop/web", &server, SERVER);
    assert_eq!(call().says(), "refused: status 401 Unauthorized", "no entry of the server federates with a");

    let pid = b.state("shop/server")["pid"].clone();
    fs::write(pods_b.join("ids.yaml"), entries("a.example")).unwrap();
    soon(|| relation(&b, "a.example")["pods"] == 1);
    let first = call();
    assert_eq!(first.says(), "served");
    fs::write(pods_b.join("ids.yaml"), entries("third.example")).unwrap();
    let said = first.says();
    assert!(said.starts_with("ended: "), "{said}");
    assert_eq!(call().says(), "refused: status 401 Unauthorized");
    assert_eq!(b.state("shop/server")["pid"], pid, "nothing starts again for it");

    fs::write(pods_b.join("ids.yaml"), entries("a.example")).unwrap();
    soon(|| relation(&b, "a.example")["pods"] == 1);
    let second = call();
    assert_eq!(second.says(), "served");
    let kept = b.run(&["identity", "bundle", "delete", "a.example"]);
    let why = String::from_utf8_lossy(&kept.stderr).into_owned();
    assert!(kept.status.code() == Some(2) && why.contains("ClusterFederatedTrustDomain other"), "{why}");
    fs::remove_file(pods_b.join("other.yaml")).unwrap();
    let said = second.says();
    assert!(said.starts_with("ended: "), "{said}");
    let said = call().says();
    assert!(said.starts_with("refused: ") && !said.contains("401"), "no handshake: {said}");

    fs::write(pods_b.join("other.yaml"), &of_a).unwrap();
    soon(|| relation(&b, "a.example")["authorities"] == 1);
    assert_eq!(call().says(), "served");
    fs::remove_file(pods_a.join("other.yaml")).unwrap();
    soon(|| relation(&a, "b.example").is_null());
    let said = call().says();
    assert!(said.contains("UnknownIssuer"), "{said}");
}
