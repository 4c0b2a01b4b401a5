//! The webhook's view of a PeerAuthentication.

use super::{Problems, entries, present, target};
use serde_json::Value;

pub(super) fn check(spec: &Value, problems: &mut Problems) {
    const PATH: &str = "spec.portLevelMtls";
    let labels = present(spec, "selector").map_or(0, |selector| entries(selector, "matchLabels").count());
    let ports: Vec<&String> = entries(spec, "portLevelMtls").map(|(port, _)| port).collect();
    if labels == 0 && !ports.is_empty() {
        problems.error(PATH, "mesh/namespace peer authentication cannot have port level mTLS");
    }
    if ports.is_empty() && present(spec, "portLevelMtls").is_some() {
        problems.error(PATH, "port level mTLS, if defined, must have at least one element");
    }
    for port in ports {
        if !port.parse::<u16>().is_ok_and(|number| number > 0) {
            problems.error(format!("{PATH}.{port}"), "port must be in range 1..65535");
        }
    }
    target::selector(spec, problems);
}
