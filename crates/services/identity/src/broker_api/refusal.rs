//! Why a broker does not get what it asks for.
//!
//! Source: SPIFFE Broker API, section 4.8; SPIFFE Broker Endpoint, section 6.

use super::reference::InvalidReference;
use crate::attestation::AttestError;
use crate::process::ProcessError;
use lictor_wire::google::rpc;
use prost::Message;
use prost_types::Any;
use std::sync::Arc;
use tonic::{Code, Status};

/// Whose reasons these are.
const DOMAIN: &str = "spiffe.io";

/// What is wrong with the workload of a request, or with how it is referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The reference is missing, malformed or out of place.
    Invalid,
    /// Nothing is found under it.
    NotFound,
    /// What is found is entitled to nothing of what is asked for.
    NotEntitled,
}

impl Reason {
    fn code(self) -> Code {
        match self {
            Self::Invalid => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::NotEntitled => Code::PermissionDenied,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Invalid => "WORKLOAD_REFERENCE_INVALID",
            Self::NotFound => "WORKLOAD_NOT_FOUND",
            Self::NotEntitled => "WORKLOAD_NOT_ENTITLED",
        }
    }

    /// The status, with the reason for programs beside the message for people.
    pub(super) fn status(self, message: impl Into<String>) -> Status {
        let message = message.into();
        let reason = self.name().to_owned();
        let info = rpc::ErrorInfo { reason, domain: DOMAIN.to_owned(), ..rpc::ErrorInfo::default() };
        let packed =
            Any { type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(), value: info.encode_to_vec() };
        let details = rpc::Status { code: self.code() as i32, message: message.clone(), details: vec![packed] };
        Status::with_details(self.code(), message, details.encode_to_vec().into())
    }
}

/// The workload does not exist here, or not any more.
pub(super) fn not_found() -> Status {
    Reason::NotFound.status("the referenced workload is not on this node")
}

/// The workload has no right to what is asked for. Why it has none, the log says.
pub(super) fn not_entitled() -> Status {
    Reason::NotEntitled.status("no identity is issued to the referenced workload")
}

/// What cannot be asked of the kernel now can be asked again.
pub(super) fn unavailable() -> Status {
    Status::unavailable("the referenced workload cannot be looked at now")
}

impl From<InvalidReference> for Status {
    fn from(error: InvalidReference) -> Self {
        Reason::Invalid.status(error.to_string())
    }
}

/// A process that is there and in no pod is entitled to nothing. The error itself is for the log.
pub(super) fn of_attestation(error: AttestError) -> Status {
    let mut status = match &error {
        AttestError::Process(ProcessError::Ended { .. }) => not_found(),
        AttestError::Process(ProcessError::Open { .. }) => unavailable(),
        AttestError::Process(_)
        | AttestError::NoPod { .. }
        | AttestError::Moved { .. }
        | AttestError::Replaced { .. } => not_entitled(),
    };
    status.set_source(Arc::new(error));
    status
}

#[cfg(test)]
mod tests {
    use super::Reason;
    use lictor_wire::google::rpc;
    use prost::Message;
    use tonic::Code;

    /// Section 4.8.
    #[test]
    fn each_reason_has_its_code_and_its_name() {
        for (reason, code, name) in [
            (Reason::Invalid, Code::InvalidArgument, "WORKLOAD_REFERENCE_INVALID"),
            (Reason::NotFound, Code::NotFound, "WORKLOAD_NOT_FOUND"),
            (Reason::NotEntitled, Code::PermissionDenied, "WORKLOAD_NOT_ENTITLED"),
        ] {
            let status = reason.status("why");
            let details = rpc::Status::decode(status.details()).expect("a status");
            assert_eq!((status.code(), status.message(), details.code), (code, "why", code as i32));
            let [packed] = &*details.details else { panic!("expected one detail, saw {details:?}") };
            assert_eq!(packed.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
            let info = rpc::ErrorInfo::decode(&*packed.value).expect("an error info");
            assert_eq!((&*info.reason, &*info.domain), (name, "spiffe.io"));
        }
    }
}
