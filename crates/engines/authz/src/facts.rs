//! What is known of a request, worked out once for all rules.

use crate::path::canonical_path;
use lictor_model::{Http, Request, SpiffeId};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::OnceCell;

/// A request, and what several rules would otherwise each derive from it.
pub(crate) struct Facts<'a> {
    /// The request itself.
    pub(crate) request: &'a Request<'a>,
    path: OnceCell<Cow<'a, str>>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(request: &'a Request<'a>) -> Self {
        Self { request, path: OnceCell::new() }
    }

    /// The identity without its scheme, as policies write it.
    pub(crate) fn principal(&self) -> Option<&'a str> {
        self.request.principal.map(SpiffeId::principal)
    }

    /// The namespace in the peer's identity.
    pub(crate) fn namespace(&self) -> Option<&'a str> {
        self.request.principal.and_then(namespace_of)
    }

    /// The canonical path of the HTTP request, if it is one.
    pub(crate) fn path(&self) -> Option<&str> {
        let http = self.request.http.as_ref()?;
        Some(self.path.get_or_init(|| canonical_path(http.path)))
    }

    /// A claim that is text.
    pub(crate) fn claim_text(&self, name: &str) -> Option<&'a str> {
        self.request.claims?.get(name)?.as_str()
    }

    /// A claim by its path through nested objects.
    pub(crate) fn claim(&self, path: &[Box<str>]) -> Option<&'a Value> {
        path.iter().try_fold(self.request.claims?, |value, key| value.as_object()?.get(&**key))
    }

    /// A header by its name in lower case; values of a repeated one are joined by commas, as Envoy matches them.
    ///
    /// The pseudo-headers that policies may name are the request's own parts.
    pub(crate) fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        let http = self.request.http.as_ref()?;
        let mut values = header_values(http, name);
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        let joined = values.fold(format!("{first},{second}"), |joined, next| joined + "," + next);
        Some(Cow::Owned(joined))
    }

    /// Each value of a header.
    pub(crate) fn header_values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.request.http.iter().flat_map(move |http| header_values(http, name))
    }
}

fn header_values<'a>(http: &Http<'a>, name: &str) -> impl Iterator<Item = &'a str> {
    let headers = http.headers;
    let part = match name {
        ":method" => Some(http.method),
        ":path" => Some(http.path),
        ":authority" | "host" => Some(http.host),
        _ => None,
    };
    let found = headers.iter().filter(move |(key, _)| part.is_none() && key.eq_ignore_ascii_case(name));
    part.into_iter().chain(found.map(|(_, value)| *value))
}

/// The namespace of an identity of the form `/ns/<namespace>/…`.
///
/// Source: istio/istio, `pilot/pkg/security/authz/model/generator.go`, `srcNamespaceGenerator`.
fn namespace_of(id: &SpiffeId) -> Option<&str> {
    let (namespace, _) = id.path().strip_prefix("/ns/")?.split_once('/')?;
    Some(namespace)
}

/// Whether an identity is a service account's, whatever its trust domain and whatever else its path says.
///
/// Source: istio/istio, `pilot/pkg/security/authz/model/generator.go`, `serviceAccountRegex`.
pub(crate) fn is_service_account(id: &SpiffeId, namespace: &str, account: &str) -> bool {
    let Some((found, rest)) = id.path().strip_prefix("/ns/").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let segments = rest.split('/');
    found == namespace && segments.clone().zip(segments.skip(1)).any(|pair| pair == ("sa", account))
}

#[cfg(test)]
mod tests {
    use super::{is_service_account, namespace_of};
    use lictor_model::SpiffeId;

    #[test]
    fn identities_are_taken_apart_as_istio_does() {
        let id = |text: &str| text.parse::<SpiffeId>().expect("an identity");
        let plain = id("spiffe://td/ns/foo/sa/bar");
        assert_eq!(namespace_of(&plain), Some("foo"));
        assert!(is_service_account(&plain, "foo", "bar"));
        for (namespace, account) in [("foo", "ba"), ("foo", "bar2"), ("fo", "bar"), ("bar", "foo"), ("foo", "")] {
            assert!(!is_service_account(&plain, namespace, account), "{namespace}/{account}");
        }
        assert!(is_service_account(&id("spiffe://td/ns/foo/sa/bar/extra/1"), "foo", "bar"));
        assert!(is_service_account(&id("spiffe://td/ns/foo/cluster/x/sa/bar"), "foo", "bar"));
        assert!(!is_service_account(&id("spiffe://td/x/ns/foo/sa/bar"), "foo", "bar"));
        assert_eq!(namespace_of(&id("spiffe://td/ns/foo")), None);
        assert_eq!(namespace_of(&id("spiffe://td")), None);
    }
}
