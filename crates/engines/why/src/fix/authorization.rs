//! AuthorizationPolicies that allow one connection or request, and edits of those that deny it.

use super::{Changed, Patch, Wish, metadata, word};
use crate::labels;
use crate::tree::Tree;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{Action, AuthorizationPolicy, AuthorizationRule, Source};
use lictor_model::{By, Cidr, PolicyKind, PolicyRef, Step};
use std::sync::Arc;

/// One more ALLOW policy where nothing allows it, an edit where a DENY rule says no.
pub(super) fn allow(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Option<Patch> {
    match &step.by {
        By::Isolation(_) => allow_policy(snapshot, wish, step),
        By::Policy(rule) => {
            let policy = snapshot.policies.authorization.get(&rule.name)?;
            if policy.action == Action::Deny { spare(snapshot, wish, step, rule, policy) } else { None }
        }
        _ => None,
    }
}

/// The identity that the source proves, as Istio writes it.
fn principal<'a>(wish: &Wish<'a>) -> Option<&'a str> {
    wish.source.filter(|_| wish.encrypted).map(|pod: &Arc<Pod>| pod.identity.principal())
}

fn allow_policy(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Option<Patch> {
    let destination = wish.destination?;
    let flow = wish.flow;
    let selector = labels::of(wish.cluster, destination);
    let one = |text: &str| Tree::list([text.into()]);
    let source = match principal(wish) {
        Some(principal) => Tree::map([("principals", one(principal))]),
        None => Tree::map([("ipBlocks", one(&Cidr::host(flow.source.address).to_string()))]),
    };
    let mut operation = vec![("ports", one(&flow.port.to_string()))];
    if let Some(request) = wish.request {
        operation.push(("methods", one(&request.method)));
        operation.push(("paths", one(request.path.split(['?', '#']).next().unwrap_or_default())));
    }
    let rule = Tree::map([
        ("from", Tree::list([Tree::map([("source", source)])])),
        ("to", Tree::list([Tree::map([("operation", Tree::map(operation))])])),
    ]);
    let mut spec = Vec::new();
    if !selector.is_empty() {
        spec.push(("selector", labels::selector(&selector)));
    }
    spec.push(("action", "ALLOW".into()));
    spec.push(("rules", Tree::list([rule])));
    let ends = [word(wish.source, flow.source.address), word(wish.destination, flow.destination.address)];
    let name = format!("allow-{}-to-{}-{}", ends[0], ends[1], flow.port);
    let document = Tree::map([
        ("apiVersion", "security.istio.io/v1".into()),
        ("kind", "AuthorizationPolicy".into()),
        ("metadata", metadata(snapshot, PolicyKind::AuthorizationPolicy, &destination.name.namespace, &name)),
        ("spec", Tree::map(spec)),
    ]);
    Patch::apply(step.layer, document)
}

/// Takes the source out of the DENY rule that matched: off a list that names it, else by naming it in a `not` field.
fn spare(
    snapshot: &Snapshot,
    wish: &Wish<'_>,
    step: &Step,
    rule: &PolicyRef,
    policy: &AuthorizationPolicy,
) -> Option<Patch> {
    let at = rule_index(&rule.path)?;
    let mut edited = policy.clone();
    let edit = exempt(edited.rules.get_mut(at)?, principal(wish), Cidr::host(wish.flow.source.address));
    let edit = match edit {
        Exemption::Rule => {
            edited.rules.remove(at);
            "remove this rule: it names nobody else".to_owned()
        }
        Exemption::Fields(edit) => edit,
    };
    let changed = Changed::Authorization(Arc::new(edited));
    Some(Patch::edit(snapshot, step.layer, rule.at(format!("spec.rules[{at}]")), edit, changed))
}

enum Exemption {
    /// Nobody is left in the rule.
    Rule,
    /// What to do to its fields.
    Fields(String),
}

fn exempt(rule: &mut AuthorizationRule, principal: Option<&str>, address: Cidr) -> Exemption {
    let field = if principal.is_some() { "notPrincipals" } else { "notIpBlocks" };
    let value = principal.map_or_else(|| address.to_string(), str::to_owned);
    let spare = |source: &mut Source| match principal {
        Some(principal) => source.not_principals.push(principal.to_owned()),
        None => source.not_ip_blocks.push(address),
    };
    if rule.from.is_empty() {
        let mut source = Source::default();
        spare(&mut source);
        rule.from.push(source);
        return Exemption::Fields(format!("add `from: [{{source: {{{field}: [\"{value}\"]}}}}]`"));
    }
    let mut edits = Vec::new();
    let mut emptied = Vec::new();
    for (at, source) in rule.from.iter_mut().enumerate() {
        let named = principal.is_some_and(|principal| source.principals.iter().any(|own| own == principal));
        if named {
            source.principals.retain(|own| Some(own.as_str()) != principal);
            if source.principals.is_empty() {
                emptied.push(at);
            } else {
                edits.push(format!("remove \"{value}\" from from[{at}].source.principals"));
            }
        } else {
            spare(source);
            edits.push(format!("add `{field}: [\"{value}\"]` to from[{at}].source"));
        }
    }
    // A source that named only this principal would match everybody without it.
    edits.extend(emptied.iter().map(|at| format!("remove from[{at}], which names \"{value}\" alone")));
    for at in emptied.into_iter().rev() {
        rule.from.remove(at);
    }
    if rule.from.is_empty() { Exemption::Rule } else { Exemption::Fields(edits.join(", and ")) }
}

/// The rule's number in a path such as `spec.rules[2].to[0]`.
fn rule_index(path: &str) -> Option<usize> {
    path.strip_prefix("spec.rules[")?.split(']').next()?.parse().ok()
}
