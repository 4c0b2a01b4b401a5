//! JWT-SVIDs (Broker API, section 6.2.1).

use crate::client::{Broker, explained, invalid, not_entitled, pid, pod};
use crate::node::{Node, identity, now};
use crate::{A, B, PROXY, UID_A, UID_B};
use lictor_identity::Identity;
use lictor_pki::{unix_time, verify_token};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_has_a_token_of_each_identity_or_of_the_one_that_is_asked_for() {
    let node = Node::start("tokens").await;
    let hinted = Identity { hint: "main".into(), ..identity(B) };
    let place = node.pod_of_containers("a", Some(UID_A), &[""], vec![hinted, identity(A)]).remove(0);
    let process = node.process(&place);
    let mut broker = Broker::connect(&node, PROXY).await;
    for reference in [pid(process.pid()), pod("shop/a", UID_A)] {
        let told = broker.tokens(reference.clone(), &["bank", "shop"], "").await.unwrap().svids;
        let ids: Vec<_> = told.iter().map(|svid| (svid.spiffe_id.as_str(), svid.hint.as_str())).collect();
        assert_eq!(ids, [(B, "main"), (A, "")]);
        for svid in &told {
            for audience in ["bank", "shop"] {
                let proven = verify_token(&svid.svid, &node.bundle(), audience, unix_time(now())).unwrap();
                assert_eq!(proven.id.as_str(), svid.spiffe_id);
            }
            assert!(verify_token(&svid.svid, &node.bundle(), "other", unix_time(now())).is_err());
        }
        let told = broker.tokens(reference, &["bank"], A).await.unwrap().svids;
        assert_eq!(told.iter().map(|svid| svid.spiffe_id.as_str()).collect::<Vec<_>>(), [A]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_needs_an_audience_and_a_right() {
    let node = Node::start("no-tokens").await;
    node.pod("a", UID_A, A);
    node.pod("b", UID_B, B);
    let mut broker = Broker::connect(&node, PROXY).await;
    let a = || pod("shop/a", UID_A);
    // Section 4.6: a mandatory field with its default value.
    for audience in [&[][..], &[""], &["bank", ""]] {
        let refused = broker.tokens(a(), audience, "").await.unwrap_err();
        assert_eq!(explained(&refused), (Code::InvalidArgument, None), "{audience:?}");
    }
    assert_eq!(broker.tokens(a(), &["bank"], "not an id").await.unwrap_err().code(), Code::InvalidArgument);
    for other in [B, PROXY, "spiffe://td.example", "spiffe://other.example/ns/shop/sa/a"] {
        let refused = broker.tokens(a(), &["bank"], other).await.unwrap_err();
        assert_eq!(explained(&refused), not_entitled(), "{other}");
    }
    let refused = broker.tokens(pid(-3), &["bank"], "").await.unwrap_err();
    assert_eq!(explained(&refused), invalid());
}
