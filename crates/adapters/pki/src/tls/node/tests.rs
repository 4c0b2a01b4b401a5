use super::super::tests::handshake;
use super::{Clock, Fingerprint, Pin, Trusted, client_config, server_config};
use crate::forge::{domain, now};
use crate::tls::{no_name, peer_identity};
use crate::{CertificateAuthority, Keyring, Svid};
use lictor_model::SpiffeId;
use rustls::{AlertDescription, CertificateError, ClientConnection, Error, ServerConnection};
use std::sync::Arc;
use time::Duration;

fn id(path: &str) -> SpiffeId {
    format!("spiffe://{}/lictor/{path}", domain()).parse().expect("an identity")
}

fn clock(ahead: Duration) -> Clock {
    Arc::new(move || now() + ahead)
}

/// A control whose SVID lives for so long, and the root that a node may know.
fn control(life: Duration) -> (CertificateAuthority, Keyring) {
    let root = CertificateAuthority::new(domain(), now() - Duration::HOUR, Duration::DAY).expect("a root");
    let keyring = Keyring::new(root.bundle(1));
    let issuing = root.subordinate(now(), Duration::hours(10)).expect("an authority");
    keyring.insert(issuing.issue(&id("control"), now(), life).expect("an SVID"));
    (root, keyring)
}

/// What a node's client ends with, and whom the server takes it for.
fn meet(
    server: &Keyring,
    trusted: &Trusted<'_>,
    wanted: &SpiffeId,
    svid: Option<&Svid>,
    ahead: Duration,
) -> (Result<(), Error>, Result<Option<SpiffeId>, Error>) {
    let config = client_config(trusted, wanted, svid, clock(ahead)).expect("a client's configuration");
    let mut client = ClientConnection::new(Arc::new(config), no_name()).expect("a client");
    let config = server_config(server, id("control"), clock(Duration::ZERO)).expect("a configuration");
    let mut server = ServerConnection::new(Arc::new(config)).expect("a server");
    let (seen_by_client, seen_by_server) = handshake(&mut client, &mut server);
    (seen_by_client, seen_by_server.map(|()| peer_identity(&server)))
}

#[test]
fn a_node_meets_control_with_and_without_an_svid_of_its_own() {
    let (root, keyring) = control(Duration::HOUR);
    let node = root.issue(&id("node/a"), now(), Duration::HOUR).expect("an SVID");
    let pin = Pin::new(domain(), Fingerprint::of(&root.certificates()[0])).expect("a pin");
    for trusted in [Trusted::Keyring(&keyring), Trusted::Pin(&pin)] {
        let meet = |svid| meet(&keyring, &trusted, &id("control"), svid, Duration::ZERO);
        assert_eq!(meet(None), (Ok(()), Ok(None)), "{trusted:?}");
        assert_eq!(meet(Some(&node)), (Ok(()), Ok(Some(id("node/a")))), "{trusted:?}");
    }
}

#[test]
fn nobody_else_is_taken_for_control() {
    let (root, keyring) = control(Duration::HOUR);
    let (other, stranger) = control(Duration::HOUR);
    let refused = |trusted: &Trusted<'_>, wanted: &str| {
        meet(&keyring, trusted, &id(wanted), None, Duration::ZERO).0.expect_err("a refusal")
    };
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!(refused(&Trusted::Keyring(&stranger), "control"), unknown);
    let pin = |root: &CertificateAuthority| Fingerprint::of(&root.certificates()[0]);
    let wrong = Pin::new(domain(), pin(&other)).expect("a pin");
    assert_eq!(refused(&Trusted::Pin(&wrong), "control"), unknown);
    let elsewhere = Pin::new("other.example".parse().expect("a trust domain"), pin(&root)).expect("a pin");
    assert_eq!(refused(&Trusted::Pin(&elsewhere), "control"), unknown, "an authority of another trust domain");
    let right = Pin::new(domain(), pin(&root)).expect("a pin");
    for trusted in [Trusted::Pin(&right), Trusted::Keyring(&keyring)] {
        let seen = refused(&trusted, "node/b");
        assert_eq!(seen, Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
    }
    // A leaf of the right authority is no authority.
    let leaf = keyring.svid(&id("control")).expect("an SVID").0.chain[0].clone();
    let leaf = Pin::new(domain(), Fingerprint::of(&leaf)).expect("a pin");
    assert_eq!(refused(&Trusted::Pin(&leaf), "control"), unknown);
}

#[test]
fn a_client_that_shows_a_certificate_has_to_prove_an_identity() {
    let (_, keyring) = control(Duration::HOUR);
    let (other, _) = control(Duration::HOUR);
    let forged = other.issue(&id("node/a"), now(), Duration::HOUR).expect("an SVID");
    let (_, server) = meet(&keyring, &Trusted::Keyring(&keyring), &id("control"), Some(&forged), Duration::ZERO);
    assert_eq!(server, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
}

/// Each clock that is off says so in words of time, or nothing is wrong with it.
#[test]
fn a_clock_that_is_five_minutes_off_is_told_of_or_does_no_harm() {
    let off = |life: Duration, ahead: i64| {
        let (_, keyring) = control(life);
        let seen = meet(&keyring, &Trusted::Keyring(&keyring), &id("control"), None, Duration::minutes(ahead)).0;
        seen.map_err(|error| error.to_string())
    };
    assert_eq!(off(Duration::HOUR, 5), Ok(()));
    let early = off(Duration::HOUR, -5).expect_err("a refusal");
    assert!(early.contains("certificate is not valid before") && early.contains("240 seconds in future"), "{early}");
    let late = off(Duration::minutes(2), 5).expect_err("a refusal");
    assert!(late.contains("certificate is not valid after") && late.contains("180 seconds ago"), "{late}");
    // The other end is told as well: the same alert for both (RFC 8446, section 6.2).
    let (_, keyring) = control(Duration::HOUR);
    let (_, server) = meet(&keyring, &Trusted::Keyring(&keyring), &id("control"), None, Duration::minutes(-5));
    assert_eq!(server, Err(Error::AlertReceived(AlertDescription::CertificateExpired)));
}

#[test]
fn a_fingerprint_reads_as_openssl_shows_it() {
    let (root, _) = control(Duration::HOUR);
    let own = Fingerprint::of(&root.certificates()[0]);
    let text = own.to_string();
    let pairs: Vec<String> =
        text.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
    for good in [text.clone(), pairs.join(":"), format!(" {text}\n")] {
        assert_eq!(good.parse(), Ok(own), "{good}");
    }
    for bad in ["", "00", &text[1..], &format!("{text}0"), &text.replace(&text[..1], "g"), &"é".repeat(64)] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
    }
}
