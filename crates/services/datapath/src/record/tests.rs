use super::Recorder;
use crate::capture::PROBE_V4;
use crate::event::{Ended, Event, Judged, Reason, What};
use crate::names::Resolver;
use lictor_model::{By, DecisionIds, Layer, Mode, Name, PolicyKind, PolicyRef, Protocol, Record, Revision, Verdict};
use lictor_network::{Address, ClassId, Endpoint, Gate, Program};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

fn policy(name: &str) -> PolicyRef {
    PolicyRef::whole(PolicyKind::NetworkPolicy, Name::new("test", name))
}

/// A recorder that knows pods `a` (10.0.0.1) and `b` (10.0.0.2), `b` isolated by `shut`; rule 1 is `open`.
fn recorder() -> Recorder {
    let resolver = Resolver::default();
    let number = resolver.names().number(&policy("open"));
    assert_eq!(number, 1);
    let mut program = Program { revision: Revision(4), ..Program::default() };
    for (last, name) in [(1, "a"), (2, "b")] {
        let address = IpAddr::from([10, 0, 0, last]);
        let name = Name::new("test", name);
        let known = Address { class: ClassId(1), pod: Some(name.clone()), enrolled: false };
        program.addresses.insert(address, known);
        let gate = Gate { rule_set: None, isolated_by: Arc::new([policy("shut")]), mode: Mode::Enforce };
        let (ingress, egress) = (gate.clone(), gate);
        let addresses = vec![address];
        program.endpoints.insert(name, Endpoint { addresses, own_node: Vec::new(), enrolled: false, ingress, egress });
    }
    resolver.put(Arc::new(program), &HashSet::from([number]));
    Recorder::new(Arc::new(resolver), Arc::new(DecisionIds::default()), OffsetDateTime::UNIX_EPOCH)
}

fn judged(verdict: Verdict, mode: Mode, reason: Reason) -> Judged {
    Judged { verdict, mode, reason }
}

const ALLOWED: Judged = Judged { verdict: Verdict::Allow, mode: Mode::Enforce, reason: Reason::NoPolicy };

fn event(what: What) -> Event {
    Event {
        at: Duration::from_secs(3),
        flow: 9,
        revision: 4,
        protocol: Protocol::Tcp,
        source: ([10, 0, 0, 1], 40_000).into(),
        destination: ([10, 0, 0, 2], 80).into(),
        source_enrolled: false,
        destination_enrolled: false,
        what,
    }
}

fn opened(egress: Option<Judged>, ingress: Option<Judged>) -> Event {
    event(What::Judged { egress, ingress })
}

#[test]
fn the_layer_that_denied_decides_then_the_one_that_would_have_then_the_last() {
    let rule = Reason::Rule(1);
    let denied = |mode| Some(judged(Verdict::Deny, mode, Reason::Isolated));
    let allowed = Some(judged(Verdict::Allow, Mode::Enforce, rule));
    let (shut, open) = (By::Isolation(vec![policy("shut")]), By::Policy(policy("open")));
    let (yes, no) = (Verdict::Allow, Verdict::Deny);
    let cases = [
        (Some(ALLOWED), allowed, Layer::Ingress, yes, yes, open.clone()),
        (allowed, Some(ALLOWED), Layer::Ingress, yes, yes, By::NoPolicy),
        (allowed, None, Layer::Egress, yes, yes, open.clone()),
        (denied(Mode::Enforce), None, Layer::Egress, no, no, shut.clone()),
        (allowed, denied(Mode::Enforce), Layer::Ingress, no, no, shut.clone()),
        (denied(Mode::Audit), allowed, Layer::Egress, yes, no, shut.clone()),
        (denied(Mode::Audit), denied(Mode::Enforce), Layer::Ingress, no, no, shut.clone()),
        (denied(Mode::Observe), allowed, Layer::Ingress, yes, yes, open),
    ];
    for (egress, ingress, layer, verdict, would, by) in cases {
        let Some(Record::Decision(decision)) = recorder().record(&opened(egress, ingress)) else {
            panic!("{egress:?} {ingress:?}")
        };
        let found = (decision.layer, decision.verdict, decision.would, decision.by);
        assert_eq!(found, (layer, verdict, would, by), "{egress:?} {ingress:?}");
        assert_eq!(decision.source.pod, Some(Name::new("test", "a")));
        assert_eq!(decision.destination.pod, Some(Name::new("test", "b")));
        assert_eq!((decision.revision, decision.time.unix_timestamp()), (Revision(4), 3));
    }
}

#[test]
fn an_end_is_recorded_once_under_the_id_of_its_beginning() {
    let mut recorder = recorder();
    let Some(Record::Decision(decision)) = recorder.record(&opened(Some(ALLOWED), Some(ALLOWED))) else { panic!() };
    let by_policy = Ended::Ingress(judged(Verdict::Deny, Mode::Enforce, Reason::Isolated));
    let closed = event(What::Closed { sent: 10, received: 20, ended: Some(by_policy) });
    let Some(Record::Close(close)) = recorder.record(&closed) else { panic!() };
    assert_eq!((close.id, close.bytes_sent, close.bytes_received), (decision.id, 10, 20));
    assert_eq!(close.ended_by, Some(By::Isolation(vec![policy("shut")])));
    assert_eq!(recorder.record(&closed), None);
}

#[test]
fn what_a_proxy_carries_is_left_to_it_but_for_what_never_reached_it() {
    let enrolled = |mut event: Event| {
        event.destination_enrolled = true;
        event
    };
    let allowed = enrolled(opened(Some(ALLOWED), Some(ALLOWED)));
    assert_eq!(recorder().record(&allowed), None);
    let refused = enrolled(opened(Some(ALLOWED), Some(judged(Verdict::Deny, Mode::Enforce, Reason::Isolated))));
    assert!(recorder().record(&refused).is_some());
    let datagram = Event { protocol: Protocol::Udp, ..allowed.clone() };
    assert!(recorder().record(&datagram).is_some());
    let probe = Event { source: (PROBE_V4, 40_000).into(), ..allowed };
    assert!(recorder().record(&probe).is_some());
    let tunnel = judged(Verdict::Allow, Mode::Enforce, Reason::Tunnel);
    assert_eq!(recorder().record(&opened(Some(tunnel), Some(tunnel))), None);
}

#[test]
fn many_connections_are_remembered_and_not_without_end() {
    let mut recorder = recorder();
    for flow in 1..=u64::try_from(super::OPEN).expect("a number") + 1000 {
        recorder.record(&Event { flow, ..opened(None, Some(ALLOWED)) });
    }
    assert_eq!(recorder.open.len(), super::OPEN);
    assert!(!recorder.open.contains_key(&1) && recorder.open.contains_key(&2000));
}
