//! What is open on a worker, so that a new policy can be asked about it.

use crate::policy::{Ask, Inbound, Ruling, View};
use crate::record::Recorder;
use crate::relay::Counts;
use crate::request::Facts;
use lictor_model::{By, Name};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What was asked before something was let through, to be asked again.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// A connection out of a pod.
    Outbound { pod: Name, destination: SocketAddr },
    /// A connection into a pod that is not HTTP.
    Connection(Rc<Inbound>),
    /// A connection into a pod that carries HTTP: its requests are asked about one by one.
    Carrier(Rc<Inbound>),
    /// A request that is being answered.
    Request(Rc<Inbound>, Rc<Facts>),
}

impl Question {
    /// The answer under a view.
    pub(crate) fn ask(&self, view: &View) -> Ruling {
        match self {
            Self::Outbound { pod, destination } => view.outbound(pod, *destination),
            Self::Connection(inbound) => view.inbound(inbound, Ask::Connection),
            Self::Carrier(inbound) => view.inbound(inbound, Ask::Later),
            Self::Request(inbound, facts) => facts.ask(view, inbound),
        }
    }

    fn pod(&self) -> &Name {
        match self {
            Self::Outbound { pod, .. } => pod,
            Self::Connection(inbound) | Self::Carrier(inbound) | Self::Request(inbound, _) => &inbound.pod,
        }
    }
}

/// Everything that is open on one worker.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: RefCell<HashMap<u64, Entry>>,
    next: Cell<u64>,
}

#[derive(Debug)]
struct Entry {
    question: Question,
    ending: Rc<Ending>,
}

/// Told when a policy ends what is open. One task at a time waits for it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    by: RefCell<Option<By>>,
    waker: RefCell<Option<Waker>>,
}

/// Something open. Dropping it is its end, and writes the record of that.
#[derive(Debug)]
pub(crate) struct Open {
    registry: Rc<Registry>,
    key: u64,
    recorder: Recorder,
    /// The decision that let it in, where that was recorded here.
    decision: Option<u64>,
    /// What went through it.
    pub(crate) counts: Rc<Counts>,
    /// Told when a new policy ends it.
    pub(crate) ending: Rc<Ending>,
}

/// After so many questions other tasks get their turn.
const AT_ONCE: usize = 256;

impl Registry {
    /// Keeps something that was let in.
    pub(crate) fn open(self: &Rc<Self>, question: Question, recorder: &Recorder, decision: Option<u64>) -> Open {
        let key = self.next.get();
        self.next.set(key.wrapping_add(1));
        let ending = Rc::<Ending>::default();
        self.entries.borrow_mut().insert(key, Entry { question, ending: Rc::clone(&ending) });
        let (registry, recorder) = (Rc::clone(self), recorder.clone());
        Open { registry, key, recorder, decision, counts: Rc::default(), ending }
    }

    /// Asks a new view about everything that is open, and ends what it denies.
    pub(crate) async fn judge_again(&self, view: &View, recorder: &Recorder) {
        let keys: Vec<u64> = self.entries.borrow().keys().copied().collect();
        for some in keys.chunks(AT_ONCE) {
            for key in some {
                if let Some(entry) = self.entries.borrow().get(key) {
                    entry.judge_again(view, recorder);
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Entry {
    fn judge_again(&self, view: &View, recorder: &Recorder) {
        let ruling = self.question.ask(view);
        if !ruling.verdict.is_allow() && !view.keeps_open(self.question.pod(), ruling.layer) {
            recorder.metrics().ended_by_policy.increment();
            self.ending.tell(ruling.by);
        }
    }
}

impl Open {
    /// Asks a view that came while this was being let in.
    pub(crate) fn judge_again(&self, view: &View) {
        if let Some(entry) = self.registry.entries.borrow().get(&self.key) {
            entry.judge_again(view, &self.recorder);
        }
    }
}

impl Ending {
    fn tell(&self, by: By) {
        self.by.borrow_mut().get_or_insert(by);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready once a policy has ended it.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.by.borrow().is_some() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until a policy ends it.
    pub(crate) async fn told(&self) {
        poll_fn(|cx| self.poll(cx)).await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.registry.entries.borrow_mut().remove(&self.key);
        if let Some(id) = self.decision {
            self.recorder.close(id, &self.counts, self.ending.by.take());
        }
    }
}
