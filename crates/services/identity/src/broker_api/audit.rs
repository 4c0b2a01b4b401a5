//! What brokers asked for and were answered, for whoever has to say later who had whose key.

use lictor_model::{Name, SpiffeId};
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use time::OffsetDateTime;
use tonic::Status;

/// What became of a handshake, of a request, or of a stream that its client did not end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// Who asked, where that is proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<SpiffeId>,
    /// The method, where the request came so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    /// What the request referred to, where that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The pod that the reference was found to lead to, as `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// `Ok` where the caller got what was asked for, else the code of gRPC.
    pub code: String,
    /// Why, where the caller did not, or not any more; more than the caller is told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Where answers go; called while requests are served, so it must not take long.
pub type AnswerSink = Arc<dyn Fn(Answer) + Send + Sync>;

/// Tells of answers, in the log as well.
#[derive(Clone)]
pub(super) struct Audit(AnswerSink);

/// What is known of a request by now.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) caller: Option<SpiffeId>,
    pub(super) method: Option<&'static str>,
    pub(super) reference: Option<String>,
    pub(super) pod: Option<Name>,
}

impl Audit {
    pub(super) fn new(sink: AnswerSink) -> Self {
        Self(sink)
    }

    pub(super) fn granted(&self, asked: &Asked) {
        self.tell(asked, "Ok".to_owned(), String::new());
    }

    pub(super) fn refused(&self, asked: &Asked, status: &Status) {
        let reason = match status.source() {
            Some(source) => format!("{}: {source}", status.message()),
            None => status.message().to_owned(),
        };
        self.tell(asked, format!("{:?}", status.code()), reason);
    }

    fn tell(&self, asked: &Asked, code: String, reason: String) {
        let Asked { caller, method, reference, pod } = asked.clone();
        let pod = pod.map(|pod| pod.to_string());
        let answer = Answer { time: OffsetDateTime::now_utc(), caller, method, reference, pod, code, reason };
        tracing::info!(?answer, "the Broker API has answered");
        (self.0)(answer);
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Audit").finish_non_exhaustive()
    }
}
