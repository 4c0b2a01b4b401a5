use super::{
    CertificateExplained, ChainExplained, IdentityLine, Proof, SvidLine, TokenExplained, chain, identities, svids,
    token,
};
use crate::{Format, Style};
use insta::assert_snapshot;
use lictor_model::Name;
use time::{Duration, OffsetDateTime};

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::seconds(seconds)
}

#[test]
fn identities_say_for_whom_they_are_and_where_they_come_from() {
    let line = |pod: &str, id: &str| IdentityLine {
        pod: Name::new("shop", pod),
        id: id.parse().expect("an identity"),
        by: None,
        selectors: Vec::new(),
        containers: Vec::new(),
        process: Vec::new(),
        dns_names: Vec::new(),
        hint: String::new(),
        ttl: None,
        expires: Some(at(3600)),
    };
    let part = IdentityLine {
        by: Some("ClusterSPIFFEID/nginx".to_owned()),
        selectors: vec!["k8s:container-name:one".to_owned(), "unix:user:nginx".to_owned()],
        containers: vec!["one".to_owned()],
        process: vec!["unix:user:nginx".to_owned()],
        hint: "front".to_owned(),
        ttl: Some(600),
        expires: None,
        ..line("pair", "spiffe://td/nginx")
    };
    let lines = [line("db", "spiffe://td/ns/shop/sa/db"), line("pair", "spiffe://td/ns/shop/sa/default"), part];
    assert_snapshot!("identities", identities(&lines, Format::Text, Style::default()).expect("a text"));
    let wide = Style { wide: true, ..Style::default() };
    assert!(identities(&lines, Format::Wide, wide).expect("a text").contains("k8s:container-name:one unix:user:nginx"));
    let json: serde_json::Value =
        serde_json::from_str(&identities(&lines, Format::Json, Style::default()).expect("a text")).expect("JSON");
    assert_eq!((&json[2]["containers"][0], json[0].get("by")), (&"one".into(), None));
    assert_eq!(json[0].get("dnsNames"), None);
}

#[test]
fn the_dns_names_of_identities_are_a_column_where_there_are_any() {
    let line = |pod: &str, dns_names: &[&str]| IdentityLine {
        pod: Name::new("shop", pod),
        id: "spiffe://td/web".parse().expect("an identity"),
        by: Some("ClusterSPIFFEID/web".to_owned()),
        selectors: Vec::new(),
        containers: Vec::new(),
        process: Vec::new(),
        dns_names: dns_names.iter().map(|&name| name.to_owned()).collect(),
        hint: String::new(),
        ttl: None,
        expires: Some(at(3600)),
    };
    let lines = [line("none", &[]), line("one", &["one.test"]), line("three", &["web", "web.shop", "web.shop.svc"])];
    assert_snapshot!("dns_names", identities(&lines, Format::Text, Style::default()).expect("a text"));
    let wide = Style { wide: true, ..Style::default() };
    assert!(identities(&lines, Format::Wide, wide).expect("a text").contains("web web.shop web.shop.svc"));
}

#[test]
fn fetched_svids_are_a_table() {
    let line = |id: &str, hint: &str| SvidLine {
        id: id.to_owned(),
        hint: hint.to_owned(),
        serial: "0a1b".to_owned(),
        not_before: at(0),
        not_after: at(3600),
        certificates: 2,
        authorities: 1,
    };
    let lines = [line("spiffe://td/a", ""), line("spiffe://td/b", "other")];
    assert_snapshot!("svids", svids(&lines, Format::Text, Style::default()).expect("a text"));
}

#[test]
fn a_chain_and_a_token_are_explained() {
    let certificate = |authority, name: &str, fault: Option<&str>| CertificateExplained {
        authority,
        subject: "O=lictor".to_owned(),
        issuer: "O=lictor, CN=td".to_owned(),
        serial: "0a1b".to_owned(),
        names: vec![name.to_owned()],
        not_before: at(0),
        not_after: at(3600),
        key: "EC P-256".to_owned(),
        usages: if authority { vec!["keyCertSign"] } else { vec!["digitalSignature", "serverAuth", "clientAuth"] },
        fault: fault.map(ToOwned::to_owned),
    };
    let explained = ChainExplained {
        certificates: vec![
            certificate(false, "URI:spiffe://td/a", None),
            certificate(true, "URI:spiffe://td/b", Some("expected a name without a path")),
        ],
        proof: Proof::ProvesNothing("expected a chain to an authority of the trust domain, saw none".to_owned()),
    };
    assert_snapshot!("chain", chain(&explained, Format::Text, Style::default()).expect("a text"));
    let claims = [("sub", "spiffe://td/a".into()), ("exp", 1_728_000_000.into()), ("aud", vec!["shop"].into())];
    let explained = TokenExplained {
        algorithm: "ES256",
        key_id: Some("k".to_owned()),
        claims: claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        fault: None,
        proof: Proof::NotJudged,
    };
    assert_snapshot!("token", token(&explained, Format::Text, Style::default()).expect("a text"));
}
