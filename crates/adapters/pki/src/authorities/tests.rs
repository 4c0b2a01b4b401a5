use super::{Authorities, Kind, LifecycleError as E, State};
use crate::forge::{domain, now};
use crate::{Bundle, Svid, TokenError, Usage, authority_key_id, unix_time, verify, verify_token};
use lictor_model::SpiffeId;
use proptest::prelude::*;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

const LIFE: Duration = Duration::seconds(600);

fn id() -> SpiffeId {
    "spiffe://td.example/ns/shop/sa/cart".parse().expect("an identity")
}

fn authorities() -> Authorities {
    Authorities::new(domain(), None, LIFE, now()).expect("authorities")
}

/// The states of one kind, in the order of the list.
fn states(own: &Authorities, kind: Kind) -> String {
    let list = own.list();
    list.iter().filter(|one| one.kind == kind).map(|one| one.state.as_str()).collect::<Vec<_>>().join(" ")
}

/// What a step by hand comes to: the states after it, or the refusal without the names in it.
fn after(own: &mut Authorities, kind: Kind, step: &str, at: OffsetDateTime) -> String {
    let done = match step {
        "prepare" => own.prepare(kind, at),
        "activate" => own.activate(kind, None, at),
        "taint" => own.taint(kind, None),
        "revoke" => own.revoke(kind, None),
        _ => panic!("no step {step}"),
    };
    match done {
        Ok(_) => states(own, kind),
        Err(error) => format!("refused: {error}"),
    }
}

#[test]
fn the_steps_are_taken_in_one_order() {
    let steps = [
        ("activate", "refused: there is no prepared KIND authority; prepare one first"),
        ("taint", "refused: expected the name of an old KIND authority; there are none"),
        ("revoke", "refused: expected the name of a tainted KIND authority; there are none"),
        ("prepare", "active prepared"),
        ("prepare", "active prepared"),
        ("taint", "refused: expected the name of an old KIND authority; there are none"),
        ("activate", "active old"),
        ("revoke", "refused: expected the name of a tainted KIND authority; there are none"),
        ("prepare", "active prepared old"),
        ("taint", "active prepared tainted"),
        ("taint", "refused: expected the name of an old KIND authority; there are none"),
        ("activate", "active tainted old"),
        ("revoke", "active old"),
        ("taint", "active tainted"),
        ("revoke", "active"),
    ];
    for kind in Kind::ALL {
        let mut own = authorities();
        for (at, (step, expected)) in steps.into_iter().enumerate() {
            let seen = after(&mut own, kind, step, now());
            assert_eq!(seen, expected.replace("KIND", &kind.to_string()), "step {at}, {step} of {kind}");
        }
        let other = if kind == Kind::X509 { Kind::Jwt } else { Kind::X509 };
        assert_eq!(states(&own, other), "active", "the other kind is left alone");
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let mut own = authorities();
    let active = own.signer().1.to_string();
    let prepared = own.prepare(Kind::X509, now()).expect("another one").to_string();
    let refusal = |done: Result<Arc<str>, E>| done.expect_err("a refusal").to_string();
    assert_eq!(
        refusal(own.taint(Kind::X509, Some(&active))),
        format!("expected an old authority, {active} is active; prepare and activate another one first")
    );
    assert_eq!(
        refusal(own.taint(Kind::X509, Some(&prepared))),
        format!(
            "expected an old authority, {prepared} is prepared; it has signed nothing: prepare again, and the new one takes its place"
        )
    );
    assert_eq!(
        refusal(own.activate(Kind::X509, Some(&active), now())),
        format!("expected a prepared authority, {active} is active; prepare one and activate that")
    );
    own.activate(Kind::X509, Some(&prepared), now()).expect("its turn");
    assert_eq!(
        refusal(own.revoke(Kind::X509, Some(&active))),
        format!("expected a tainted authority, {active} is old; taint it first, so that what it signed is replaced")
    );
    assert_eq!(
        refusal(own.revoke(Kind::X509, Some("abc"))),
        format!("there is no x509 authority abc; there are {prepared} (active), {active} (old)")
    );
    own.prepare(Kind::X509, now()).expect("a third one");
    own.activate(Kind::X509, None, now()).expect("its turn");
    let two = refusal(own.taint(Kind::X509, None));
    assert_eq!(two, format!("expected the name of an old x509 authority; there are {active} (old), {prepared} (old)"));
}

#[test]
fn the_bundle_has_everyone_who_is_believed_and_its_number_grows_with_each_change() {
    let mut own = authorities();
    let mut seen = Vec::new();
    let mut look = |own: &Authorities| {
        let bundle = own.bundle().expect("a bundle");
        seen.push((bundle.sequence(), bundle.authorities().len(), bundle.jwt_keys().len()));
    };
    look(&own);
    for (kind, step) in [
        (Kind::X509, "prepare"),
        (Kind::Jwt, "prepare"),
        (Kind::X509, "activate"),
        (Kind::X509, "taint"),
        (Kind::X509, "revoke"),
        (Kind::X509, "revoke"),
        (Kind::Jwt, "prepare"),
    ] {
        after(&mut own, kind, step, now());
        look(&own);
    }
    // Who signs, and who is tainted, is not part of it; a prepared one that is replaced changes it.
    assert_eq!(seen, [(1, 1, 1), (2, 2, 1), (3, 2, 2), (3, 2, 2), (3, 2, 2), (4, 1, 2), (4, 1, 2), (5, 1, 2)]);
}

/// What the schedule makes of one kind second by second, where it changes.
fn course(own: &mut Authorities, kind: Kind, seconds: std::ops::Range<i64>, issue: bool) -> Vec<(i64, String)> {
    let mut course = Vec::new();
    for second in seconds {
        let at = now() + Duration::seconds(second);
        own.step(at).expect("a step");
        let seen = states(own, kind);
        if course.last().is_none_or(|(_, last)| *last != seen) {
            course.push((second, seen));
        }
        if issue {
            own.signer().0.issue(&id(), at, Duration::seconds(100)).expect("an SVID");
            own.tokens().issue(&id(), &["x".to_owned()], at, Duration::seconds(100)).expect("a token");
        }
    }
    course
}

#[test]
fn the_schedule_prepares_at_half_and_activates_at_the_last_sixth() {
    for (kind, later) in [
        (Kind::X509, &[(600, "active prepared")][..]),
        (Kind::Jwt, &[(600, "active prepared old"), (659, "active prepared")]),
    ] {
        let mut own = authorities();
        assert_eq!(own.next_event(), now() + Duration::seconds(300));
        let seen = course(&mut own, kind, 0..800, true);
        // The last thing was signed in second 499 and lives for 100 more: a certificate is valid through its last second, a
        // token is taken for another minute. The second one was made in second 300, so half of its life is over at 600.
        let first = [(0, "active"), (300, "active prepared"), (500, "active old")];
        let expected = first.iter().chain(later).map(|&(at, text)| (at, text.to_owned()));
        assert_eq!(seen, expected.collect::<Vec<_>>(), "{kind}");
    }
}

#[test]
fn one_that_signed_nothing_is_believed_for_a_minute_more() {
    let mut own = authorities();
    let expected = [(0, "active"), (300, "active prepared"), (500, "active old"), (560, "active")];
    assert_eq!(course(&mut own, Kind::X509, 0..600, false), expected.map(|(at, text)| (at, text.to_owned())));
}

#[test]
fn after_a_long_sleep_one_step_is_enough() {
    slept(authorities());
    let mut prepared = authorities();
    prepared.step(now() + LIFE / 2).expect("a step");
    assert_eq!(states(&prepared, Kind::X509), "active prepared");
    slept(prepared);
}

fn slept(mut own: Authorities) {
    let late = now() + LIFE * 3;
    assert!(own.signer().0.issue(&id(), late, Duration::MINUTE).is_err(), "it has expired");
    let number = own.bundle().expect("a bundle").sequence();
    own.step(late).expect("a step");
    assert_eq!((states(&own, Kind::X509), states(&own, Kind::Jwt)), ("active old".into(), "active old".into()));
    own.signer().0.issue(&id(), late, Duration::MINUTE).expect("an SVID");
    own.tokens().issue(&id(), &["x".to_owned()], late, Duration::MINUTE).expect("a token");
    assert!(own.bundle().expect("a bundle").sequence() > number);
}

/// One thing that happens to the authorities.
#[derive(Debug, Clone, Copy)]
enum Act {
    Wait(i64),
    Step(Kind, &'static str),
    Issue(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let kind = prop_oneof![Just(Kind::X509), Just(Kind::Jwt)];
    let step = prop_oneof![Just("prepare"), Just("activate"), Just("taint"), Just("revoke")];
    prop_oneof![
        (0..250_i64).prop_map(Act::Wait),
        (kind, step).prop_map(|(kind, step)| Act::Step(kind, step)),
        (1..150_i64).prop_map(Act::Issue),
    ]
}

/// What was signed, by whom, and the bundle that was out before.
struct Signed {
    svid: Svid,
    token: String,
    by: [Arc<str>; 2],
    token_ends: i64,
    before: Bundle,
}

fn sign(own: &Authorities, at: OffsetDateTime, life: i64) -> Signed {
    let life = Duration::seconds(life);
    let before = own.bundle().expect("a bundle");
    let svid = own.signer().0.issue(&id(), at, life).expect("an SVID");
    let token = own.tokens().issue(&id(), &["x".to_owned()], at, life).expect("a token");
    let not_after = own.tokens().not_after().expect("an end");
    let token_ends = (at + life).min(not_after).unix_timestamp();
    let by = [Arc::clone(own.signer().1), own.tokens().public().id.as_str().into()];
    Signed { svid, token, by, token_ends, before }
}

fn holds(signed: &Signed, bundle: &Bundle, revoked: &[Arc<str>], at: OffsetDateTime) {
    if at <= signed.svid.not_after && !revoked.contains(&signed.by[0]) {
        let seen = verify(&signed.svid.chain, bundle, unix_time(at), Usage::Client);
        assert_eq!(seen, Ok(id()), "at {at}, bundle {}", bundle.sequence());
    }
    if at.unix_timestamp() < signed.token_ends && !revoked.contains(&signed.by[1]) {
        let seen = verify_token(&signed.token, bundle, "x", unix_time(at));
        assert!(seen.is_ok(), "at {at}: {seen:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// At any moment, everything that was signed, is not over and is not revoked proves its name to whoever has the bundle
    /// of now, and to whoever still has the one that was out before it was signed.
    #[test]
    fn what_was_signed_and_not_revoked_is_believed(acts in prop::collection::vec(act(), 1..40)) {
        let mut own = authorities();
        let (mut at, mut revoked, mut signed) = (now(), Vec::new(), Vec::new());
        let mut number = 0;
        for act in acts {
            match act {
                Act::Wait(seconds) => at += Duration::seconds(seconds),
                Act::Step(kind, "revoke") => revoked.extend(own.revoke(kind, None).ok()),
                Act::Step(kind, step) => drop(after(&mut own, kind, step, at)),
                Act::Issue(life) => {
                    own.step(at).expect("a step");
                    signed.push(sign(&own, at, life));
                }
            }
            own.step(at).expect("a step");
            let bundle = own.bundle().expect("a bundle");
            prop_assert!(bundle.sequence() >= number);
            number = bundle.sequence();
            for one in &signed {
                holds(one, &bundle, &revoked, at);
                holds(one, &one.before, &[], at);
            }
        }
    }
}

#[test]
fn what_a_revoked_authority_signed_proves_nothing() {
    let mut own = authorities();
    let signed = sign(&own, now(), 60);
    for kind in Kind::ALL {
        for step in ["prepare", "activate", "taint"] {
            after(&mut own, kind, step, now());
        }
    }
    holds(&signed, &own.bundle().expect("a bundle"), &[], now());
    assert_eq!(own.x509_state(&signed.by[0]), Some(State::Tainted));
    assert_eq!(authority_key_id(&signed.svid.chain[0]).as_deref(), Some(&*signed.by[0]), "the leaf names it");
    for kind in Kind::ALL {
        own.revoke(kind, None).expect("its end");
    }
    let bundle = own.bundle().expect("a bundle");
    assert!(verify(&signed.svid.chain, &bundle, unix_time(now()), Usage::Client).is_err());
    assert_eq!(verify_token(&signed.token, &bundle, "x", unix_time(now())), Err(TokenError::UnknownKey));
}

#[test]
fn what_is_saved_is_what_comes_back() {
    let mut own = authorities();
    let signed = sign(&own, now(), 60);
    for kind in Kind::ALL {
        for step in ["prepare", "activate", "taint", "prepare"] {
            after(&mut own, kind, step, now());
        }
    }
    let document = own.to_document().expect("a document");
    let read =
        |domain: &str| Authorities::from_document(&document, &domain.parse().expect("a trust domain"), None, LIFE);
    let mut back = read("td.example").expect("the same authorities");
    assert_eq!(back.bundle().expect("a bundle"), own.bundle().expect("a bundle"), "its number as well");
    let told = |own: &Authorities| {
        own.list().into_iter().map(|one| (one.kind, one.id, one.state, one.since, one.not_after)).collect::<Vec<_>>()
    };
    assert_eq!(told(&back), told(&own));
    holds(&sign(&back, now(), 60), &own.bundle().expect("a bundle"), &[], now());
    holds(&signed, &back.bundle().expect("a bundle"), &[], now());

    // The certificates of the one that had stopped are counted, the tokens are not, nor is what the active ones signed.
    let last: Vec<_> =
        back.list().into_iter().map(|one| one.last_expiry.map(|last| (last - now()).whole_seconds())).collect();
    assert_eq!(last, [Some(600), None, Some(60), Some(600), None, Some(600)]);
    back.step(now() + Duration::seconds(62)).expect("a step");
    assert_eq!(
        (states(&back, Kind::X509), states(&back, Kind::Jwt)),
        ("active prepared".into(), "active prepared tainted".into())
    );

    let refused = read("other.example").map(|_| ()).expect_err("a refusal").to_string();
    assert_eq!(refused, "expected the authorities of other.example, saw those of td.example");
}

#[test]
fn a_document_that_is_not_whole_is_refused() {
    let own = authorities();
    let text = String::from_utf8(own.to_document().expect("a document").to_vec()).expect("a text");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let other: serde_json::Value =
        serde_json::from_slice(&authorities().to_document().expect("a document")).expect("JSON");
    type Change = fn(&mut serde_json::Value, &serde_json::Value);
    let cases: [(Change, &str); 7] = [
        (|it, _| it["format"] = "x".into(), "expected the authorities of a trust domain (lictor-authorities/1): saw x"),
        (
            |it, other| it["x509"][0]["key"] = other["x509"][0]["key"].clone(),
            "x509 authority 0: expected the key of the first certificate, saw another one",
        ),
        (|it, _| it["x509"][0]["state"] = "prepared".into(), "x509 authority 0: expected one that is active, saw none"),
        (|it, _| it["jwt"][0]["state"] = "asleep".into(), "jwt authority 0: expected a state, saw asleep"),
        (|it, _| it["jwt"][0]["algorithm"] = "RS256".into(), "jwt authority 0: expected a private key for RS256"),
        (
            |it, _| it["jwt"][0]["state"] = "old".into(),
            "jwt authority 0: expected the time at which it stopped of one that has, and of no other",
        ),
        (
            |it, _| {
                let again = it["jwt"][0].clone();
                it["jwt"].as_array_mut().expect("a list").push(again);
            },
            "jwt authority 1: expected one active authority, saw another one",
        ),
    ];
    for (change, expected) in cases {
        let mut changed = value.clone();
        change(&mut changed, &other);
        let read = Authorities::from_document(changed.to_string().as_bytes(), &domain(), None, LIFE);
        assert_eq!(read.map(|_| ()).expect_err("a refusal").to_string(), expected);
    }
}
