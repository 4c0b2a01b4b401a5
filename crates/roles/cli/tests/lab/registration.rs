//! Identities by ClusterSPIFFEID and ClusterStaticEntry, in a running lab.

use crate::lab::{Lab, soon};
use crate::workload_client;
use std::fs;

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
