//! `security.istio.io` AuthorizationPolicy.
//!
//! Source: istio/api, `security/v1beta1/authorization_policy.proto`. Only what the typed form cannot tell any more is
//! checked here (a list that is there and empty, where a policy is attached); Istio's other rules need the meaning.

use super::accept_type;
use super::labels::workload_selector;
use super::metadata::Metadata;
use super::syntax::block;
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{Action, AuthorizationPolicy, AuthorizationRule, Condition, Operation, Source};
use lictor_model::Cidr;

/// Makes a policy a record only.
const DRY_RUN: &str = "istio.io/dry-run";

/// An AuthorizationPolicy, as it is written.
pub(crate) fn authorization_policy(object: &Field<'_>, metadata: Metadata) -> Option<AuthorizationPolicy> {
    let meta = metadata.meta;
    object.record(|record| {
        accept_type(record);
        let dry_run = dry_run(object, meta.annotations.get(DRY_RUN).map(String::as_str));
        let mut policy = AuthorizationPolicy {
            meta,
            selector: None,
            has_target_refs: false,
            action: Action::Allow,
            rules: Vec::new(),
            dry_run,
        };
        if let Some(field) = record.get("spec") {
            field.record(|record| spec(record, &mut policy));
        }
        policy
    })
}

/// Istio reads the annotation as Go's `ParseBool` does.
fn dry_run(object: &Field<'_>, value: Option<&str>) -> bool {
    match value {
        None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
        Some(_) => {
            let annotations = object.node.get("metadata").and_then(|node| node.get("annotations"));
            let node = annotations.and_then(|node| node.get(DRY_RUN)).unwrap_or(object.node);
            let path = format!("metadata.annotations[{DRY_RUN}]");
            let field = Field { context: object.context, node, spot: node.spot, path };
            field.wrong(Code::InvalidValue, "true or false");
            false
        }
    }
}

fn spec(record: &mut Record<'_>, policy: &mut AuthorizationPolicy) {
    policy.selector = record.get("selector").and_then(|field| workload_selector(&field));
    for field in [record.get("targetRef")].into_iter().flatten().chain(record.items("targetRefs")) {
        policy.has_target_refs = true;
        field.record(target_ref);
    }
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Allow,
        Deny,
        Audit,
        Custom,
    }
    let words = [("ALLOW", Word::Allow), ("DENY", Word::Deny), ("AUDIT", Word::Audit), ("CUSTOM", Word::Custom)];
    let word = record.get("action").and_then(|field| field.word(Code::InvalidValue, &words)).unwrap_or(Word::Allow);
    let provider = record.get("provider");
    if let Some(field) = provider.as_ref().filter(|_| word != Word::Custom) {
        field.report(Code::InvalidIstioPolicy, "expected the action CUSTOM beside a provider, found another one");
    }
    let provider = provider.and_then(|field| field.record(|record| record.text("name").unwrap_or_default().to_owned()));
    policy.action = match word {
        Word::Allow => Action::Allow,
        Word::Deny => Action::Deny,
        Word::Audit => Action::Audit,
        Word::Custom => Action::Custom(provider.unwrap_or_default()),
    };
    policy.rules = record.items("rules").iter().filter_map(|field| field.record(rule)).collect();
}

fn target_ref(record: &mut Record<'_>) {
    record.accept(&["group"]);
    for key in ["kind", "name"] {
        if record.need(key).and_then(|field| field.text()) == Some("") {
            record.field.report(Code::MissingField, format!("the required field `{key}` is empty"));
        }
    }
    if let Some(field) = record.get("namespace").filter(|field| field.node.as_str() != Some("")) {
        field.report(Code::InvalidIstioPolicy, "expected no namespace: a target of another namespace is not supported");
    }
}

/// The items of a list that must not be there and empty.
fn filled<'a>(record: &mut Record<'a>, key: &'static str) -> Vec<Field<'a>> {
    let Some(field) = record.get(key) else { return Vec::new() };
    let items = field.items();
    if matches!(&field.node.data, crate::yaml::Data::List(items) if items.is_empty()) {
        field.report_with(
            Code::InvalidIstioPolicy,
            "expected at least one item, found none",
            "leave it out to match anything",
        );
    }
    items
}

fn rule(record: &mut Record<'_>) -> AuthorizationRule {
    let from = filled(record, "from");
    let to = filled(record, "to");
    AuthorizationRule {
        from: from.iter().map(|field| within(field, "source", source)).collect(),
        to: to.iter().map(|field| within(field, "operation", operation)).collect(),
        when: record.items("when").iter().filter_map(|field| field.record(condition)).collect(),
    }
}

/// What stands in the one field of a list's item; its default when it is absent.
fn within<T: Default>(item: &Field<'_>, key: &'static str, read: fn(&mut Record<'_>) -> T) -> T {
    item.attempt(|record| record.get(key)?.record(read)).unwrap_or_default()
}

fn source(record: &mut Record<'_>) -> Source {
    Source {
        principals: record.texts("principals"),
        not_principals: record.texts("notPrincipals"),
        request_principals: record.texts("requestPrincipals"),
        not_request_principals: record.texts("notRequestPrincipals"),
        namespaces: record.texts("namespaces"),
        not_namespaces: record.texts("notNamespaces"),
        service_accounts: record.texts("serviceAccounts"),
        not_service_accounts: record.texts("notServiceAccounts"),
        trust_domains: record.texts("trustDomains"),
        not_trust_domains: record.texts("notTrustDomains"),
        ip_blocks: blocks(record, "ipBlocks"),
        not_ip_blocks: blocks(record, "notIpBlocks"),
        remote_ip_blocks: blocks(record, "remoteIpBlocks"),
        not_remote_ip_blocks: blocks(record, "notRemoteIpBlocks"),
    }
}

fn blocks(record: &mut Record<'_>, key: &'static str) -> Vec<Cidr> {
    record.items(key).iter().filter_map(|field| block(field, true)).collect()
}

fn operation(record: &mut Record<'_>) -> Operation {
    Operation {
        hosts: record.texts("hosts"),
        not_hosts: record.texts("notHosts"),
        ports: ports(record, "ports"),
        not_ports: ports(record, "notPorts"),
        methods: record.texts("methods"),
        not_methods: record.texts("notMethods"),
        paths: record.texts("paths"),
        not_paths: record.texts("notPaths"),
    }
}

/// Ports, which this kind writes as texts.
fn ports(record: &mut Record<'_>, key: &'static str) -> Vec<u16> {
    let port = |field: &Field<'_>| {
        let port = field.text()?.parse::<u16>().ok().filter(|port| *port > 0);
        if port.is_none() {
            field.wrong(Code::InvalidPort, "a port from 1 to 65535, as a text");
        }
        port
    };
    record.items(key).iter().filter_map(port).collect()
}

fn condition(record: &mut Record<'_>) -> Condition {
    Condition {
        key: record.need("key").and_then(|field| field.text()).unwrap_or_default().to_owned(),
        values: record.texts("values"),
        not_values: record.texts("notValues"),
    }
}
