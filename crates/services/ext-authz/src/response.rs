//! An answer as Envoy takes it.
//!
//! Source: OPA's Envoy plugin, `internal/internal.go`, `check`; `envoy/service/auth/v3/external_auth.proto`.

use crate::json::to_struct;
use lictor_rego::Answer;
use lictor_wire::envoy::config::core::v3::{HeaderValue, HeaderValueOption, QueryParameter};
use lictor_wire::envoy::service::auth::v3::check_response::HttpResponse;
use lictor_wire::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use lictor_wire::envoy::r#type::v3::HttpStatus;
use lictor_wire::google::rpc;
use serde_json::{Map, Value};
use tonic::Code;

const FORBIDDEN: u16 = 403;
const BAD_REQUEST: u16 = 400;

/// What a policy said.
pub(crate) fn answered(answer: &Answer, decision: u64) -> CheckResponse {
    let code = if answer.allowed { Code::Ok } else { Code::PermissionDenied };
    let http_response = answer.detailed.then(|| match answer.allowed {
        true => HttpResponse::OkResponse(OkHttpResponse {
            headers: headers(&answer.headers),
            headers_to_remove: answer.request_headers_to_remove.clone(),
            response_headers_to_add: headers(&answer.response_headers_to_add),
            query_parameters_to_set: (answer.query_parameters_to_set.iter())
                .map(|(key, value)| QueryParameter { key: key.clone(), value: value.clone() })
                .collect(),
            query_parameters_to_remove: answer.query_parameters_to_remove.clone(),
        }),
        false => denial(answer.status, headers(&answer.headers), answer.body.clone()),
    });
    response(code, String::new(), http_response, decision, answer.dynamic_metadata.clone())
}

/// The request goes on although the policy denies it, as the pod's stance says.
pub(crate) fn let_pass(decision: u64) -> CheckResponse {
    let http_response = Some(HttpResponse::OkResponse(OkHttpResponse::default()));
    response(Code::Ok, String::new(), http_response, decision, None)
}

/// There was no answer; the client is not told why.
pub(crate) fn unanswered(why: String, decision: u64) -> CheckResponse {
    let http_response = Some(denial(FORBIDDEN, Vec::new(), String::new()));
    response(Code::PermissionDenied, why, http_response, decision, None)
}

/// The request cannot be read; the client is told why.
pub(crate) fn unreadable(why: String, decision: u64) -> CheckResponse {
    let http_response = Some(denial(BAD_REQUEST, Vec::new(), why.clone()));
    response(Code::PermissionDenied, why, http_response, decision, None)
}

/// Nobody that may ask.
pub(crate) fn stranger() -> CheckResponse {
    let status = rpc::Status {
        code: Code::PermissionDenied as i32,
        message: "no pod of this node asks".to_owned(),
        ..rpc::Status::default()
    };
    let http_response = Some(denial(FORBIDDEN, Vec::new(), String::new()));
    CheckResponse { status: Some(status), http_response, dynamic_metadata: None }
}

fn response(
    code: Code,
    message: String,
    http_response: Option<HttpResponse>,
    decision: u64,
    metadata: Option<Map<String, Value>>,
) -> CheckResponse {
    let mut metadata = metadata.unwrap_or_default();
    metadata.insert("decision_id".to_owned(), Value::String(decision.to_string()));
    CheckResponse {
        status: Some(rpc::Status { code: code as i32, message, ..rpc::Status::default() }),
        http_response,
        dynamic_metadata: Some(to_struct(&metadata)),
    }
}

fn denial(status: u16, headers: Vec<HeaderValueOption>, body: String) -> HttpResponse {
    let status = Some(HttpStatus { code: i32::from(status) });
    HttpResponse::DeniedResponse(DeniedHttpResponse { status, headers, body })
}

fn headers(pairs: &[(String, String)]) -> Vec<HeaderValueOption> {
    let option = |(key, value): &(String, String)| HeaderValueOption {
        header: Some(HeaderValue { key: key.clone(), value: value.clone(), raw_value: Vec::new() }),
        append: None,
    };
    pairs.iter().map(option).collect()
}
