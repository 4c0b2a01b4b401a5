//! Connections that ended without a word.

use crate::datapath::Datapath;
use crate::error::Error;
use crate::event::{Event, What};
use crate::wire::{EGRESS, FLOW_ASSURED, FLOW_CLOSED, FLOW_ENDED, FLOW_QUIET, Flow, FlowKey};
use lictor_model::Protocol;
use nix::time::{ClockId, clock_gettime};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

// The numbers of `bpf/track.h`.
const OPENING: Duration = Duration::from_secs(60);
const ASSURED: Duration = Duration::from_secs(432_000);
const CLOSED: Duration = Duration::from_secs(10);
const OTHER: Duration = Duration::from_secs(60);

impl Datapath {
    /// Forgets connections on which nothing has been seen for as long as their state allows (a UDP exchange:
    /// a minute), and those of pods that have left. [`Events`](crate::Events) tells that they are closed.
    /// Returns how many those are.
    ///
    /// To be called every few seconds; takes a few microseconds a connection.
    pub fn sweep(&mut self) -> Result<usize, Error> {
        let now = now();
        let mut closed = 0;
        let keys: Vec<FlowKey> = self.tables.flows.keys().collect();
        for key in keys {
            let Some(flow) = self.tables.flows.find(&key)? else { continue };
            let left = self.slots.left().contains_key(&key.endpoint);
            if !left && is_remembered(&flow, key.protocol, now) {
                continue;
            }
            self.tables.flows.remove(&key)?;
            if flow.state & (FLOW_CLOSED | FLOW_ENDED | FLOW_QUIET) == 0 {
                closed += 1;
                if let Some(event) = self.closed(&key, &flow, now)
                    && self.swept.try_send(event).is_err()
                {
                    tracing::warn!("nobody reads that connections are closed");
                }
            }
        }
        self.slots.reuse_left();
        Ok(closed)
    }

    fn closed(&self, key: &FlowKey, flow: &Flow, at: Duration) -> Option<Event> {
        let record = self.slots.record(key.endpoint)?;
        let own: IpAddr = (*record.addresses.get(usize::from(key.index))?).into();
        let peer: IpAddr = key.peer.into();
        let protocol = Protocol::from_number(key.protocol);
        let port = |port| if matches!(protocol, Protocol::Other(_)) { 0 } else { port };
        let own = SocketAddr::new(own, port(key.own_port));
        let peer = SocketAddr::new(peer, port(key.peer_port));
        let (source, destination) = if flow.direction == EGRESS { (own, peer) } else { (peer, own) };
        Some(Event {
            at,
            flow: flow.id,
            revision: self.program.as_ref().map_or(0, |program| program.revision.0),
            protocol,
            source,
            destination,
            source_enrolled: self.columns.is_enrolled(source.ip()),
            destination_enrolled: self.columns.is_enrolled(destination.ip()),
            what: What::Closed { sent: flow.sent, received: flow.received, ended: None },
        })
    }

    /// What was counted since the programs were loaded.
    pub fn counters(&self) -> Result<Counters, Error> {
        let count = |index: u32| {
            let per_processor = self.tables.counts.get(&index, 0).map_err(Error::map("COUNTS"))?;
            Ok::<u64, Error>(per_processor.iter().sum())
        };
        Ok(Counters {
            packets: count(16)?,
            events_lost: count(15)?,
            refused: count(1)? + count(2)?,
            plaintext: count(7)?,
            spoofed: count(8)?,
            malformed: count(9)?,
            untracked: count(10)?,
            full: count(11)?,
            unknown: count(12)?,
            fragments: count(13)?,
            foreign: count(14)?,
        })
    }
}

/// Packets, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// All that passed a pod's link, once at each.
    pub packets: u64,
    /// Events that found the ring full.
    pub events_lost: u64,
    /// Dropped by the policies.
    pub refused: u64,
    /// Dropped: a connection between enrolled pods outside the tunnel.
    pub plaintext: u64,
    /// Dropped: a source address that is not the pod's.
    pub spoofed: u64,
    /// Dropped: headers that contradict themselves or end too early.
    pub malformed: u64,
    /// Dropped: of no connection, and opens none.
    pub untracked: u64,
    /// Dropped: no room to track a connection.
    pub full: u64,
    /// Dropped: the program in force does not know the endpoint.
    pub unknown: u64,
    /// Dropped: a later fragment whose first one did not pass.
    pub fragments: u64,
    /// Dropped: neither IP nor ARP.
    pub foreign: u64,
}

/// Whether a connection goes on: nobody has ended it, and something was seen on it lately enough.
pub(crate) fn is_open(flow: &Flow, protocol: u8, now: Duration) -> bool {
    flow.state & (FLOW_CLOSED | FLOW_ENDED) == 0 && is_remembered(flow, protocol, now)
}

/// Whether something was seen on a connection as lately as its state asks for.
fn is_remembered(flow: &Flow, protocol: u8, now: Duration) -> bool {
    now.saturating_sub(Duration::from_nanos(flow.seen)) <= patience(flow, protocol)
}

fn patience(flow: &Flow, protocol: u8) -> Duration {
    if flow.state & FLOW_ENDED != 0 || protocol != Protocol::Tcp.number() {
        OTHER
    } else if flow.state & FLOW_CLOSED != 0 {
        CLOSED
    } else if flow.state & FLOW_ASSURED != 0 {
        ASSURED
    } else {
        OPENING
    }
}

/// The clock of the kernel's programs: since the machine was started.
pub(crate) fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{ASSURED, CLOSED, OPENING, OTHER, is_open, patience};
    use crate::wire::{FLOW_ASSURED, FLOW_CLOSED, FLOW_ENDED, Flow, Judgement};
    use std::time::Duration;

    fn flow(state: u32) -> Flow {
        Flow {
            id: 1,
            opened: 0,
            seen: 0,
            sent: 0,
            received: 0,
            judgement: Judgement::default(),
            generation: 0,
            direction: 0,
            state,
            pad: [0; 7],
        }
    }

    #[test]
    fn a_connection_is_waited_for_by_its_state() {
        assert_eq!(patience(&flow(0), 6), OPENING);
        assert_eq!(patience(&flow(FLOW_ASSURED), 6), ASSURED);
        assert_eq!(patience(&flow(FLOW_ASSURED | FLOW_CLOSED), 6), CLOSED);
        assert_eq!(patience(&flow(FLOW_ASSURED), 17), OTHER);
    }

    #[test]
    fn a_connection_is_open_until_it_is_closed_or_nothing_has_been_seen_for_long() {
        let an_hour = Duration::from_secs(3600);
        for (state, protocol, now, open) in [
            (0, 6, OPENING, true),
            (0, 6, an_hour, false),
            (FLOW_ASSURED, 6, an_hour, true),
            (FLOW_ASSURED | FLOW_CLOSED, 6, Duration::ZERO, false),
            (FLOW_ENDED, 17, Duration::ZERO, false),
            (FLOW_ASSURED, 17, OTHER, true),
            (FLOW_ASSURED, 17, an_hour, false),
        ] {
            assert_eq!(is_open(&flow(state), protocol, now), open, "{state} {protocol} {now:?}");
        }
    }
}
