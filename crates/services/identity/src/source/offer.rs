//! One state of the other Workload API, read.

use lictor_model::{SpiffeId, TrustDomain};
use lictor_pki::{Bundle, InvalidReceived, JwtKey, PrivateKey, Svid};
use lictor_wire::workload::{JwtBundlesResponse, X509svid, X509svidResponse};
use std::collections::{BTreeMap, HashMap};
use time::OffsetDateTime;

/// What a state offers to a node of one trust domain.
#[derive(Debug)]
pub(super) struct Offer {
    /// The own trust domain's identities.
    pub(super) svids: BTreeMap<SpiffeId, Svid>,
    /// Whom to believe about the own trust domain.
    pub(super) bundle: Bundle,
    /// Whom to believe about others (section 4.6).
    pub(super) foreign: BTreeMap<TrustDomain, Bundle>,
    /// Why some of the state is of no use.
    pub(super) passed_over: Vec<String>,
}

/// A state of which nothing is used.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidState {
    /// Section 5.2.1: one or more.
    #[error("expected SVIDs, saw none")]
    Empty,
    /// Section 4.5: a message without what is mandatory is discarded.
    #[error("expected spiffe_id, x509_svid, x509_svid_key and bundle in every SVID, {0} lacks one of them")]
    Incomplete(String),
    /// The socket leads to another trust domain's SPIRE.
    #[error("expected an SVID of the trust domain {wanted}, saw only others, such as {seen}")]
    TrustDomain {
        /// The trust domain here.
        wanted: TrustDomain,
        /// The first identity.
        seen: String,
    },
    /// Nothing can be verified.
    #[error("the bundle of {0}: {1}")]
    Bundle(String, InvalidReceived),
    /// One trust domain, two bundles.
    #[error("expected one bundle for the trust domain, saw another one beside {0}")]
    Bundles(String),
}

/// Reads a state of X.509-SVIDs. An SVID that no peer would take at `now` is passed over: its identity has none.
pub(super) fn read(
    response: X509svidResponse,
    trust_domain: &TrustDomain,
    now: OffsetDateTime,
) -> Result<Offer, InvalidState> {
    let X509svidResponse { svids, crl, federated_bundles } = response;
    let complete = |svid: &X509svid| {
        let X509svid { spiffe_id, x509_svid, x509_svid_key, bundle, hint: _ } = svid;
        !(spiffe_id.is_empty() || x509_svid.is_empty() || x509_svid_key.is_empty() || bundle.is_empty())
    };
    if let Some(lacking) = svids.iter().find(|svid| !complete(svid)) {
        return Err(InvalidState::Incomplete(shown(&lacking.spiffe_id)));
    }
    let first = svids.first().map(|svid| shown(&svid.spiffe_id)).ok_or(InvalidState::Empty)?;
    let mut passed_over = Vec::new();
    if !crl.is_empty() {
        passed_over.push("revocation lists came, and are not looked at here".to_owned());
    }
    let mut offered = BTreeMap::new();
    let mut own: Option<Bundle> = None;
    for svid in svids {
        let id = match svid.spiffe_id.parse::<SpiffeId>() {
            Ok(id) if id.trust_domain() == *trust_domain => id,
            Ok(id) => {
                passed_over.push(format!("{id} is of another trust domain"));
                continue;
            }
            Err(error) => {
                passed_over.push(format!("{}: {error}", shown(&svid.spiffe_id)));
                continue;
            }
        };
        let bundle = Bundle::from_received(trust_domain.clone(), &svid.bundle)
            .map_err(|error| InvalidState::Bundle(id.to_string(), error))?;
        if own.as_ref().is_some_and(|own| *own != bundle) {
            return Err(InvalidState::Bundles(id.to_string()));
        }
        let key = PrivateKey::from_pkcs8(svid.x509_svid_key);
        match Svid::from_received(&id, &svid.x509_svid, key, &bundle, now) {
            // Section 5.2.1: the first of those that a hint does not tell apart.
            Ok(svid) => drop(offered.entry(id).or_insert(svid)),
            Err(error) => passed_over.push(format!("{id}: {error}")),
        }
        own = Some(bundle);
    }
    let bundle = own.ok_or_else(|| InvalidState::TrustDomain { wanted: trust_domain.clone(), seen: first })?;
    let foreign = read_foreign(&federated_bundles, trust_domain, &mut passed_over);
    Ok(Offer { svids: offered, bundle, foreign, passed_over })
}

/// Bundles of other trust domains. One that is of no use is passed over: that trust domain is not believed.
fn read_foreign(
    bundles: &HashMap<String, Vec<u8>>,
    own: &TrustDomain,
    passed_over: &mut Vec<String>,
) -> BTreeMap<TrustDomain, Bundle> {
    let mut foreign = BTreeMap::new();
    for (name, authorities) in bundles {
        let read = named(name).filter(|domain| domain != own).ok_or("expected the SPIFFE ID of another one".to_owned());
        let read = read.and_then(|domain| {
            Bundle::from_received(domain.clone(), authorities)
                .map(|bundle| (domain, bundle))
                .map_err(|error| error.to_string())
        });
        match read {
            Ok((domain, bundle)) => drop(foreign.insert(domain, bundle)),
            Err(error) => passed_over.push(format!("the bundle of trust domain {}: {error}", shown(name))),
        }
    }
    foreign
}

/// The trust domain that a bundle is named by: its SPIFFE ID, without a path.
fn named(name: &str) -> Option<TrustDomain> {
    let id: SpiffeId = name.parse().ok()?;
    id.path().is_empty().then(|| id.trust_domain())
}

/// The keys that tokens are verified with, of the own trust domain and of others.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TokenKeys {
    pub(super) by_domain: BTreeMap<TrustDomain, Vec<JwtKey>>,
    /// Why some keys are of no use.
    pub(super) passed_over: Vec<String>,
}

/// Reads a state of keys for tokens.
///
/// Source: section 6.2.2: standard JWK sets by the SPIFFE ID of their trust domain.
///
/// # Errors
/// The own trust domain is not there, or what is there is no JWK set.
pub(super) fn read_token_keys(response: &JwtBundlesResponse, own: &TrustDomain) -> Result<TokenKeys, String> {
    let mut keys = TokenKeys::default();
    for (name, text) in &response.bundles {
        let Some(domain) = named(name) else {
            keys.passed_over.push(format!("keys of {}: expected the SPIFFE ID of a trust domain", shown(name)));
            continue;
        };
        match Bundle::read_token_keys(text) {
            Ok((usable, ignored)) => {
                let ignored =
                    ignored.iter().map(|key| format!("key {} for tokens of {domain}: {}", key.at, key.reason));
                keys.passed_over.extend(ignored);
                keys.by_domain.insert(domain, usable);
            }
            Err(error) if domain == *own => return Err(format!("keys of {domain}: {error}")),
            Err(error) => keys.passed_over.push(format!("keys of {domain}: {error}")),
        }
    }
    if keys.by_domain.contains_key(own) { Ok(keys) } else { Err(format!("expected keys of {own}, saw none")) }
}

/// A name that somebody else chose, cut to what a line of text takes.
fn shown(name: &str) -> String {
    name.chars().take(256).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
