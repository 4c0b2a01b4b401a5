//! The gRPC service.

use crate::evaluators::Evaluators;
use crate::judgement::{Judgement, decision, mode};
use crate::{input, response};
use lictor_cluster::Snapshot;
use lictor_model::{By, Decision, DecisionIds, Name, Record, Verdict};
use lictor_rego::{Answer, Program};
use lictor_wire::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use lictor_wire::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use std::io;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::{Extensions, Request, Response, Status};

/// What is in force.
#[derive(Debug, Clone)]
pub struct View {
    /// The pods and their stances.
    pub snapshot: Arc<Snapshot>,
    /// The policies of the same snapshot.
    pub policies: Arc<Program>,
}

/// Tells the pod whose process makes a request, or why there is none.
pub type Attest = Arc<dyn Fn(&Extensions) -> Result<Name, Status> + Send + Sync>;

/// What the service needs of others.
pub struct Settings {
    /// The pod whose process makes a request.
    pub caller: Attest,
    /// What is in force, as it changes.
    pub views: watch::Receiver<Arc<View>>,
    /// Where decisions go; called for each check, so it must not block.
    pub sink: Arc<dyn Fn(Record) + Send + Sync>,
    /// Where their numbers come from.
    pub ids: Arc<DecisionIds>,
}

/// The service, to be served where its callers can be told.
///
/// # Errors
/// There are no threads to evaluate on.
pub fn service(settings: Settings) -> io::Result<AuthorizationServer<impl Authorization>> {
    let evaluators = Evaluators::start()?;
    Ok(AuthorizationServer::new(ExtAuthz { settings, evaluators }))
}

struct ExtAuthz {
    settings: Settings,
    evaluators: Evaluators,
}

/// What a check comes to, before the pod's stance.
struct Outcome {
    judgement: Judgement,
    /// The response, once the decision has its number.
    response: Box<dyn FnOnce(u64) -> CheckResponse + Send>,
}

#[tonic::async_trait]
impl Authorization for ExtAuthz {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let pod = match (self.settings.caller)(request.extensions()) {
            Ok(pod) => pod,
            // Not an error of the call: an Envoy may be told to let those pass.
            Err(_) => return Ok(Response::new(response::stranger())),
        };
        let request = request.into_inner();
        let view = Arc::clone(&self.settings.views.borrow());
        let Outcome { judgement, response } = self.judge(&view, &pod, &request).await;
        let id = self.settings.ids.draw();
        let decision = decision(id, &view, &pod, &request, mode(&view, &pod), judgement);
        let told = told(&decision, response);
        (self.settings.sink)(Record::Decision(decision));
        Ok(Response::new(told))
    }
}

impl ExtAuthz {
    async fn judge(&self, view: &View, pod: &Name, request: &CheckRequest) -> Outcome {
        let Some(policy) = view.policies.policy(&pod.namespace) else {
            let why = format!("no ConfigMap of namespace {} has Rego for external authorization", pod.namespace);
            return Outcome::unanswered(why);
        };
        let input = match input::document(request) {
            Ok(input) => input,
            Err(error) => return Outcome::unreadable(error.to_string()),
        };
        let value = match self.evaluators.ask(Arc::clone(policy), input).await {
            Ok(value) => value,
            Err(error) => return Outcome::unanswered(error.to_string()),
        };
        match Answer::read(&value) {
            Ok(answer) => {
                let verdict = if answer.allowed { Verdict::Allow } else { Verdict::Deny };
                let judgement = Judgement { verdict, by: By::Policy(policy.by().clone()) };
                Outcome { judgement, response: Box::new(move |id| response::answered(&answer, id)) }
            }
            Err(error) => Outcome::unanswered(format!("the value of {} is no answer: {error}", policy.rule())),
        }
    }
}

impl Outcome {
    fn unanswered(why: String) -> Self {
        Self { judgement: Judgement::denied(why.as_str()), response: Box::new(|id| response::unanswered(why, id)) }
    }

    fn unreadable(why: String) -> Self {
        Self { judgement: Judgement::denied(why.as_str()), response: Box::new(|id| response::unreadable(why, id)) }
    }
}

/// What the policy said, unless the pod's stance lets pass what it denies.
fn told(decision: &Decision, response: impl FnOnce(u64) -> CheckResponse) -> CheckResponse {
    let told = response(decision.id);
    let is_denial = told.status.as_ref().is_none_or(|status| status.code != 0);
    if decision.verdict.is_allow() && is_denial { response::let_pass(decision.id) } else { told }
}

#[cfg(test)]
mod tests;
