//! Threads that ask policies: a question computes, and needs more stack than the runtime's threads have.

use lictor_rego::{AskError, Policy, STACK};
use serde_json::Value;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Questions that wait; one more is not taken.
const QUEUE: usize = 1024;

/// Threads: as many questions are answered at once.
const THREADS: usize = 2;

/// The threads; they end with it.
#[derive(Debug, Clone)]
pub(crate) struct Evaluators(SyncSender<Question>);

#[derive(Debug)]
struct Question {
    policy: Arc<Policy>,
    input: Value,
    answer: oneshot::Sender<Result<Value, AskError>>,
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The policy has no value.
    #[error(transparent)]
    Policy(#[from] AskError),
    /// Too many wait.
    #[error("expected fewer than {QUEUE} checks at once, this one is one too many")]
    Busy,
    /// The interpreter failed.
    #[error("the policy could not be evaluated")]
    Failed,
}

impl Evaluators {
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..THREADS {
            let receiver = Arc::clone(&receiver);
            let thread = std::thread::Builder::new().name("rego".to_owned()).stack_size(STACK);
            thread.spawn(move || answer(&receiver))?;
        }
        Ok(Self(sender))
    }

    pub(crate) async fn ask(&self, policy: Arc<Policy>, input: Value) -> Result<Value, Unanswered> {
        let (sender, answer) = oneshot::channel();
        self.0.try_send(Question { policy, input, answer: sender }).map_err(|error| match error {
            TrySendError::Full(_) => Unanswered::Busy,
            TrySendError::Disconnected(_) => Unanswered::Failed,
        })?;
        Ok(answer.await.map_err(|_| Unanswered::Failed)??)
    }
}

fn answer(questions: &Mutex<Receiver<Question>>) {
    loop {
        let next = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Question { policy, input, answer }) = next else { return };
        // A question is asked on a copy of the policy: what a failure leaves behind is dropped with it.
        if let Ok(value) = catch_unwind(AssertUnwindSafe(|| policy.ask(input))) {
            // Whoever asked may have gone.
            answer.send(value).ok();
        }
    }
}
