//! What the probes of a container have come to.

use lictor_manifest::{Container, Probe};
use std::time::{Duration, Instant};

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Until it passes, the others wait; when it fails for good, the container is started again.
    Startup,
    /// While it fails, the pod is not ready.
    Readiness,
    /// When it fails for good, the container is started again.
    Liveness,
}

/// The probes of one container and what they have come to.
///
/// Time is passed in: one probe of a kind is under way at a time, [`Health::due`] hands it out,
/// [`Health::report`] takes its outcome.
#[derive(Debug, Clone)]
pub struct Health {
    tracks: [Option<Track>; 3],
    running_since: Option<Instant>,
    started: bool,
}

#[derive(Debug, Clone)]
struct Track {
    kind: ProbeKind,
    probe: Probe,
    /// The last outcome, and how many of it came in a row.
    last: Option<(bool, u32)>,
    /// What it has come to.
    passes: bool,
    /// When it is due; nothing while one is under way, or it waits for the startup probe.
    next: Option<Instant>,
}

/// Probes are a second apart at least, as the API has it.
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);

impl Health {
    /// A container that does not run yet.
    pub fn new(container: &Container) -> Self {
        let track = |kind, probe: &Option<Probe>| {
            probe.clone().map(|probe| Track { kind, probe, last: None, passes: false, next: None })
        };
        let tracks = [
            track(ProbeKind::Startup, &container.startup),
            track(ProbeKind::Readiness, &container.readiness),
            track(ProbeKind::Liveness, &container.liveness),
        ];
        Self { tracks, running_since: None, started: false }
    }

    /// Its process begins, for the first time or again: everything is to be shown anew.
    pub fn begins(&mut self, now: Instant) {
        self.running_since = Some(now);
        self.started = self.track(ProbeKind::Startup).is_none();
        for track in self.tracks.iter_mut().flatten() {
            track.last = None;
            // Alive until shown otherwise; started and ready not before it is shown.
            track.passes = track.kind == ProbeKind::Liveness;
            let waits = !self.started && track.kind != ProbeKind::Startup;
            track.next = (!waits).then(|| now + track.probe.initial_delay);
        }
    }

    /// Its process has ended.
    pub fn ends(&mut self) {
        self.running_since = None;
        self.started = false;
        self.tracks.iter_mut().flatten().for_each(|track| track.next = None);
    }

    /// When the next probe is due; nothing while none is.
    pub fn next_due(&self) -> Option<Instant> {
        self.tracks.iter().flatten().filter_map(|track| track.next).min()
    }

    /// The probes that are due, which are under way from now on.
    pub fn due(&mut self, now: Instant) -> Vec<(ProbeKind, Probe)> {
        let due = self.tracks.iter_mut().flatten().filter(|track| track.next.is_some_and(|next| next <= now));
        due.map(|track| {
            track.next = None;
            (track.kind, track.probe.clone())
        })
        .collect()
    }

    /// Takes the outcome of a probe that was handed out at `asked`; whether the container has to be started again.
    pub fn report(&mut self, kind: ProbeKind, passed: bool, asked: Instant, now: Instant) -> bool {
        let Some(since) = self.running_since else { return false };
        let Some(track) = self.tracks.iter_mut().flatten().find(|track| track.kind == kind) else { return false };
        track.next = Some((asked + track.probe.period.max(SHORTEST_PERIOD)).max(now));
        let run = track.last.filter(|(last, _)| *last == passed).map_or(1, |(_, run)| run.saturating_add(1));
        track.last = Some((passed, run));
        let threshold = if passed { track.probe.successes } else { track.probe.failures };
        if run < threshold {
            return false;
        }
        track.passes = passed;
        match (kind, passed) {
            (ProbeKind::Startup, true) => self.has_started(since, now),
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                self.ends();
                return true;
            }
            _ => {}
        }
        false
    }

    /// Whether its process runs and the startup probe, if it has one, has passed.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Whether it is started and its readiness probe, if it has one, passes.
    pub fn is_ready(&self) -> bool {
        self.started && self.track(ProbeKind::Readiness).is_none_or(|track| track.passes)
    }

    fn has_started(&mut self, since: Instant, now: Instant) {
        self.started = true;
        for track in self.tracks.iter_mut().flatten() {
            track.next = match track.kind {
                ProbeKind::Startup => None,
                _ => Some((since + track.probe.initial_delay).max(now)),
            };
        }
    }

    fn track(&self, kind: ProbeKind) -> Option<&Track> {
        self.tracks.iter().flatten().find(|track| track.kind == kind)
    }
}
