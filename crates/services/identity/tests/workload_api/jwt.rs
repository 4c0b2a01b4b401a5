//! The JWT-SVID profile.

use crate::node::{Node, Process, bytes, now};
use crate::{A, B};
use lictor_pki::{Bundle, TokenAuthority, unix_time, verify_token};
use lictor_wire::workload::{JwtBundlesResponse, JwtsvidResponse, ValidateJwtsvidResponse};
use prost::Message;
use prost_types::value::Kind;
use std::time::Duration;

impl Process {
    /// The one token for an audience, as identity and token.
    fn token(&mut self, audience: &str, id: &str) -> (String, String) {
        self.order(&format!("jwt {audience} {id}"));
        let message = JwtsvidResponse::decode(bytes(&self.answer("tokens")).as_slice()).unwrap();
        let [svid] = message.svids.as_slice() else { panic!("expected one token, saw {}", message.svids.len()) };
        (svid.spiffe_id.clone(), svid.svid.clone())
    }

    /// The only bundle of the next message, with the name that it has there.
    fn jwt_bundle(&mut self) -> (String, String) {
        let [only] = <[_; 1]>::try_from(self.jwt_bundles()).unwrap();
        only
    }

    /// The bundles of the next message, by name.
    fn jwt_bundles(&mut self) -> Vec<(String, String)> {
        let message = JwtBundlesResponse::decode(bytes(&self.answer("bundles")).as_slice()).unwrap();
        let texts = message.bundles.into_iter().map(|(name, text)| (name, String::from_utf8(text).unwrap()));
        let mut bundles: Vec<_> = texts.collect();
        bundles.sort();
        bundles
    }

    fn validated(&mut self, audience: &str, token: &str) -> ValidateJwtsvidResponse {
        self.order(&format!("validate {audience} {token}"));
        ValidateJwtsvidResponse::decode(bytes(&self.answer("validated")).as_slice()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_gets_a_token_of_its_own_and_nobody_elses() {
    let node = Node::start("jwt").await;
    let (a, b) = (node.pod("a", A), node.pod("b", B));
    for (place, id) in [(&a, A), (&b, B)] {
        let mut process = node.process(place);
        process.connect();
        for wanted in ["", id] {
            let (seen, token) = process.token("shop bank", wanted);
            assert_eq!(seen, id);
            let svid = verify_token(&token, &node.bundle(), "bank", unix_time(now())).expect("a proof");
            assert_eq!((svid.id.as_str(), svid.audience.as_slice()), (id, ["shop".into(), "bank".into()].as_slice()));
            let life = svid.expires_at - now().unix_timestamp();
            assert!((298..=300).contains(&life), "{life} s");
        }
    }
    let mut process = node.process(&a);
    process.connect();
    let denied = ("PermissionDenied".to_owned(), "no identity issued".to_owned());
    assert_eq!(process.refusal_of(&format!("jwt shop {B}")), denied, "another pod's");
    assert_eq!(process.refusal_of("jwt shop spiffe://td.example"), denied, "the trust domain's");
    for order in ["jwt ", "jwt  ", "jwt shop  ", "jwt shop nobody", "jwt shop spiffe://td.example/a/"] {
        assert_eq!(process.refusal_of(order).0, "InvalidArgument", "{order:?}");
    }
    node.remove("a");
    assert_eq!(process.refusal_of("jwt shop "), denied, "its pod is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_outside_every_pod_has_no_use_of_tokens() {
    let node = Node::start("jwt-outside").await;
    let a = node.pod("a", A);
    let mut process = node.process(&a);
    process.connect();
    let (_, token) = process.token("shop", "");
    let mut stranger = node.process(&node.cgroup("outside"));
    stranger.connect();
    for order in ["jwt shop ", "jwt  ", "jwt-bundles", &format!("validate shop {token}"), "validate  "] {
        let denied = ("PermissionDenied".to_owned(), "no identity issued".to_owned());
        assert_eq!(stranger.refusal_of(order), denied, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_validates_as_the_specification_says() {
    let node = Node::start("jwt-validate").await;
    let (a, b) = (node.pod("a", A), node.pod("b", B));
    let (mut caller, mut verifier) = (node.process(&a), node.process(&b));
    caller.connect();
    verifier.connect();
    let (_, token) = caller.token("shop", "");
    let seen = verifier.validated("shop", &token);
    assert_eq!(seen.spiffe_id, A);
    let claims = seen.claims.expect("claims").fields;
    let text = |name: &str| claims.get(name).and_then(|value| value.kind.clone());
    assert_eq!(text("sub"), Some(Kind::StringValue(A.to_owned())));
    assert_eq!(text("aud"), Some(Kind::StringValue("shop".to_owned())));
    assert!(matches!(text("exp"), Some(Kind::NumberValue(at)) if at > now().unix_timestamp() as f64));
    assert_eq!(claims.len(), 4);

    let other = TokenAuthority::new("td.example".parse().unwrap()).unwrap();
    let forged = other.issue(&A.parse().unwrap(), &["shop".to_owned()], now(), time::Duration::HOUR).unwrap();
    for (order, reason) in [
        (format!("validate bank {token}"), "audience"),
        (format!("validate shop {forged}"), "a key of the trust domain"),
        (format!("validate shop {}x", &token[..token.len() - 1]), "token"),
        ("validate shop rubbish".to_owned(), "three parts"),
        (format!("validate  {token}"), "expected the audience"),
        ("validate shop ".to_owned(), "expected a token"),
    ] {
        let (code, message) = verifier.refusal_of(&order);
        assert!(code == "InvalidArgument" && message.contains(reason), "{order}: {code} {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_for_tokens_are_complete_states_without_certificates() {
    let node = Node::start("jwt-bundles").await;
    // No SVID of its own is needed to verify others.
    let a = node.pod_without_svid("a", A);
    let mut process = node.process(&a);
    process.connect();
    process.order("jwt-bundles");
    let (name, text) = process.jwt_bundle();
    assert_eq!((name.as_str(), text.as_str()), ("spiffe://td.example", node.bundle().jwt_jwks().as_str()));
    let read = Bundle::from_jwks("td.example".parse().unwrap(), text.as_bytes()).unwrap();
    assert!(read.bundle.authorities().is_empty() && read.ignored.is_empty());
    assert_eq!(read.bundle.jwt_keys(), node.bundle().jwt_keys());
    assert_eq!(process.fetch_bundles()[0].0, "spiffe://td.example");

    process.order("watch-jwt-bundles");
    assert_eq!(process.jwt_bundle().1, text);
    // Another certificate and another number are no news, another key is.
    node.renumber_bundle();
    node.renew(A);
    let next = TokenAuthority::new("td.example".parse().unwrap()).unwrap();
    let keys = [node.bundle().jwt_keys(), &[next.public().clone()]].concat();
    node.set_bundle(node.bundle().with_jwt_keys(keys.clone()));
    let read = Bundle::from_jwks("td.example".parse().unwrap(), process.jwt_bundle().1.as_bytes()).unwrap();
    assert_eq!(read.bundle.jwt_keys(), keys);
    // All of them taken back: a state as well.
    node.set_bundle(node.bundle().with_jwt_keys(Vec::new()));
    assert_eq!(process.jwt_bundle().1, r#"{"keys":[]}"#);
    assert!(process.nothing_for(Duration::from_millis(200)));
    node.remove("a");
    assert_eq!(process.stream_end(), ("PermissionDenied".to_owned(), "no identity issued".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_federated_trust_domain_are_validated_until_the_federation_ends() {
    let node = Node::start("jwt-federated").await;
    let mut process = node.process(&node.pod("a", A));
    process.connect();
    let other = node.federate("other.example");
    let id: lictor_model::SpiffeId = "spiffe://other.example/ns/shop/sa/a".parse().unwrap();
    let token = other.tokens().issue(&id, &["shop".to_owned()], now(), time::Duration::HOUR).unwrap();
    // Somebody else's federation is no reason to believe it.
    let (code, message) = process.refusal_of(&format!("validate shop {token}"));
    assert!(code == "InvalidArgument" && message.contains("trust domain td.example"), "{code} {message}");
    process.order("jwt-bundles");
    assert_eq!(process.jwt_bundles(), [("spiffe://td.example".to_owned(), node.bundle().jwt_jwks())]);
    node.federate_pod("a", &["other.example"]);
    process.order("jwt-bundles");
    let name = |trust_domain: &str| format!("spiffe://{trust_domain}");
    let wanted = [(name("other.example"), other.bundle(1).jwt_jwks()), (name("td.example"), node.bundle().jwt_jwks())];
    assert_eq!(process.jwt_bundles(), wanted);
    assert_eq!(process.validated("shop", &token).spiffe_id, id.as_str());
    node.end_federation("other.example");
    let (code, message) = process.refusal_of(&format!("validate shop {token}"));
    assert!(code == "InvalidArgument" && message.contains("trust domain td.example"), "{code} {message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_name_their_issuer_when_there_is_one() {
    let node = Node::start("jwt-issuer").await;
    let mut process = node.process(&node.pod("a", A));
    process.connect();
    let mut issuer = || {
        let (_, token) = process.token("shop", "");
        let svid = verify_token(&token, &node.bundle(), "shop", unix_time(now())).expect("a proof");
        svid.claims.get("iss").cloned()
    };
    assert_eq!(issuer(), None);
    node.set_token_issuer("https://oidc.td.example");
    assert_eq!(issuer(), Some("https://oidc.td.example".into()));
}
