//! The policies of one workload, and what they say of a request.

use crate::facts::Facts;
use crate::policy::{Policy, Shared};
use lictor_manifest::Action;
use lictor_model::{By, Mode, PolicyRef, Request, Verdict};
use std::fmt;

/// The step of the evaluation that came to the verdict, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The transport was refused; only [`Program::decide`](crate::Program::decide) has this step.
    PeerAuthentication,
    /// A CUSTOM policy matched and its provider did not allow it.
    Custom,
    /// A DENY policy matched.
    Deny,
    /// An ALLOW policy matched.
    Allow,
    /// No ALLOW policy applies to the workload, so everything else is allowed.
    NoAllowPolicy,
    /// ALLOW policies apply to the workload and none matched.
    NoAllowMatch,
}

impl Stage {
    /// The word that outputs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PeerAuthentication => "peer-authentication",
            Self::Custom => "CUSTOM",
            Self::Deny => "DENY",
            Self::Allow => "ALLOW",
            Self::NoAllowPolicy => "no-allow-policy",
            Self::NoAllowMatch => "no-allow-match",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a workload's policies say of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict, whatever the mode: what happens is `verdict.under(mode)`.
    pub verdict: Verdict,
    /// The verdict if the dry-run policies were in force too; `verdict` when there are none.
    pub would: Verdict,
    /// How far the layer that decided goes at this workload.
    pub mode: Mode,
    /// The step that decided.
    pub stage: Stage,
    /// What decided: the first rule that matched, or the ALLOW policies of which none did.
    pub by: By,
    /// The AUDIT rules that matched.
    pub audited: Vec<PolicyRef>,
}

/// The policies of one workload, prepared for matching. Workloads with the same policies share one.
#[derive(Debug, PartialEq)]
pub struct Workload {
    pub(crate) mode: Mode,
    pub(crate) enforced: Stages,
    /// Enforced and dry-run policies together; nothing when none is dry-run.
    rehearsed: Option<Stages>,
    pub(crate) audit: Box<[Shared]>,
}

/// Policies by their part in the evaluation, each part in the order of their names.
#[derive(Debug, PartialEq)]
pub(crate) struct Stages {
    pub(crate) custom: Box<[Shared]>,
    pub(crate) deny: Box<[Shared]>,
    pub(crate) allow: Box<[Shared]>,
}

/// Answers for CUSTOM policies: what the provider of this name says of the request.
pub type Provider<'a> = &'a dyn Fn(&str) -> Verdict;

impl Workload {
    /// A workload with these policies, in the order of their names.
    pub(crate) fn new(policies: &[Shared], mode: Mode) -> Self {
        let audit = policies.iter().filter(|policy| policy.action == Action::Audit && !policy.dry_run);
        let rehearses = policies.iter().any(|policy| policy.dry_run);
        Self {
            mode,
            enforced: Stages::new(policies.iter().filter(|policy| !policy.dry_run)),
            rehearsed: rehearses.then(|| Stages::new(policies.iter())),
            audit: audit.cloned().collect(),
        }
    }

    /// Whether a rule that could apply to connections to this port speaks of HTTP, so that the port's traffic
    /// has to be understood before it can be judged.
    pub fn needs_http(&self, port: u16) -> bool {
        let stages = self.rehearsed.as_ref().unwrap_or(&self.enforced);
        stages.policies().chain(&self.audit).any(|policy| policy.needs_http(port))
    }

    /// Whether a rule that could apply to connections to this port speaks of the server name within TLS
    /// (`connection.sni`), so that the first bytes have to be seen before the connection can be judged.
    pub fn needs_sni(&self, port: u16) -> bool {
        let stages = self.rehearsed.as_ref().unwrap_or(&self.enforced);
        stages.policies().chain(&self.audit).any(|policy| policy.needs_sni(port))
    }

    /// What the policies say of a request; a CUSTOM policy that matches denies, since no provider is asked.
    ///
    /// Allocates nothing on the way to an ALLOW, unless an AUDIT policy matches, a path is not canonical or a
    /// header that a rule names is repeated.
    pub fn decide(&self, request: &Request<'_>) -> Outcome {
        self.decide_with(request, &|_| Verdict::Deny)
    }

    /// What the policies say of a request, with an answer from each CUSTOM policy's provider.
    pub fn decide_with(&self, request: &Request<'_>, provider: Provider<'_>) -> Outcome {
        let facts = Facts::new(request);
        let decision = self.enforced.decide(&facts, provider);
        let would = self.rehearsed.as_ref().map(|stages| stages.decide(&facts, provider).verdict());
        Outcome {
            verdict: decision.verdict(),
            would: would.unwrap_or(decision.verdict()),
            mode: self.mode,
            stage: decision.stage,
            by: decision.by(&self.enforced),
            audited: self.audit.iter().filter_map(|policy| policy.matching_rule(&facts)).map(reference).collect(),
        }
    }

    /// Every policy that matches at a stage, the whole policy each: all that deny, all that allow; at
    /// [`Stage::NoAllowMatch`] the ALLOW policies of the workload.
    ///
    /// [`Workload::decide`] stops at the first; this is for telling the others.
    pub fn matching(&self, request: &Request<'_>, stage: Stage) -> Vec<PolicyRef> {
        let facts = Facts::new(request);
        let matching = |policies: &[Shared]| -> Vec<PolicyRef> {
            let matching = policies.iter().filter(|policy| policy.matching_rule(&facts).is_some());
            matching.map(|policy| policy.reference.clone()).collect()
        };
        match stage {
            Stage::Custom => matching(&self.enforced.custom),
            Stage::Deny => matching(&self.enforced.deny),
            Stage::Allow => matching(&self.enforced.allow),
            Stage::NoAllowMatch => self.enforced.allow.iter().map(|policy| policy.reference.clone()).collect(),
            Stage::PeerAuthentication | Stage::NoAllowPolicy => Vec::new(),
        }
    }

    /// Every policy that applies to the workload, the whole policy each: CUSTOM, DENY, ALLOW, AUDIT, without
    /// those that are dry-run.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyRef> {
        self.enforced.policies().chain(&self.audit).map(|policy| &policy.reference)
    }
}

fn reference(rule: &crate::policy::Rule) -> PolicyRef {
    rule.reference.clone()
}

/// A stage, and the rule that decided there.
pub(crate) struct Decision<'a> {
    stage: Stage,
    rule: Option<&'a PolicyRef>,
}

impl Decision<'_> {
    fn verdict(&self) -> Verdict {
        match self.stage {
            Stage::Allow | Stage::NoAllowPolicy => Verdict::Allow,
            Stage::PeerAuthentication | Stage::Custom | Stage::Deny | Stage::NoAllowMatch => Verdict::Deny,
        }
    }

    fn by(&self, stages: &Stages) -> By {
        match (self.rule, self.stage) {
            (Some(rule), _) => By::Policy(rule.clone()),
            (None, Stage::NoAllowPolicy) => By::NoPolicy,
            (None, _) => By::Isolation(stages.allow.iter().map(|policy| policy.reference.clone()).collect()),
        }
    }
}

impl Stages {
    fn new<'a>(policies: impl Iterator<Item = &'a Shared> + Clone) -> Self {
        let of = |wanted: fn(&Policy) -> bool| policies.clone().filter(|policy| wanted(policy)).cloned().collect();
        Self {
            custom: of(|policy| matches!(policy.action, Action::Custom(_))),
            deny: of(|policy| policy.action == Action::Deny),
            allow: of(|policy| policy.action == Action::Allow),
        }
    }

    pub(crate) fn policies(&self) -> impl Iterator<Item = &Shared> {
        self.custom.iter().chain(&self.deny).chain(&self.allow)
    }

    /// Source: istio/api, `security/v1beta1/authorization_policy.proto`, rules 1 to 5.
    fn decide(&self, facts: &Facts<'_>, provider: Provider<'_>) -> Decision<'_> {
        for policy in &self.custom {
            let Some(rule) = policy.matching_rule(facts) else { continue };
            let allowed = match &policy.action {
                Action::Custom(name) if policy.refused.is_none() => provider(name).is_allow(),
                _ => false,
            };
            if !allowed {
                return Decision { stage: Stage::Custom, rule: Some(&rule.reference) };
            }
        }
        if let Some(rule) = self.deny.iter().find_map(|policy| policy.matching_rule(facts)) {
            return Decision { stage: Stage::Deny, rule: Some(&rule.reference) };
        }
        if self.allow.is_empty() {
            return Decision { stage: Stage::NoAllowPolicy, rule: None };
        }
        match self.allow.iter().find_map(|policy| policy.matching_rule(facts)) {
            Some(rule) => Decision { stage: Stage::Allow, rule: Some(&rule.reference) },
            None => Decision { stage: Stage::NoAllowMatch, rule: None },
        }
    }
}
