//! Trust bundles: what is believed about the own trust domain and about others.

use super::routes::{form, rendered};
use super::{Answer, Query};
use crate::lab::Lab;
use lictor_identity::federation::RelationStatus;
use lictor_model::TrustDomain;
use lictor_pki::{Bundle, Keyring};
use lictor_report::{BundleEndpoint, BundleStatus};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// `GET` lists the bundles, or gives that of `domain`; `PUT` sets that of `domain` from a `file`; `DELETE` ends the
/// federation with `domain`.
pub(super) fn answer(method: &str, query: &Query, lab: &Lab) -> Answer {
    let domain = match query.text("domain").map(str::parse::<TrustDomain>).transpose() {
        Ok(domain) => domain,
        Err(error) => return Answer::refused(format!("no trust domain: {error}")),
    };
    match (method, domain) {
        ("GET", None) => list(query, lab),
        ("GET", Some(domain)) => show(&domain, query, lab.node.keyring()),
        ("PUT", Some(domain)) => match query.text("file") {
            Some(file) => set(&domain, Path::new(file), lab),
            None => Answer::refused("expected a file as `file`"),
        },
        ("DELETE", Some(domain)) => match lab.node.relations().remove(&domain) {
            Ok(true) => Answer::new(format!("nothing is believed about {domain} any more\n"), 0),
            Ok(false) => Answer::refused(format!("there is no federation with {domain}")),
            Err(declared) => Answer::refused(declared.to_string()),
        },
        _ => Answer::refused("expected a trust domain as `domain`"),
    }
}

fn list(query: &Query, lab: &Lab) -> Answer {
    let keyring = lab.node.keyring();
    let foreign = keyring.foreign();
    let mut relations: BTreeMap<TrustDomain, RelationStatus> =
        lab.node.relations().statuses().into_iter().map(|(one, _)| (one.relation.trust_domain.clone(), one)).collect();
    let mut rows = vec![row(&keyring.bundle(), true, None)];
    rows.extend(foreign.iter().map(|(domain, bundle)| row(bundle, false, relations.remove(domain))));
    // Those that have given nothing yet.
    rows.extend(relations.into_iter().map(|(trust_domain, relation)| BundleStatus {
        trust_domain,
        own: false,
        authorities: 0,
        jwt_keys: 0,
        sequence: 0,
        refresh_hint: None,
        endpoint: Some(endpoint(relation)),
    }));
    let (format, style) = form(query);
    rendered(lictor_report::bundles(&rows, format, style), 0)
}

fn row(bundle: &Arc<Bundle>, own: bool, relation: Option<RelationStatus>) -> BundleStatus {
    BundleStatus {
        trust_domain: bundle.trust_domain().clone(),
        own,
        authorities: bundle.authorities().len(),
        jwt_keys: bundle.jwt_keys().len(),
        sequence: bundle.sequence(),
        refresh_hint: bundle.refresh_hint(),
        endpoint: relation.map(endpoint),
    }
}

/// Where the bundle of a relation is, and how that goes.
pub(super) fn endpoint(status: RelationStatus) -> BundleEndpoint {
    BundleEndpoint {
        url: status.relation.url.to_string(),
        profile: status.relation.profile.as_str().to_owned(),
        fetched: status.fetched,
        error: status.error,
        ignored: status.ignored,
    }
}

/// The own bundle alone, for a service that has no other: listed, or given as a whole.
pub fn own_bundle(query: &Query, keyring: &Keyring) -> Answer {
    match query.text("domain").map(str::parse::<TrustDomain>).transpose() {
        Ok(Some(domain)) => show(&domain, query, keyring),
        Ok(None) => {
            let (format, style) = form(query);
            rendered(lictor_report::bundles(&[row(&keyring.bundle(), true, None)], format, style), 0)
        }
        Err(error) => Answer::refused(format!("no trust domain: {error}")),
    }
}

fn show(domain: &TrustDomain, query: &Query, keyring: &Keyring) -> Answer {
    let pem = query.text("form") == Some("pem");
    let Some(bundle) = keyring.bundle_of(domain) else {
        return Answer::refused(format!("nothing is believed about {domain}"));
    };
    if pem {
        return Answer::new(bundle.to_pem(), 0);
    }
    match bundle.to_jwks() {
        Ok(text) => Answer::new(text + "\n", 0),
        Err(error) => Answer::refused(error.to_string()),
    }
}

/// Read by the lab: the bundle is for it, and whoever can ask it is root.
fn set(domain: &TrustDomain, file: &Path, lab: &Lab) -> Answer {
    let bundle = match read_bundle(domain, file) {
        Ok(bundle) => bundle,
        Err(error) => return Answer::refused(format!("{}: {error}", file.display())),
    };
    match lab.node.relations().set_bundle(bundle) {
        Ok(true) => Answer::new(format!("this bundle is believed about {domain} now\n"), 0),
        Ok(false) => Answer::new(format!("this bundle was believed about {domain} already\n"), 0),
        Err(error) => Answer::refused(error.to_string()),
    }
}

/// A bundle file of the trust domain: a JWK set, or certificates as PEM.
///
/// Errors: the file cannot be read, or is neither.
pub fn read_bundle(domain: &TrustDomain, file: &Path) -> Result<Bundle, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    if text.trim_start().starts_with('{') {
        let read = Bundle::from_jwks(domain.clone(), text.as_bytes()).map_err(|error| error.to_string())?;
        return match read.ignored.first() {
            // A person chose this file: what is of no use in it is a mistake.
            Some(key) => Err(format!("keys[{}]: {}", key.at, key.reason)),
            None => Ok(read.bundle),
        };
    }
    Bundle::from_pem(domain.clone(), &text).map_err(|error| error.to_string())
}
