//! What the policies say about questions for names, and that they hear of the answers.

use super::forward::records;
use super::history::Lookup;
use super::message::Data;
use lictor_model::{Decision, DecisionIds, Direction, Layer, Party, Point, Protocol, Record, Verdict};
use lictor_network::Asked;
use lictor_proxy::View;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// An answer waits so long for the kernel to know its addresses; then it is not given.
const PATIENCE: Duration = Duration::from_secs(3);

/// An answer that policies may speak of.
#[derive(Debug)]
pub struct Learnt {
    /// Who asked.
    pub client: IpAddr,
    /// The answer.
    pub lookup: Lookup,
    /// Told once the addresses are in force.
    pub in_force: oneshot::Sender<()>,
}

/// Where decisions go.
pub type Sink = Arc<dyn Fn(Record) + Send + Sync>;

/// Stands between pods and the answers to their questions.
#[derive(Clone)]
pub struct Gate {
    /// What is in force.
    pub views: watch::Receiver<Arc<View>>,
    /// Who puts addresses in force.
    pub learner: mpsc::Sender<Learnt>,
    /// Where refusals are recorded.
    pub sink: Sink,
    /// Numbers for the records.
    pub ids: Arc<DecisionIds>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// Whether the pod at `client` may ask for a name here. A refusal is recorded, and so is one in audit.
    pub(super) fn may_ask(&self, client: SocketAddr, server: SocketAddr, protocol: Protocol, name: &str) -> bool {
        let view = Arc::clone(&self.views.borrow());
        let Some(pod) = view.snapshot.pod_at(client.ip()) else { return true };
        let (to, service) = (server.ip(), (protocol, server.port()));
        let said = view.network.judge_asked(&pod.name, Direction::Egress, to, service, &Asked::Dns(name));
        if said.verdict.is_allow() {
            return true;
        }
        let verdict = said.verdict.under(said.mode);
        let party = |end: SocketAddr| Party {
            pod: view.snapshot.pod_at(end.ip()).map(|pod| pod.name.clone()),
            address: end.ip().to_canonical(),
            port: end.port(),
            identity: None,
        };
        (self.sink)(Record::Decision(Decision {
            id: self.ids.draw(),
            time: OffsetDateTime::now_utc(),
            layer: Layer::Egress,
            mode: said.mode,
            verdict,
            would: Verdict::Deny,
            by: said.by,
            source: party(client),
            destination: party(server),
            protocol,
            encrypted: false,
            method: None,
            path: None,
            host: Some(name.trim_end_matches('.').to_owned()),
            audited_by: Vec::new(),
            point: Point::Proxy,
            revision: view.snapshot.revision,
        }));
        verdict.is_allow()
    }

    /// Lets the policies know the addresses in an answer, before `client` gets it. False when they do not in time.
    pub(super) async fn learn(&self, client: IpAddr, name: &str, answer: &[u8]) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let snapshot = Arc::clone(&self.views.borrow().snapshot);
        if !snapshot.pod_at(client).is_some_and(|pod| snapshot.speaks_of_name(pod, &name)) {
            return true;
        }
        let records = records(answer).unwrap_or_default();
        let addresses: Vec<IpAddr> = records
            .iter()
            .filter_map(|record| match &record.data {
                Data::A(address) => Some(IpAddr::from(*address)),
                Data::Aaaa(address) => Some(IpAddr::from(*address)),
                _ => None,
            })
            .collect();
        if addresses.is_empty() {
            return true;
        }
        let (told, in_force) = oneshot::channel();
        let ttl = records.iter().map(|record| lifetime(record.ttl)).min().unwrap_or_default();
        let lookup = Lookup { name, addresses, ttl };
        let sent = self.learner.send(Learnt { client, lookup, in_force: told }).await;
        sent.is_ok() && timeout(PATIENCE, in_force).await.is_ok_and(|told| told.is_ok())
    }
}

/// A time to live with its first bit set counts as none (RFC 2181 section 8).
fn lifetime(ttl: u32) -> Duration {
    Duration::from_secs(u64::try_from(ttl.cast_signed()).unwrap_or_default())
}
