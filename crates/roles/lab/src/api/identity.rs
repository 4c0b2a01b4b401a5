//! The routes about who issues identities.

use super::routes::{form, rendered};
use super::{Answer, Query};
use crate::lab::Lab;
use http::Method;
use lictor_identity::membership::MembershipStatus;
use lictor_identity::{Ca, CaStatus, SourceStatus};
use lictor_pki::{AuthorityStatus, Kind};
use lictor_report::{AuthoritiesReport, AuthorityLine, Format, IssuedLine, MembershipReport, SourceReport};

/// Answers what is asked below `/v1/identity/`; nothing if there is no such route.
pub(super) fn answer(method: &Method, path: &str, query: &Query, lab: &Lab) -> Option<Answer> {
    match (method.as_str(), path, path.strip_prefix("ca")) {
        ("GET", "source", _) => Some(source(query, lab)),
        ("GET", "membership", _) => Some(membership(query, lab)),
        (_, _, Some(step)) => authorities(method, step, query, lab),
        _ => None,
    }
}

/// How the Workload API that the identities come from stands.
fn source(query: &Query, lab: &Lab) -> Answer {
    let Some(source) = lab.node.issuance().source() else {
        return Answer::refused("this lab issues its identities itself; see `lictor identity ca show`");
    };
    let SourceStatus { endpoint, received, offered, missing, faults } = source.status();
    let trust_domain = source.keyring().bundle().trust_domain().clone();
    let report = SourceReport { endpoint: endpoint.to_string(), trust_domain, received, offered, missing, faults };
    let (format, style) = form(query);
    rendered(lictor_report::source(&report, format, style), 0)
}

/// How the membership stands, where control issues the identities.
fn membership(query: &Query, lab: &Lab) -> Answer {
    let Some(membership) = lab.node.issuance().membership() else {
        return Answer::refused("this lab is no node of a control (`lictor up --control`)");
    };
    let MembershipStatus { address, node, not_after, connected, heard, faults } = membership.status();
    let trust_domain = membership.keyring().bundle().trust_domain().clone();
    let node = node.to_string();
    let report = MembershipReport { control: address, node, trust_domain, connected, heard, not_after, faults };
    let (format, style) = form(query);
    rendered(lictor_report::membership(&report, format, style), 0)
}

fn authorities(method: &Method, step: &str, query: &Query, lab: &Lab) -> Option<Answer> {
    let Some(ca) = lab.node.issuance().ca() else {
        let why = match lab.node.issuance().membership() {
            Some(_) => "this lab has no authorities: control issues its identities; see `lictor identity membership`",
            None => {
                "this lab has no authorities: its identities come from another Workload API; see `lictor identity source`"
            }
        };
        return Some(Answer::refused(why));
    };
    of_authorities(method, step, query, ca)
}

/// Answers what is asked below `/v1/identity/ca` where these are the authorities; nothing if there is no such route.
pub fn of_authorities(method: &Method, step: &str, query: &Query, ca: &Ca) -> Option<Answer> {
    let (format, style) = form(query);
    Some(match (method.as_str(), step) {
        ("GET", "") => rendered(lictor_report::authorities(&report(ca.status()), format, style), 0),
        ("GET", "/issued") => {
            let lines: Vec<IssuedLine> = ca.issued(query.number("last").unwrap_or(100)).into_iter().map(line).collect();
            rendered(lictor_report::issued(&lines, format, style), 0)
        }
        ("POST", "/prepare" | "/activate" | "/taint" | "/revoke") => take(step, query, ca),
        _ => return None,
    })
}

/// Takes a step; people are told the authority's new state, programs are given all of them.
fn take(step: &str, query: &Query, ca: &Ca) -> Answer {
    let kind: Kind = match query.text("kind").unwrap_or("x509").parse() {
        Ok(kind) => kind,
        Err(expected) => return Answer::refused(format!("kind: {expected}")),
    };
    let id = query.text("id");
    let (taken, became) = match step {
        "/prepare" => (ca.prepare(kind), "is prepared"),
        "/activate" => (ca.activate(kind, id), "is active"),
        "/taint" => (ca.taint(kind, id), "is tainted; what it signed is being replaced"),
        _ => (ca.revoke(kind, id), "is revoked"),
    };
    let (format, style) = form(query);
    match (taken, format) {
        (Err(error), _) => Answer::refused(error.to_string()),
        (Ok(_), Format::Json | Format::Yaml) => {
            rendered(lictor_report::authorities(&report(ca.status()), format, style), 0)
        }
        (Ok(id), _) => Answer::new(format!("{kind} authority {id} {became}\n"), 0),
    }
}

fn report(status: CaStatus) -> AuthoritiesReport {
    let CaStatus { trust_domain, sequence, authorities, holders, next_event, faults } = status;
    let line = |(authority, in_use): (AuthorityStatus, usize)| {
        let AuthorityStatus { kind, id, state, since, not_after, issued, last_expiry } = authority;
        let (kind, id, state) = (kind.to_string(), id.to_string(), state.to_string());
        AuthorityLine { kind, id, state, since, not_after, issued, in_use, last_expiry }
    };
    AuthoritiesReport {
        trust_domain,
        bundle_sequence: sequence,
        authorities: authorities.into_iter().zip(holders).map(line).collect(),
        next_step: next_event,
        faults,
    }
}

fn line(issued: lictor_identity::Issued) -> IssuedLine {
    let lictor_identity::Issued { at, id, serial, authority, not_after } = issued;
    IssuedLine { at, id, serial, authority: authority.to_string(), not_after }
}
