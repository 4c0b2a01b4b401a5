//! One text of Rego and where it stands.

use lictor_manifest::{Code, Finding, Stored};
use lictor_model::{PolicyKind, PolicyRef};
use std::sync::Arc;

/// Texts end with it; no other key is expected in a ConfigMap of policies.
pub(crate) const EXTENSION: &str = ".rego";

/// A text of a ConfigMap.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub(crate) config: Arc<Stored>,
    /// `data[<key>]`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Whether it is in the language's older version.
    pub(crate) v0: bool,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Which of the modules.
    pub(crate) module: usize,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) message: String,
}

impl Module {
    /// The module as what decides.
    pub(crate) fn policy(&self) -> PolicyRef {
        PolicyRef::whole(PolicyKind::ConfigMap, self.config.meta.name.clone()).at(self.path.as_str())
    }

    pub(crate) fn finding(&self, refusal: &Refusal) -> Finding {
        let position = self.config.meta.origin.position_in(&self.path, refusal.line, refusal.column);
        Finding::new(Code::InvalidRego, position, format!("`{}`: {}", self.path, refusal.message))
    }
}

impl Refusal {
    /// What the interpreter says of the module whose name is its number; of the first one where it names none.
    pub(crate) fn of(error: &str) -> Self {
        let place = error.split_once("--> ").and_then(|(_, rest)| rest.lines().next());
        let mut numbers = place.unwrap_or_default().splitn(3, ':');
        let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
        let (module, line, column) = (number().unwrap_or(0), number().unwrap_or(1), number().unwrap_or(1));
        let message = error.split_once("\nerror: ").map_or(error, |(_, message)| message);
        let message = message.lines().next().unwrap_or_default().trim_end_matches(':');
        Self { module: module as usize, line, column, message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn an_error_of_the_interpreter_has_its_place() {
        let refusal =
            |module, line, column, message: &str| Refusal { module, line, column, message: message.to_owned() };
        let told = "\n--> 2:5:14\n  |\n5 | }\n  | ^\nerror: expecting expression";
        assert_eq!(Refusal::of(told), refusal(2, 5, 14, "expecting expression"));
        let told = "\n--> 0:2:1\n  |\n2 | a\n  | ^\nerror: recursion detected when evaluating rule:\n--> 0:3:1";
        assert_eq!(Refusal::of(told), refusal(0, 2, 1, "recursion detected when evaluating rule"));
        assert_eq!(Refusal::of("no place"), refusal(0, 1, 1, "no place"));
    }
}
