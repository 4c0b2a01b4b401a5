//! Pods with several identities.

use crate::node::{Node, Process, bytes, now};
use crate::{A, B};
use lictor_identity::Identity;
use lictor_model::SpiffeId;
use lictor_pki::{unix_time, verify_token};
use lictor_wire::workload::JwtsvidResponse;
use prost::Message;
use std::time::Duration;

fn identity(id: &str, hint: &str) -> Identity {
    Identity { hint: hint.into(), ..id.parse::<SpiffeId>().unwrap().into() }
}

impl Process {
    /// Identity, hint and token of each token for an audience.
    fn tokens(&mut self, audience: &str, id: &str) -> Vec<(String, String, String)> {
        self.order(&format!("jwt {audience} {id}"));
        let message = JwtsvidResponse::decode(bytes(&self.answer("tokens")).as_slice()).unwrap();
        message.svids.into_iter().map(|svid| (svid.spiffe_id, svid.hint, svid.svid)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_gets_all_of_its_identities_at_once_its_default_first() {
    let node = Node::start("several").await;
    let place = node.pod_with("a", vec![identity(B, "main"), identity(A, "")]);
    let mut process = node.process(&place);
    process.connect();
    process.watch();
    node.renew(A);
    assert!(process.nothing_for(Duration::from_millis(200)), "a state is complete");
    node.renew(B);
    assert_eq!(process.next_state().hinted(), [(B, "main"), (A, "")]);
    node.renew(A);
    assert_eq!(process.next_state().hinted(), [(B, "main"), (A, "")], "the renewal of either is pushed");
    node.renew(B);
    assert_eq!(process.next_state().hinted(), [(B, "main"), (A, "")]);
    assert!(process.nothing_for(Duration::from_millis(200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_gets_tokens_of_all_of_its_identities_or_of_the_one_it_asks_for() {
    let node = Node::start("several-jwt").await;
    let short = Identity { jwt_lifetime: Some(time::Duration::seconds(60)), ..identity(A, "") };
    let place = node.pod_with("a", vec![identity(B, "main"), short]);
    let mut process = node.process(&place);
    process.connect();
    let told = |tokens: &[(String, String, String)]| -> Vec<(String, String)> {
        tokens.iter().map(|(id, hint, _)| (id.clone(), hint.clone())).collect()
    };
    let (a, b) = ((A.to_owned(), String::new()), (B.to_owned(), "main".to_owned()));
    let tokens = process.tokens("shop", "");
    assert_eq!(told(&tokens), [b.clone(), a.clone()]);
    let life = |at: usize| {
        let svid = verify_token(&tokens[at].2, &node.bundle(), "shop", unix_time(now())).expect("a proof");
        assert_eq!(svid.id.as_str(), tokens[at].0);
        svid.expires_at - now().unix_timestamp()
    };
    assert!((298..=300).contains(&life(0)) && (58..=60).contains(&life(1)), "each lives as its entry says");
    assert_eq!(told(&process.tokens("shop", A)), [a]);
    assert_eq!(told(&process.tokens("shop", B)), [b]);
    assert_eq!(process.refusal_of("jwt shop spiffe://td.example/other").0, "PermissionDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_an_identity_gets_nothing() {
    let node = Node::start("none").await;
    let place = node.pod_with("a", vec![]);
    let mut process = node.process(&place);
    process.connect();
    assert_eq!(process.refused(), ("PermissionDenied".to_owned(), "no identity issued".to_owned()));
    assert_eq!(process.refused_bundles().0, "PermissionDenied");
    assert_eq!(process.refusal_of("jwt shop ").0, "PermissionDenied");
}
