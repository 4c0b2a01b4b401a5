//! Which Stance speaks for a pod.

use crate::{build, workload};
use lictor_model::{Layer, Mode, Name};

fn stance(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: lictor.dev/v1alpha1\nkind: Stance\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

#[test]
fn the_narrowest_speaks_and_the_stricter_of_equals() {
    let web = "selector: {matchLabels: {app: web}}";
    let manifests = workload("Deployment", "web", "")
        + &workload("Deployment", "db", "")
        + &stance("mesh", "istio-system", "layers: [segmentation, transport, authorization], mode: Observe")
        + &stance("space", "default", "layers: [segmentation], mode: Audit")
        + &stance("web", "default", &format!("layers: [segmentation], {web}, mode: Enforce"))
        + &stance("web-too", "default", &format!("layers: [segmentation], {web}, mode: Audit"))
        + &stance("nobody", "default", "layers: [transport], selector: {matchLabels: {app: none}}, mode: Enforce");
    let (snapshot, findings) = build(&manifests);
    let mode = |pod: &str, layer| {
        let (mode, stance) = snapshot.mode(&snapshot.pods[&Name::new("default", pod)], layer);
        (mode, stance.map(|stance| stance.name.name.to_string()).unwrap_or_default())
    };
    assert_eq!(mode("web-0", Layer::Ingress), (Mode::Enforce, "web".to_owned()));
    assert_eq!(mode("db-0", Layer::Egress), (Mode::Audit, "space".to_owned()));
    assert_eq!(mode("db-0", Layer::Transport), (Mode::Observe, "mesh".to_owned()));
    let idle = |name: &str| {
        format!("LIC1309: Stance default/{name} decides nothing: it selects no pod, or a narrower or stricter one does")
    };
    assert_eq!(findings[1..], [idle("nobody"), idle("web-too")]);
}
