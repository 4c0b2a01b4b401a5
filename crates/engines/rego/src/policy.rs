//! The compiled policies of one namespace, and asking them.

use crate::builtins;
use crate::check;
use crate::limits;
use crate::module::{Module, Refusal};
use lictor_model::PolicyRef;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// How long one question may take.
const LIMIT: Duration = Duration::from_millis(250);

/// Steps of the interpreter between two looks at the clock.
const STEPS: NonZeroU32 = NonZeroU32::new(64).expect("not zero");

/// The compiled policies of one namespace. Cheap to clone.
#[derive(Clone)]
pub struct Policy {
    engine: Engine,
    rule: String,
    /// Whether `rule` is made of parts, which only a query puts together.
    partial: bool,
    by: PolicyRef,
}

/// Why a policy has no value for an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The rule is undefined.
    #[error("{0} has no value")]
    Undefined(String),
    /// The evaluation failed.
    #[error("{message}, at line {line} of {policy}")]
    Failed {
        /// The text.
        policy: PolicyRef,
        /// Its line.
        line: u32,
        /// What went wrong.
        message: String,
    },
    /// The value is not JSON.
    #[error("{0} has a value that is not JSON")]
    NotJson(String),
}

impl Policy {
    /// Compiles modules; `rule` is the one that is asked, such as `data.envoy.authz.allow`.
    pub(crate) fn compile(modules: &[Module], rule: &str) -> Result<Self, Refusal> {
        let failed = |message: &str| Err(Refusal { module: 0, line: 1, column: 1, message: message.to_owned() });
        for (at, module) in modules.iter().enumerate() {
            limits::text(&module.text).map_err(|refusal| Refusal { module: at, ..refusal })?;
        }
        std::thread::scope(|scope| {
            let compiling = std::thread::Builder::new().name("rego".to_owned()).stack_size(limits::STACK);
            let compiling = compiling.spawn_scoped(scope, || Self::compile_here(modules, rule));
            match compiling.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(compiled)) => compiled,
                Ok(Err(_)) => failed("the compiler has failed"),
                Err(_) => failed("there is no thread to compile on"),
            }
        })
    }

    fn compile_here(modules: &[Module], rule: &str) -> Result<Self, Refusal> {
        let mut engine = Engine::new();
        // A builtin that fails is undefined, as in OPA; `print` goes nowhere.
        engine.set_strict_builtin_errors(false);
        engine.set_gather_prints(true);
        engine.set_policy_length_config(limits::LENGTH);
        builtins::add(&mut engine);
        for (at, module) in modules.iter().enumerate() {
            engine.set_rego_v0(module.v0);
            // The interpreter's messages name a module by its number.
            engine
                .add_policy(at.to_string(), module.text.clone())
                .map_err(|error| Refusal { module: at, ..Refusal::of(&error.to_string()) })?;
        }
        let parsed = engine.get_modules().clone();
        let parsed: Vec<_> = parsed.iter().map(|module| &**module).collect();
        limits::depth(&parsed)?;
        check::check(&parsed)?;
        let below = format!("{rule}.");
        let is_it = |name: &String| name == rule || name.starts_with(&below);
        let place = parsed.iter().position(|module| check::rules(module).any(|name| is_it(&name)));
        let Some(module) = place.and_then(|at| modules.get(at)) else {
            let message = format!("expected a rule {rule}, as {} says, found none", crate::PATH_ANNOTATION);
            return Err(Refusal { module: 0, line: 1, column: 1, message });
        };
        let partial = match engine.compile_with_entrypoint(&rule.into()) {
            Ok(_) => false,
            // The rules of parts have no path of their own. They are compiled all the same.
            Err(error) if error.to_string() == "not a valid rule path" => true,
            Err(error) => return Err(Refusal::of(&error.to_string())),
        };
        engine.set_execution_timer_config(ExecutionTimerConfig { limit: LIMIT, check_interval: STEPS });
        Ok(Self { engine, rule: rule.to_owned(), partial, by: module.policy() })
    }

    /// The ConfigMap and key that have the rule that is asked; the first of them, where several add to it.
    pub fn by(&self) -> &PolicyRef {
        &self.by
    }

    /// The rule that is asked.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The value of the rule for an input.
    ///
    /// It computes for a quarter of a second at most, on the calling thread, which needs a stack of [`STACK`](crate::STACK)
    /// bytes for any policy that compiles.
    ///
    /// # Errors
    /// The rule has no value, or there is none that can be told: whoever asks has to deny.
    pub fn ask(&self, input: serde_json::Value) -> Result<serde_json::Value, AskError> {
        let mut engine = self.engine.clone();
        engine.set_input(Value::from(input));
        let value = match self.partial {
            false => engine.eval_rule(self.rule.clone()),
            true => engine.eval_query(self.rule.clone(), false).map(|found| {
                let expression = found.result.into_iter().next().and_then(|one| one.expressions.into_iter().next());
                expression.map_or(Value::Undefined, |expression| expression.value)
            }),
        };
        match value {
            Ok(Value::Undefined) => Err(AskError::Undefined(self.rule.clone())),
            Ok(value) => serde_json::to_value(&value).map_err(|_| AskError::NotJson(self.rule.clone())),
            Err(error) => {
                let Refusal { line, message, .. } = Refusal::of(&error.to_string());
                Err(AskError::Failed { policy: self.by.clone(), line, message })
            }
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("rule", &self.rule).field("by", &self.by).finish_non_exhaustive()
    }
}
