//! What holds for every Certificate.

use crate::reissued::{issued, rules};
use crate::{certificate, snapshot};
use lictor_certificates::{claim, judge, renewal_time};
use lictor_manifest::Renewal;
use lictor_model::SpiffeId;
use proptest::prelude::*;
use serde_json::json;
use time::Duration;

fn renewal() -> impl Strategy<Value = Renewal> {
    prop_oneof![
        Just(Renewal::Third),
        (0..200_000_u64).prop_map(|seconds| Renewal::Before(std::time::Duration::from_secs(seconds))),
        (1..100_u8).prop_map(Renewal::Percentage),
    ]
}

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "production",
        "staging",
        "default",
        "prod",
        "ns",
        "sa",
        "web",
        "db",
        "spire",
        "x.y",
        "-",
        "A",
    ])
}

proptest! {
    /// A certificate is renewed in its life: not before it was issued, whatever was asked for, and not after its end. So
    /// there is no end to a renewal that asks for more than the issuer gives.
    #[test]
    fn a_renewal_is_within_the_life(life in 3_i64..100_000, renewal in renewal()) {
        let not_after = issued() + Duration::seconds(life);
        let at = renewal_time(issued(), not_after, renewal);
        prop_assert!(issued() <= at && at <= not_after, "{at}");
        let asks_for_all = matches!(renewal, Renewal::Before(before) if before.is_zero());
        prop_assert!(at < not_after || asks_for_all);
    }

    /// Whatever a Certificate names: it is granted only to the namespace that it names by its path, or, where it names none,
    /// to one with a pod that has it.
    #[test]
    fn nobody_is_given_what_is_of_another_namespace(path in prop::collection::vec(word(), 0..5), namespace in word()) {
        let snapshot = snapshot();
        let text = path.iter().fold("spiffe://cluster.local".to_owned(), |text, word| format!("{text}/{word}"));
        let id: SpiffeId = text.parse().expect("an identity");
        let granted = claim(&id, &namespace.into(), &snapshot).is_ok();
        match id.workload() {
            Some((of, _)) => prop_assert!(!granted || of == namespace, "{id} for {namespace}"),
            None => {
                let has = snapshot.pods_in(&namespace.into()).any(|pod| pod.entries.iter().any(|entry| entry.id == id));
                prop_assert_eq!(granted, has, "{} for {}", id, namespace);
            }
        }
    }

    /// What is granted says what was asked for, field by field, and differs from itself in none.
    #[test]
    fn what_is_granted_is_what_was_asked_for(account in "[a-z]([a-z0-9-]{0,10}[a-z0-9])?", hours in 1_u64..1000, names in 0..3_usize) {
        let uri = format!("spiffe://cluster.local/ns/production/sa/{account}");
        let dns: Vec<String> = (0..names).map(|at| format!("s{at}.production.svc")).collect();
        let spec = json!({"uris": [uri], "duration": format!("{hours}h"), "dnsNames": dns});
        let request = judge(&certificate("production", Some(&spec)), &snapshot(), &rules()).expect("a request");
        prop_assert_eq!(request.id.as_str(), uri);
        prop_assert_eq!(request.duration.as_secs(), hours * 3600);
        prop_assert_eq!(request.dns_names.len(), names);
        prop_assert!(request.differences(&request).is_empty());
    }
}
