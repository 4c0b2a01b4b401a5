//! Peers of other trust domains.

use super::{A, B, World, alert_for, connect, id, now};
use crate::forge::{self, Forge};
use crate::tls::{Peers, client_config, server_config};
use crate::{Bundle, CertificateAuthority, Keyring, Svid};
use rustls::{AlertDescription, CertificateError, Error};
use time::Duration;

const OTHER: &str = "spiffe://other.example/ns/shop/sa/a";

fn other_root() -> CertificateAuthority {
    CertificateAuthority::new("other.example".parse().expect("a trust domain"), now(), Duration::DAY).expect("a root")
}

/// Whether the two connect, either of them as the client; what the accepting end says if not.
fn both_ways(one: (&Keyring, &Svid), two: (&Keyring, &Svid)) -> [Result<(), Error>; 2] {
    [(one, two), (two, one)].map(|(client, server)| {
        let peers = Peers::one(server.1.id.clone());
        let opening = client_config(client.0, client.1, &peers).expect("a configuration");
        let (seen_by_client, seen_by_server) =
            connect(opening, server_config(server.0, server.1).expect("a configuration"));
        seen_by_client.and(seen_by_server)
    })
}

#[test]
fn peers_of_two_trust_domains_prove_themselves_by_their_own_bundles_until_one_goes() {
    let (world, root) = (World::new(), other_root());
    let theirs = Keyring::new(root.bundle(1));
    let (ours, other) = (world.svid(A), root.issue(&id(OTHER), now(), Duration::HOUR).expect("an SVID"));
    let unknown = Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
    let alert = Err(Error::AlertReceived(AlertDescription::UnknownCA));
    let speak = || both_ways((&world.keyring, &ours), (&theirs, &other));
    assert_eq!(speak(), [unknown.clone(), unknown.clone()], "nobody has heard of the other");
    // A relationship has one direction: our client believes their server now, which refuses our client.
    world.keyring.set_foreign(root.bundle(1)).expect("a foreign bundle");
    assert_eq!(speak(), [alert, unknown.clone()]);
    theirs.set_foreign(world.root.bundle(1)).expect("a foreign bundle");
    assert_eq!(speak(), [Ok(()), Ok(())]);
    assert!(world.keyring.remove_foreign(root.trust_domain()));
    assert_eq!(speak()[0], unknown);
}

/// SPIFFE Federation, section 7.3: the bundle of one trust domain proves no name of another.
#[test]
fn an_authority_proves_no_name_of_another_trust_domain() {
    let (forged, root) = (Forge::new(now()), other_root());
    let world = World::new();
    let leaf = |uri: &str| forged.svid(&forge::leaf(now(), &[uri]), uri);
    let bundle = |domain: &str, certificates| {
        Bundle::new(domain.parse().expect("a trust domain"), certificates, 2).expect("a bundle")
    };
    let refused = |svid: &Svid| alert_for(&world, svid).0 == Error::AlertReceived(AlertDescription::UnknownCA);

    // The authority is ours, the name is theirs.
    let own = vec![forged.certificate.clone(), world.root.certificates()[0].clone()];
    world.keyring.set_bundle(bundle("td.example", own));
    world.keyring.set_foreign(root.bundle(1)).expect("a foreign bundle");
    assert!(refused(&leaf(OTHER)));

    // The authority is theirs, the name is ours; then that of a third one, believed or not.
    world.keyring.set_bundle(world.root.bundle(3));
    world.keyring.set_foreign(bundle("other.example", vec![forged.certificate.clone()])).expect("a foreign bundle");
    let third = "spiffe://third.example/ns/shop/sa/a";
    assert!(refused(&leaf(A)) && refused(&leaf(third)));
    world.keyring.set_foreign(bundle("third.example", vec![root.certificates()[0].clone()])).expect("a bundle");
    assert!(refused(&leaf(third)));

    // What it may prove, it proves: the cases fail for what they are called after.
    let client = client_config(&world.keyring, &leaf(OTHER), &Peers::Any).expect("a configuration");
    let server = server_config(&world.keyring, &world.svid(B)).expect("a configuration");
    assert_eq!(connect(client, server), (Ok(()), Ok(())));
}

#[test]
fn a_foreign_bundle_without_authorities_proves_nothing() {
    let (world, root) = (World::new(), other_root());
    let other = root.issue(&id(OTHER), now(), Duration::HOUR).expect("an SVID");
    let nobody = Bundle::new(root.trust_domain().clone(), Vec::new(), 2).expect("a bundle");
    world.keyring.set_foreign(nobody).expect("a foreign bundle");
    assert_eq!(alert_for(&world, &other).0, Error::AlertReceived(AlertDescription::UnknownCA));
}
