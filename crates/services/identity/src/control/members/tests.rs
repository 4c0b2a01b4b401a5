use super::{Denied, Members, MembersError, NodeName};
use crate::ca::StoreOptions;
use lictor_pki::{CertificateAuthority, Certified, IssueError, OneTimeSecret, Secret, SigningRequest, serial_number};
use rustls_pki_types::CertificateSigningRequestDer;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::{Duration, OffsetDateTime};

const TEN: Duration = Duration::minutes(10);

/// Members whose clock is turned by hand.
struct World {
    seconds: Arc<AtomicI64>,
    authority: CertificateAuthority,
    members: Members,
}

fn start() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

fn node(name: &str) -> NodeName {
    name.parse().expect("a name")
}

fn store(path: &Path) -> StoreOptions {
    StoreOptions { path: path.to_owned(), secret: Secret::from_key_file(&[7; 32]).expect("a key") }
}

impl World {
    fn new(path: Option<&Path>) -> Self {
        let seconds = Arc::new(AtomicI64::new(0));
        let clock = {
            let seconds = Arc::clone(&seconds);
            Arc::new(move || start() + Duration::seconds(seconds.load(Ordering::Relaxed)))
        };
        let authority = CertificateAuthority::new("td".parse().expect("a trust domain"), start(), Duration::days(30));
        let members = Members::open(path.map(store).as_ref(), clock).expect("a store");
        Self { seconds, authority: authority.expect("an authority"), members }
    }

    fn wait(&self, time: Duration) {
        self.seconds.fetch_add(time.whole_seconds(), Ordering::Relaxed);
    }

    fn token(&self, name: Option<&str>) -> OneTimeSecret {
        self.members.generate(name.map(node), TEN).expect("a token").0
    }

    fn signed(&self, name: &str) -> Result<Certified, IssueError> {
        let request = SigningRequest::new()?;
        let request = CertificateSigningRequestDer::from(request.der().to_vec());
        let id = node(name).identity(&"td".parse().expect("a trust domain")).expect("an identity");
        self.authority.sign(&request, &id.into(), self.members.now(), Duration::HOUR)
    }

    /// Joins; returns the serial number of the certificate.
    fn join(&self, name: &str, token: &str) -> Result<String, Denied> {
        self.members.join(&node(name), token, || self.signed(name)).map(|made| serial(&made))
    }

    fn renew(&self, name: &str, shown: &str) -> Result<String, Denied> {
        self.members.renew(&node(name), shown, || self.signed(name)).map(|made| serial(&made))
    }
}

fn serial(certified: &Certified) -> String {
    serial_number(&certified.chain[0]).expect("a serial number")
}

#[test]
fn a_token_lets_one_node_in_once() {
    let world = World::new(None);
    let token = world.token(Some("a"));
    assert!(matches!(world.join("b", token.text()), Err(Denied::AnotherNode { .. })));
    assert_eq!(world.members.tokens().len(), 1, "a token that was refused waits on");
    let serial = world.join("a", token.text()).expect("let in");
    assert!(world.members.check(&node("a"), &serial).is_ok());
    assert!(matches!(world.join("a", token.text()), Err(Denied::UnknownToken)));
    assert!(matches!(world.join("a", ""), Err(Denied::UnknownToken)));
    assert_eq!(world.members.tokens(), []);
    assert_eq!(world.members.nodes()[0].name, node("a"));
}

#[test]
fn of_many_that_show_a_token_at_once_one_gets_in() {
    let world = World::new(None);
    for round in 0..20 {
        let token = world.token(None);
        let outcomes: Vec<bool> = std::thread::scope(|scope| {
            let world = &world;
            let text = token.text();
            let joining = (0..8).map(|at| scope.spawn(move || world.join(&format!("n{round}-{at}"), text).is_ok()));
            joining.collect::<Vec<_>>().into_iter().map(|thread| thread.join().expect("an outcome")).collect()
        });
        assert_eq!(outcomes.iter().filter(|joined| **joined).count(), 1);
        assert_eq!(world.members.nodes().len(), round + 1);
    }
}

#[test]
fn a_token_ends_and_can_be_taken_back() {
    let world = World::new(None);
    let (late, revoked) = (world.token(None), world.token(None));
    let id = lictor_pki::SecretDigest::of(revoked.text()).id();
    assert!(world.members.revoke(&id).expect("kept") && !world.members.revoke(&id).expect("kept"));
    assert!(matches!(world.join("a", revoked.text()), Err(Denied::UnknownToken)));
    world.wait(TEN);
    assert_eq!(world.members.tokens().len(), 1, "its last second");
    world.wait(Duration::SECOND);
    let refused = world.join("a", late.text()).expect_err("a refusal").to_string();
    assert_eq!(
        refused,
        "the join token expired at 2024-10-04 0:10:00.0 +00:00:00; the time here is 2024-10-04 0:10:01.0 +00:00:00"
    );
    assert_eq!(world.members.tokens(), []);
    assert!(matches!(world.members.generate(None, Duration::ZERO), Err(MembersError::Lifetime(_))));
}

#[test]
fn a_name_that_is_taken_needs_a_token_of_its_own() {
    let world = World::new(None);
    let first = world.join("a", world.token(None).text()).expect("let in");
    let any = world.token(None);
    assert!(matches!(world.join("a", any.text()), Err(Denied::Taken { .. })));
    let second = world.join("a", world.token(Some("a")).text()).expect("let in again");
    assert!(world.members.check(&node("a"), &first).is_err(), "the one before is somebody else now");
    assert!(world.members.check(&node("a"), &second).is_ok());
    // Nobody holds the name once its last certificate has ended.
    world.wait(Duration::HOUR + Duration::SECOND);
    assert!(matches!(world.join("a", any.text()), Err(Denied::Expired { .. })));
    assert!(world.join("a", world.token(None).text()).is_ok());
}

#[test]
fn a_node_goes_on_by_its_last_two_certificates() {
    let world = World::new(None);
    let first = world.join("a", world.token(None).text()).expect("let in");
    let lost = world.renew("a", &first).expect("a certificate");
    let second = world.renew("a", &first).expect("another one, since the answer was lost");
    assert!(matches!(world.renew("a", &lost), Err(Denied::NoMember { .. })), "it never arrived");
    let third = world.renew("a", &second).expect("a certificate");
    assert!(matches!(world.renew("a", &first), Err(Denied::NoMember { .. })), "the node has moved on");
    assert!(world.members.evict(&node("a")).expect("kept") && !world.members.evict(&node("a")).expect("kept"));
    for gone in [&second, &third] {
        assert!(matches!(world.renew("a", gone), Err(Denied::NoMember { .. })));
    }
    assert!(matches!(world.renew("b", &third), Err(Denied::NoMember { .. })));
}

#[test]
fn a_request_that_is_not_signed_uses_up_nothing() {
    let world = World::new(None);
    let token = world.token(None);
    let refused = world.members.join(&node("a"), token.text(), || Err(IssueError::KeyKind));
    assert!(matches!(refused, Err(Denied::Issue(IssueError::KeyKind))));
    assert_eq!((world.members.tokens().len(), world.members.nodes().len()), (1, 0));
}

#[test]
fn a_token_that_was_used_stays_used_whatever_ends_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authorities");
    let world = World::new(Some(&path));
    let (used, waiting) = (world.token(Some("a")), world.token(Some("b")));
    let serial = world.join("a", used.text()).expect("let in");
    let before = (world.members.tokens(), world.members.nodes());
    let refused = Members::open(Some(&store(&path)), crate::issuer::system_clock()).map(|_| ()).expect_err("a refusal");
    assert!(refused.to_string().ends_with("authorities.members: another process has this store open"), "{refused}");
    drop(world);

    let world = World::new(Some(&path));
    assert_eq!((world.members.tokens(), world.members.nodes()), before);
    assert!(matches!(world.join("a", used.text()), Err(Denied::UnknownToken)));
    assert!(world.renew("a", &serial).is_ok() && world.join("b", waiting.text()).is_ok());
}

#[test]
fn what_cannot_be_kept_is_not_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let there = folder.path().join("there");
    fs::create_dir(&there).expect("a folder");
    let world = World::new(Some(&there.join("authorities")));
    let token = world.token(None);
    let text = fs::read_to_string(there.join("authorities.members")).expect("a file");
    assert!(text.contains("lictor-sealed/1") && !text.contains(token.text()));
    fs::remove_dir_all(&there).expect("no folder");
    assert!(matches!(world.join("a", token.text()), Err(Denied::Store(_))));
    assert!(matches!(world.members.generate(None, TEN), Err(MembersError::Store(_))));
    assert_eq!((world.members.tokens().len(), world.members.nodes().len()), (1, 0));
}

#[test]
fn something_else_in_the_store_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = store(&folder.path().join("authorities"));
    let (opened, _) = crate::ca::Store::open(&options.of_members()).expect("a store");
    for (wrong, why) in [
        (&br#"{"format":"x","tokens":[],"nodes":[]}"#[..], "saw x"),
        (br#"{"format":"lictor-members/1","tokens":[{"digest":"AAAA","made":0,"expires":1}],"nodes":[]}"#, "32 octets"),
        (br#"{"format":"lictor-members/1","tokens":[],"nodes":[{"name":"A","joined":0,"token":"","serials":[],"notAfter":0}]}"#, "node A"),
        (br#"{"format":"lictor-members/1","tokens":[],"nodes":[],"more":1}"#, "unknown field"),
    ] {
        let error = super::saved::read(wrong).expect_err("a refusal");
        assert!(error.contains(why), "{error}");
    }
    opened.save(b"{}").expect("kept");
    drop(opened);
    let refused = Members::open(Some(&options), crate::issuer::system_clock()).map(|_| ()).expect_err("a refusal");
    assert!(refused.to_string().contains("expected join tokens and nodes (lictor-members/1)"), "{refused}");
}
