//! The SVIDs of the pods here, asked for as they are due.

use super::connect::Api;
use super::session::{answer, chain};
use super::{Membership, asked};
use crate::issuer::{Due, half_life, random_fraction};
use crate::registry::Registry;
use lictor_pki::{SigningRequest, Subject, authority_key_id};
use lictor_wire::node::answer::Answer as Outcome;
use lictor_wire::node::{Answer, IssueRequest, Wanted};
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// Asked for at once; control takes twice as many.
const BATCH: usize = 256;

/// After a refusal, doubled with each further one: control may just not have heard of the pod yet.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// What is refused is asked for this often at least.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Membership {
    /// Asks for what is due now, at most a batch of it; tells whether there was anything.
    pub(super) async fn issue(&self, api: &mut Api, registry: &Registry) -> Result<bool, Status> {
        let (mut requests, mut wanted) = (Vec::new(), Vec::new());
        for subject in self.due() {
            let pods = registry.pods_with(&subject);
            let refused = self.content().refused.get(&subject).map_or(0, |(times, _)| *times);
            // Control may know one of them and not yet another, so they take turns. Without one it will be dropped.
            let turn = usize::try_from(refused).unwrap_or_default().checked_rem(pods.len());
            let Some(pod) = turn.and_then(|turn| pods.get(turn)) else {
                self.refused(subject, "no pod needs it any more".to_owned());
                continue;
            };
            match SigningRequest::new() {
                Ok(request) => {
                    let csr = request.der().to_vec();
                    let dns_names = subject.dns_names.iter().map(ToString::to_string).collect();
                    wanted.push(Wanted { pod: Some(asked(pod)), spiffe_id: subject.id.to_string(), csr, dns_names });
                    requests.push((subject, request));
                }
                Err(error) => self.refused(subject, error.to_string()),
            }
        }
        if wanted.is_empty() {
            return Ok(false);
        }
        let response = answer(api.issue(IssueRequest { wanted })).await?;
        self.compare_clocks(response.now);
        let mut answers = response.answers.into_iter();
        for (subject, request) in requests {
            match self.take_in(&subject, &request, answers.next()) {
                Ok(()) => drop(self.content().refused.remove(&subject)),
                Err(why) => self.refused(subject, why),
            }
        }
        self.content().heard = Some(self.now());
        Ok(true)
    }

    /// What is due, taken off the schedule until there is an answer: if there is none, it is due again with the next session.
    fn due(&self) -> Vec<Subject> {
        let now = self.now();
        let mut content = self.content();
        let schedule = &mut content.schedule;
        let mut due = Vec::new();
        while due.len() < BATCH
            && let Some(subject) = schedule.due(now)
        {
            // Asked again in a moment if the session breaks before anything is known.
            schedule.put(subject.clone(), Due { at: now + FIRST_RETRY, signer: None });
            due.push(subject);
        }
        due
    }

    fn take_in(&self, subject: &Subject, request: &SigningRequest, answer: Option<Answer>) -> Result<(), String> {
        let made = match answer.and_then(|answer| answer.answer) {
            Some(Outcome::Svid(made)) => made,
            Some(Outcome::Refusal(refusal)) => return Err(refusal.reason),
            None => return Err("control gave no answer".to_owned()),
        };
        let (now, bundle) = (self.now(), self.keyring().bundle());
        let id = &subject.id;
        let svid = request.answered(id, chain(made), &bundle, now);
        let svid = svid.map_err(|error| format!("of no use: {error}{}", self.clock_says()))?;
        let signer = svid.chain.first().and_then(authority_key_id).map(Into::into);
        let at = half_life(now, svid.not_after, &mut random_fraction());
        tracing::debug!(%id, not_after = %svid.not_after, "control issued an SVID");
        // A pod that is gone meanwhile is no longer scheduled, and its SVID is not wanted. Held until it is in the keyring, so
        // that it is taken out again if the pod goes now.
        let mut content = self.content();
        if content.schedule.replace(subject, Due { at, signer }) {
            self.keyring().insert_named(svid, Arc::clone(&subject.dns_names));
        }
        Ok(())
    }

    fn refused(&self, subject: Subject, why: String) {
        let now = self.now();
        let mut content = self.content();
        let times = content.refused.get(&subject).map_or(0, |(times, _)| *times);
        tracing::warn!(id = %subject.id, %why, times, "no SVID was issued");
        let wait = FIRST_RETRY.saturating_mul(1 << times.min(8)).min(LONGEST_RETRY);
        if content.schedule.replace(&subject, Due { at: now + wait, signer: None }) {
            content.refused.insert(subject, (times.saturating_add(1), why));
        }
    }
}
