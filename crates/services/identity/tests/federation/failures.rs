//! Answers and servers that are no good: the last bundle stays, and the status says why.

use crate::redirects::{Scripted, answer};
use crate::world::{ENDPOINT, Here, There, Web, until};
use lictor_identity::federation::{Profile, Roots};
use lictor_pki::Bundle;

/// What the relation says after its endpoint gave `text`, and whether the bundle of before stands.
async fn after(text: &str) -> (String, bool) {
    let web = Web::new();
    let there = There::new("other.example");
    let known = there.bundle().numbered(7);
    let server = Scripted::start(web.certificate(), text).await;
    let here = Here::new();
    here.federation
        .add(here.relation(&server.url("/"), Profile::Web(Roots::File(web.roots())), Some(known.clone())))
        .unwrap();
    let why = until(|| here.error("other.example")).await;
    (why, here.foreign("other.example") == Some(known))
}

#[tokio::test]
async fn what_is_no_bundle_or_an_older_one_changes_nothing() {
    let there = There::new("other.example");
    let older = there.bundle().numbered(6).to_jwks().unwrap();
    let large = format!(r#"{{"keys":[],"padding":"{}"}}"#, "x".repeat(2 << 20));
    for (text, reason) in [
        (answer("200 OK", &older), "the sequence number 7 or a larger one, saw 6"),
        (answer("200 OK", "<html>"), "the answer is no bundle"),
        (answer("200 OK", r#"{"spiffe_sequence":9}"#), "the member keys"),
        (answer("200 OK", r#"{"keys":[],"spiffe_sequence":-1}"#), "a whole number"),
        (answer("200 OK", &large), "at most 1048576 bytes"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"keys\":[]}".to_owned(), "at most 1048576 bytes"),
        (answer("404 Not Found", r#"{"keys":[]}"#), "saw 404"),
        (answer("503 Service Unavailable", ""), "saw 503"),
        (answer("204 No Content", ""), "saw 204"),
        (answer("304 Not Modified", ""), "saw 304"),
        ("no HTTP at all\r\n\r\n".to_owned(), "no answer"),
    ] {
        let (why, stands) = after(&text).await;
        assert!(why.contains(reason) && stands, "{reason}: {why}, {stands}");
    }
}

/// An empty set takes back every key (Trust Domain and Bundle, section 4.1.3), and so does one of unknown keys.
#[tokio::test]
async fn an_answer_without_usable_keys_ends_the_trust() {
    for (keys, ignored) in [("", 0), (r#"{"kty":"EC","use":"sig"}"#, 1)] {
        let web = Web::new();
        let there = There::new("other.example");
        let text = format!(r#"{{"keys":[{keys}],"spiffe_sequence":8}}"#);
        let server = Scripted::start(web.certificate(), &answer("200 OK", &text)).await;
        let here = Here::new();
        let profile = Profile::Web(Roots::File(web.roots()));
        here.federation.add(here.relation(&server.url("/"), profile, Some(there.bundle()))).unwrap();
        until(|| here.foreign("other.example")?.authorities().is_empty().then_some(())).await;
        let status = here.federation.statuses().remove(0);
        assert_eq!((status.error, status.ignored.len()), (None, ignored), "{keys}");
    }
}

/// Section 4.2: without a number, what was fetched last counts; with the same number, too, as it proved itself.
#[tokio::test]
async fn a_bundle_without_a_larger_number_counts_if_it_has_none_or_the_same() {
    for sequence in ["", r#","spiffe_sequence":7"#] {
        let web = Web::new();
        let there = There::new("other.example");
        let server =
            Scripted::start(web.certificate(), &answer("200 OK", &format!(r#"{{"keys":[]{sequence}}}"#))).await;
        let here = Here::new();
        let profile = Profile::Web(Roots::File(web.roots()));
        let known = there.bundle().numbered(7);
        here.federation.add(here.relation(&server.url("/"), profile, Some(known))).unwrap();
        until(|| here.foreign("other.example")?.authorities().is_empty().then_some(())).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_prove_itself_is_not_believed() {
    let there = There::new("other.example");
    let web = Web::new();
    let by_svid = there.serve_by_svid().await;
    let by_web = there.serve_by_web(&web).await;
    let other_web = Web::new();
    let spiffe = |id: &str| Profile::Spiffe(id.parse().unwrap());
    let of_web = |web: &Web| Profile::Web(Roots::File(web.roots()));
    let stranger = There::new("other.example");
    let localhost = by_web.replace("127.0.0.1", "localhost");
    other_web.renew(&["elsewhere.example"]);
    let elsewhere = there.serve_by_web(&other_web).await;
    for (what, at, profile, first) in [
        ("another identity", &by_svid, spiffe("spiffe://other.example/other"), Some(there.bundle())),
        ("another authority", &by_svid, spiffe(ENDPOINT), Some(stranger.bundle())),
        ("an identity of a trust domain that is not known", &by_svid, spiffe("spiffe://third.example/a"), None),
        ("nothing is known beforehand", &by_svid, spiffe(ENDPOINT), None),
        ("an SVID for the web", &by_svid, of_web(&web), None),
        ("a web certificate for SPIFFE", &by_web, spiffe(ENDPOINT), Some(there.bundle())),
        ("an authority of the web that is not known", &localhost, of_web(&other_web), None),
        ("the roots of this system", &by_web, Profile::Web(Roots::System), None),
        ("a certificate for another host", &elsewhere, of_web(&other_web), None),
        ("a file that is not there", &by_web, Profile::Web(Roots::File("/nowhere".into())), None),
    ] {
        let here = Here::new();
        here.federation.add(here.relation(at, profile, first.clone())).unwrap();
        let why = until(|| here.error("other.example")).await;
        assert_eq!(here.foreign("other.example"), first, "{what}: {why}");
        assert!(here.federation.statuses()[0].fetched.is_none(), "{what}: {why}");
        println!("{what}: {why}");
    }
    // With the host that it names, and the right roots, the same server is believed.
    let here = Here::new();
    here.federation.add(here.relation(&localhost, of_web(&web), None)).unwrap();
    until(|| here.foreign("other.example")).await;
}

#[tokio::test]
async fn an_endpoint_of_another_trust_domain_says_nothing_about_ours() {
    let there = There::new("other.example");
    let at = there.serve_by_svid().await;
    let here = Here::new();
    let own = (*here.keyring.bundle()).clone();
    here.federation.add(here.relation(&at, Profile::Spiffe(ENDPOINT.parse().unwrap()), Some(there.bundle()))).unwrap();
    until(|| here.foreign("other.example")?.refresh_hint()).await;
    assert_eq!(*here.keyring.bundle(), own);
    let foreign: Vec<String> = here.keyring.foreign().keys().map(ToString::to_string).collect();
    assert_eq!(foreign, ["other.example"]);
    let unnamed = Bundle::from_jwks("third.example".parse().unwrap(), there.bundle().to_jwks().unwrap().as_bytes());
    assert_eq!(unnamed.unwrap().bundle.trust_domain().as_str(), "third.example", "the text names nobody");
}
