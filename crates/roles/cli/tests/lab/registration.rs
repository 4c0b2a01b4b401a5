//! Identities by ClusterSPIFFEID and ClusterStaticEntry, in a running lab.

use crate::lab::{Lab, soon};
use crate::workload_client;
use std::fs;
use std::path::Path;

fn pod(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: reg, labels: {{{labels}}}}}\nspec:\n  containers:\n  \
         - {{name: main, image: x, ports: [{{name: tcp, containerPort: 7000}}]}}\n---\n"
    )
}

fn id(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"
    )
}

#[test]
fn a_pod_gets_the_svids_of_its_registrations_and_policies_speak_of_the_default_one() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("pods.yaml", &(pod("client", "team: a") + &pod("other", "team: b") + &pod("server", "role: server")));
    let team = |prefix: &str| {
        let template = format!("spiffe://{{{{ .TrustDomain }}}}/{prefix}/{{{{ .PodMeta.Labels.team }}}}");
        id(
            "team",
            &format!(
                "spiffeIDTemplate: '{template}', podSelector: {{matchExpressions: [{{key: team, operator: Exists}}]}}"
            ),
        )
    };
    let more = id(
        "zone",
        "spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/{{ .PodMeta.Namespace }}/{{ .PodMeta.Name }}', podSelector: {matchLabels: {team: a}}, hint: own",
    );
    write("ids.yaml", &(team("team") + &more));
    write(
        "policy.yaml",
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: team-a, namespace: reg}\nspec:\n  \
         selector: {matchLabels: {role: server}}\n  action: ALLOW\n  rules: [{from: [{source: {principals: [cluster.local/team/a]}}]}]\n",
    );
    let lab = Lab::up("e2e-reg", &[folder.path()]);
    let ids = |name: &str| workload_client::ids(&lab, &format!("reg/{name}"), "true");
    assert_eq!(ids("client"), ["spiffe://cluster.local/team/a", "spiffe://cluster.local/reg/client"]);
    assert_eq!(ids("other"), ["spiffe://cluster.local/team/b"]);
    assert_eq!(ids("server"), ["spiffe://cluster.local/ns/reg/sa/default"], "nothing applies to it");

    let server = lab.address("reg/server");
    assert!(lab.reaches("reg/client", &server, 7000), "team a may");
    assert!(!lab.reaches("reg/other", &server, 7000), "team b may not");
    lab.assert_predictions_hold();
    let table = lab.run(&["status"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("spiffe://cluster.local/team/a +1"), "{table}");
    let state = lab.state("reg/client");
    assert_eq!(state["identities"][1], "spiffe://cluster.local/reg/client", "{state}");

    let before = lab.status()["revision"].as_u64().unwrap();
    write("ids.yaml", &team("crew"));
    soon(|| lab.status()["revision"].as_u64().unwrap() > before);
    soon(|| ids("client") == ["spiffe://cluster.local/crew/a"]);
    assert!(!lab.reaches("reg/client", &server, 7000), "it is of no team any more");

    write("ids.yaml", &id("team", "spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/{{ .PodMeta.Nmae }}'"));
    soon(|| {
        lab.status()["refused"]
            .as_str()
            .is_some_and(|refused| refused.contains("ids.yaml:") && refused.contains("Nmae"))
    });
    assert_eq!(ids("client"), ["spiffe://cluster.local/crew/a"], "what was in force stays");
}

/// Subject and names of the leaf that a pod is given.
fn leaf(lab: &Lab, pod: &str, folder: &Path) -> (String, Vec<String>) {
    let certs = folder.join("certs");
    let program = env!("CARGO_BIN_EXE_lictor");
    let written =
        lab.run(&["exec", pod, "--", program, "identity", "fetch", "x509", "--write", certs.to_str().unwrap()]);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let (chain, bundle) = (file("svid.0.pem"), file("bundle.0.pem"));
    let explained = lab.run(&["identity", "x509", &chain, "--bundle", &bundle, "-o", "json"]);
    assert!(explained.status.success(), "it proves nothing: {}", String::from_utf8_lossy(&explained.stdout));
    let explained: serde_json::Value = serde_json::from_slice(&explained.stdout).unwrap();
    let leaf = &explained["certificates"][0];
    let names = leaf["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    (leaf["subject"].as_str().unwrap().to_owned(), names.collect())
}

/// Source: spire-controller-manager, `docs/clusterspiffeid-crd.md`, `dnsNameTemplates` and `autoPopulateDNSNames`; SPIRE,
/// `pkg/server/credtemplate/builder.go`.
#[test]
fn the_dns_names_of_an_entry_are_in_its_pods_svid_and_services_add_theirs_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("pods.yaml", &(pod("web", "app: web") + &pod("plain", "app: plain")));
    write(
        "ids.yaml",
        &id(
            "web",
            "spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/web', podSelector: {matchLabels: {app: web}}, \
             dnsNameTemplates: ['{{ .PodMeta.Name }}.{{ .TrustDomain }}', '*.web.test'], autoPopulateDNSNames: true",
        ),
    );
    let lab = Lab::up("e2e-reg-dns", &[folder.path()]);
    let elsewhere = tempfile::tempdir().unwrap();
    let names = |pod: &str| leaf(&lab, pod, elsewhere.path());
    let (subject, found) = names("reg/web");
    assert_eq!(subject, "CN=web.cluster.local");
    assert_eq!(found, ["URI:spiffe://cluster.local/web", "DNS:web.cluster.local", "DNS:*.web.test"]);
    let plain = ["URI:spiffe://cluster.local/ns/reg/sa/default".to_owned()];
    assert_eq!(names("reg/plain"), (String::new(), plain.to_vec()));

    let process = lab.state("reg/web")["pid"].clone();
    write(
        "service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: front, namespace: reg}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 7000}]}\n",
    );
    soon(|| names("reg/web").1.len() > 3);
    let services = ["front", "front.reg", "front.reg.svc", "front.reg.svc.cluster.local"];
    let services = services.map(|name| format!("DNS:{name}"));
    assert_eq!(names("reg/web").1, [&found[..], &services].concat());
    assert_eq!(names("reg/plain").1, plain);
    assert_eq!(lab.state("reg/web")["pid"], process, "it was not started again");
    let counted = lab.status()["registration"]["clusterSPIFFEIDs"][0].clone();
    let wanted =
        serde_json::json!({"podsSelected": 1, "entriesToSet": 1, "entryFailures": 0, "podEntryRenderFailures": 0});
    assert_eq!(counted["name"], "web");
    for (count, value) in wanted.as_object().unwrap() {
        assert_eq!(&counted["stats"][count], value, "{count} of {counted}");
    }
    let shown = lab.run(&["identity", "show", "reg/web", "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown[0]["dnsNames"].as_array().unwrap().len(), 6, "{shown}");
    assert!(shown[0]["expires"].is_string(), "{shown}");

    // Peers look at identities: the mesh goes on whatever names there are.
    assert!(lab.reaches("reg/web", &lab.address("reg/plain"), 7000));
    lab.assert_predictions_hold();
}

/// Source: spire-controller-manager, `docs/spire-controller-manager-config.md`.
#[test]
fn the_cluster_has_the_name_and_domain_and_acts_on_the_class_that_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let of_class = |name: &str, class: &str| {
        let template = format!("spiffeIDTemplate: 'spiffe://{{{{ .TrustDomain }}}}/{{{{ .ClusterName }}}}/{name}'");
        let names =
            "dnsNameTemplates: ['{{ .PodMeta.Name }}.{{ .ClusterDomain }}'], podSelector: {matchLabels: {app: web}}";
        let class = if class.is_empty() { String::new() } else { format!(", className: {class}") };
        id(name, &format!("{template}, {names}{class}"))
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: front, namespace: reg}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 7000}]}\n---\n";
    let text = pod("web", "app: web")
        + service
        + &of_class("ours", "ours")
        + &of_class("other", "other")
        + &of_class("none", "");
    fs::write(folder.path().join("m.yaml"), text).unwrap();
    let named = ["--cluster-name", "east", "--cluster-domain", "east.test", "--spire-class-name", "ours"];
    let lab = Lab::up_with("e2e-reg-class", &named, &[folder.path()]);
    assert_eq!(workload_client::ids(&lab, "reg/web", "true"), ["spiffe://cluster.local/east/ours"]);
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(leaf(&lab, "reg/web", elsewhere.path()).0, "CN=web.east.test");
    let ids = lab.status()["registration"]["clusterSPIFFEIDs"].clone();
    assert_eq!(
        (ids.as_array().unwrap().len(), &ids[0]["name"]),
        (1, &"ours".into()),
        "the others are another controller's"
    );
    let resolved = lab.run(&["exec", "reg/web", "--", "getent", "hosts", "front.reg.svc.east.test"]);
    assert!(resolved.status.success(), "the domain is that of the lab's DNS");
    assert!(!lab.run(&["exec", "reg/web", "--", "getent", "hosts", "front.reg.svc.cluster.local"]).status.success());
}
