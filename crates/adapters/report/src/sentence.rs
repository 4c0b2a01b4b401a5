//! One rung of the ladder in words.

use lictor_model::{By, Layer, Mode, PolicyRef, Protocol, Verdict};
use lictor_why::{Answer, Connection, Rung};

/// What happened at a layer, or would have.
pub(crate) fn sentence(answer: &Answer, rung: &Rung) -> String {
    let words = Words { connection: &answer.connection, rung, reached: rung.step.reached };
    let said = match rung.step.layer {
        Layer::Transport => words.transport(),
        layer => words.policies(layer),
    };
    let said = if words.reached { said } else { format!("not reached; {said}") };
    match rung.step.mode {
        Mode::Enforce => said,
        mode => {
            let stance = rung.stance.as_ref().map(|stance| format!(" by {}", stance.name)).unwrap_or_default();
            let denied = if rung.step.verdict.is_allow() { "" } else { ": recorded, not refused" };
            format!("{said} ({mode}{stance}{denied})")
        }
    }
}

struct Words<'a> {
    connection: &'a Connection,
    rung: &'a Rung,
    reached: bool,
}

impl Words<'_> {
    /// "is" where the layer was reached and enforces, else "would be".
    fn is(&self) -> &'static str {
        let real = self.reached && (self.rung.step.mode == Mode::Enforce || self.rung.step.verdict.is_allow());
        if real { "is" } else { "would be" }
    }

    /// A verdict by somebody.
    fn verdict(&self, by: &str) -> String {
        let verdict = self.rung.step.verdict;
        if self.is() == "is" { format!("{verdict} by {by}") } else { format!("would be {verdict} by {by}") }
    }

    fn policies(&self, layer: Layer) -> String {
        let connection = self.connection;
        let (subject, known) = match layer {
            Layer::Egress => (&connection.source.name, connection.source.pod.is_some()),
            _ => (&connection.destination.name, connection.destination.pod.is_some()),
        };
        let is = self.is();
        match &self.rung.step.by {
            By::Policy(policy) => self.verdict(&policy.name.to_string()),
            By::Isolation(policies) => {
                let (names, plural) = (names(policies), policies.len() > 1);
                let so = if is == "is" { "" } else { ", so it would be denied" };
                match layer {
                    Layer::Authorization => {
                        format!(
                            "no ALLOW policy allows it; {names} {} {subject}{so}",
                            if plural { "select" } else { "selects" }
                        )
                    }
                    _ => format!(
                        "no policy allows it; {names} {} {subject}{so}",
                        if plural { "isolate" } else { "isolates" }
                    ),
                }
            }
            By::NoPolicy if !known => format!("{subject} is outside the cluster; nothing is asked here"),
            By::NoPolicy => format!("no policy selects {subject}, so it {is} allowed"),
            By::OwnPod => format!("a pod's traffic with itself {is} always allowed"),
            By::OwnNode => format!("traffic with the pod's own node {is} always allowed"),
            By::OutsideMesh if connection.protocol != Protocol::Tcp => {
                format!("not judged: {} does not go through the mesh", connection.protocol)
            }
            By::OutsideMesh => format!("not judged: {subject} is outside the mesh"),
            By::OutsideCluster => format!("{subject} is outside the cluster; nothing is asked here"),
            By::Unknown(what) => format!("{what}, so it {is} denied"),
        }
    }

    fn transport(&self) -> String {
        let Connection { destination, protocol, encrypted, mtls, .. } = self.connection;
        let step = &self.rung.step;
        match &step.by {
            By::OwnPod => return "a pod's traffic with itself stays within it".to_owned(),
            By::OwnNode => return "plaintext with the pod's own node".to_owned(),
            By::OutsideCluster => return format!("plaintext; {} is outside the cluster", destination.name),
            By::OutsideMesh if *protocol != Protocol::Tcp => return format!("{protocol} does not go through the mesh"),
            By::OutsideMesh => return format!("plaintext; {} is outside the mesh", destination.name),
            By::Unknown(what) => return format!("{what}, so it {} denied", self.is()),
            By::Policy(_) | By::Isolation(_) | By::NoPolicy => {}
        }
        let demand = match (mtls, step.by.policy()) {
            (Some(mode), Some(policy)) => format!("{mode} by {}", policy.name),
            (Some(mode), None) => format!("{mode} by default"),
            (None, _) => "no demand".to_owned(),
        };
        let would = if self.reached { "" } else { "would be " };
        match (step.verdict, encrypted) {
            (Verdict::Allow, true) => format!("{would}mutual TLS ({demand})"),
            (Verdict::Allow, false) => format!("{would}plaintext ({demand})"),
            (Verdict::Deny, false) => format!("{would}plaintext, and {demand} wants mutual TLS"),
            (Verdict::Deny, true) => format!("{would}mutual TLS, and {demand} takes plaintext only"),
        }
    }
}

/// The first policies by name, and how many more there are.
fn names(policies: &[PolicyRef]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = policies.iter().take(SHOWN).map(|policy| policy.name.to_string()).collect();
    match policies.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
