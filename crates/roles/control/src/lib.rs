//! Control as a process: manifests on disk, nodes on a socket, and an operator on another.
//!
//! **Purpose.** [`run`] reads folders and follows them, serves nodes by `lictor_identity::control`, and answers the operator's
//! commands as a lab does, by the same routes.
//!
//! **Invariants.**
//! - Manifests with errors change nothing: nodes are judged by what could be read last.
//! - Nothing is issued before the manifests have been read.
//!
//! **Not here.** Who is let in, and what a node is entitled to: `lictor_identity::control`.

mod api;

use anyhow::{Context, Result};
use lictor_cluster::{AddressPool, Settings, Snapshot};
use lictor_identity::control::{ControlOptions, Members, serve};
use lictor_identity::{Ca, system_clock};
use lictor_lab::process::{STATE, StateDir};
use lictor_lab::{Authorities, Refused};
use lictor_manifest::{Finding, render};
use lictor_model::Revision;
use lictor_sources::{Cluster, Loaded, Sources};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often the folders are looked at; the contents are only read when something changed.
const LOOK: Duration = Duration::from_millis(250);

/// What control is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name: its management socket lies below `/run/lictor/<name>`, as a lab's does.
    pub name: String,
    /// The trust domain, and the node of pods that name none.
    pub cluster: Cluster,
    /// Who signs.
    pub authorities: Authorities,
    /// How long the SVIDs of nodes live.
    pub node_lifetime: Duration,
    /// Where nodes are served.
    pub address: SocketAddr,
}

/// What the operator's commands are about.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) ca: Ca,
    pub(crate) members: Members,
    pub(crate) stop: watch::Sender<bool>,
}

/// Serves until it is told to stop or interrupted; `tell` says what a person wants to read.
///
/// Errors: [`Refused`] when the manifests have errors; nothing has been started then.
pub async fn run(options: Options, sources: Sources, colour: bool, tell: impl Fn(&str)) -> Result<()> {
    let Options { name, cluster, authorities, node_lifetime, address } = options;
    let loaded = sources.load();
    let mut following = Following::new(cluster, sources, colour);
    if loaded.has_errors() {
        return Err(Refused(following.rendered(&loaded.findings, &loaded)).into());
    }
    let state = StateDir::claim(Path::new(STATE), &name)?;
    let ca = authorities.ca(&following.cluster.trust_domain)?;
    let members = Members::open(authorities.store.as_ref(), system_clock()).context("no join tokens and nodes")?;
    tell(&following.put(&loaded));

    let listener = TcpListener::bind(address).await.with_context(|| format!("control cannot listen at {address}"))?;
    let address = listener.local_addr()?;
    let stop = watch::Sender::new(false);
    let serving = serve(
        listener,
        ControlOptions {
            ca: ca.clone(),
            members: members.clone(),
            snapshots: following.snapshots.subscribe(),
            svid_lifetime: authorities.svid_lifetime.try_into()?,
            node_lifetime: node_lifetime.try_into()?,
        },
        stopped(stop.subscribe()),
    );
    let desk = Arc::new(Desk { ca, members, stop: stop.clone() });
    let socket = lictor_lab::api::listen(&state.api_socket())?;
    let managing =
        lictor_lab::api::serve_answers(socket, move |method, path, query| api::answer(method, path, query, &desk));
    tell(&format!("nodes are served at {address}; `lictor identity token generate --lab {name}` lets one in"));

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut serving = std::pin::pin!(serving);
    let outcome = tokio::select! {
        served = &mut serving => served.map_err(Into::into),
        managed = managing => managed.context("control cannot be managed any more"),
        () = following.follow(loaded, &tell) => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = stopped(stop.subscribe()) => Ok(()),
    };
    state.remove()?;
    outcome
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives as long as the process.
    stop.wait_for(|stop| *stop).await.ok();
}

/// The snapshot that nodes are judged by, as the folders change.
struct Following {
    cluster: Cluster,
    settings: Settings,
    pool: AddressPool,
    sources: Sources,
    colour: bool,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Following {
    fn new(cluster: Cluster, sources: Sources, colour: bool) -> Self {
        let (settings, mut pool) = (cluster.settings(), cluster.pool());
        let (nothing, _) = Snapshot::build(&[], &settings, &mut pool, Revision::default());
        Self { cluster, settings, pool, sources, colour, snapshots: watch::Sender::new(Arc::new(nothing)) }
    }

    /// Judges nodes by these objects from now on; returns what was found, for people.
    fn put(&mut self, loaded: &Loaded) -> String {
        let objects = self.cluster.objects(&loaded.objects);
        let revision = self.snapshots.borrow().revision.next();
        let (snapshot, built) = Snapshot::build(&objects, &self.settings, &mut self.pool, revision);
        let findings: Vec<Finding> = loaded.findings.iter().cloned().chain(built).collect();
        self.snapshots.send_replace(Arc::new(snapshot));
        self.rendered(&findings, loaded)
    }

    async fn follow(&mut self, mut loaded: Loaded, tell: &impl Fn(&str)) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            if self.sources.fingerprint() == loaded.fingerprint {
                continue;
            }
            loaded = self.sources.load();
            if loaded.has_errors() {
                tell(&self.rendered(&loaded.findings, &loaded));
                tell("nothing was changed; nodes are judged as before");
            } else {
                tell(&self.put(&loaded));
            }
        }
    }

    fn rendered(&self, findings: &[Finding], loaded: &Loaded) -> String {
        let text = |finding: &Finding| loaded.texts.get(&finding.position.file).map(String::as_str);
        findings.iter().map(|finding| render(finding, text(finding), self.colour)).collect::<Vec<_>>().join("\n")
    }
}
