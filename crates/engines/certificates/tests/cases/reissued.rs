//! When a certificate is issued again, and when it is ready.

use crate::{cases, certificate, snapshot};
use lictor_certificates::{
    CertificateFacts, Examined, Held, Issuers, KeyFacts, Names, Request, Rules, judge, readiness, reissue,
};
use lictor_manifest::{IssuerRef, KeyAlgorithm};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

pub(crate) fn issued() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time")
}

pub(crate) fn rules() -> Rules {
    Rules { issuers: Issuers::default(), has_authorities: true, cluster_domain: "cluster.local".into() }
}

const OWN: &[u8] = b"own";
const OTHER: &[u8] = b"other";

/// A Secret as it was filled for a request, and what the case says was done to it.
fn held(request: &Request, changes: &Value) -> Option<Held> {
    if changes.as_str() == Some("absent") {
        return None;
    }
    let names = Names {
        common_name: request.common_name.to_string(),
        dns_names: request.dns_names.iter().map(ToString::to_string).collect(),
        uris: [request.id.to_string()].into(),
        others: changes["others"] == true,
    };
    let state = |key: &str| changes[key].as_str();
    let public = |key: &str| if state(key) == Some("other") { OTHER } else { OWN }.to_vec();
    let key = KeyFacts { algorithm: KeyAlgorithm::Rsa(2048), public: public("key") };
    let certificate = CertificateFacts {
        public: public("certificate"),
        issued: issued(),
        not_after: issued() + Duration::HOUR,
        names,
        tainted: changes["tainted"] == true,
    };
    let given = |key: &str, default: &str| match changes.get(key) {
        None => Some(default.to_owned()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    Some(Held {
        key: present(state("key"), key),
        certificate: present(state("certificate"), certificate),
        certificate_name: given("certificateName", "workload-cert").map(Into::into),
        issuer: given("issuer", "spiffe-issuer").map(IssuerRef::cluster),
    })
}

fn present<T>(state: Option<&str>, facts: T) -> Option<Result<T, String>> {
    match state {
        Some("missing") => None,
        Some("invalid") => Some(Err("expected something else".to_owned())),
        _ => Some(Ok(facts)),
    }
}

#[test]
fn each_certificate_is_issued_again_as_its_case_says() {
    let snapshot = snapshot();
    let first = certificate("production", None);
    let before = judge(&first, &snapshot, &rules()).expect("a request");
    let all = cases("reissue.yaml");
    let mut wrong = Vec::new();
    for case in &all {
        let certificate = certificate("production", case.get("spec"));
        let request = judge(&certificate, &snapshot, &rules()).expect("a request");
        let secret = held(&before, &case["secret"]);
        let last = (case["last"] != "none").then_some((&before, OWN));
        let now = issued() + Duration::seconds(case["at"].as_i64().unwrap_or(60));
        let examined = Examined { certificate: &certificate, request: &request, secret: secret.as_ref(), last, now };
        let said = [reissue(&examined), readiness(&examined).err()];
        for reason in said.iter().flatten() {
            assert!(!reason.message.is_empty());
        }
        let said = said.map(|reason| reason.map(|reason| reason.cause.as_str()));
        let expected = ["reissue", "ready"].map(|key| case[key].as_str());
        if said != expected {
            wrong.push(format!("{}\n  wanted {expected:?}\n  said   {said:?}", case["case"]));
        }
    }
    println!("{} cases", all.len());
    assert!(all.len() >= 40 && wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}
