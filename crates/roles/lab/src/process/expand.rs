//! What a container's manifest says to run, with its variables put in.

use super::zygote::Work;
use lictor_manifest::Container;
use std::collections::{HashMap, HashSet};

/// The command of a container, with its environment after `base`.
///
/// `$(NAME)` stands for a variable that is set before, in the command and in later variables; one that is not set stays
/// as it is, and `$$` is a `$` (Kubernetes API, `Container.command` and `EnvVar.value`).
pub fn command(container: &Container, base: Vec<(String, String)>) -> Work {
    let mut environment = base;
    let mut known: HashMap<String, String> = environment.iter().cloned().collect();
    for (name, value) in &container.env {
        let value = expand(value, &known);
        known.insert(name.clone(), value.clone());
        environment.push((name.clone(), value));
    }
    // A program reads the first of two, and the last one is meant.
    let mut set = HashSet::new();
    environment.reverse();
    environment.retain(|(name, _)| set.insert(name.clone()));
    environment.reverse();
    Work::Command { arguments: container.command.iter().map(|word| expand(word, &known)).collect(), environment }
}

fn expand(text: &str, known: &HashMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            match known.get(name) {
                Some(value) => expanded.push_str(value),
                None => {
                    expanded.push_str("$(");
                    expanded.push_str(name);
                    expanded.push(')');
                }
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::{Work, command};
    use lictor_manifest::Container;

    #[test]
    fn variables_are_put_in_where_they_are_set() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let container = Container {
            command: ["run", "$(A)-$(B)", "$(C)", "$$(A) $", "$(A", "$(POD_IP):80", "$A"].map(str::to_owned).to_vec(),
            env: pairs(&[("A", "a"), ("B", "$(A)b"), ("D", "$(E)"), ("E", "e"), ("HOME", "/x")]),
            ..Container::default()
        };
        let work = command(&container, pairs(&[("HOME", "/root"), ("POD_IP", "10.0.0.1")]));
        let Work::Command { arguments, environment } = work else { panic!("a command") };
        assert_eq!(arguments, ["run", "a-ab", "$(C)", "$(A) $", "$(A", "10.0.0.1:80", "$A"]);
        let wanted = [("POD_IP", "10.0.0.1"), ("A", "a"), ("B", "ab"), ("D", "$(E)"), ("E", "e"), ("HOME", "/x")];
        assert_eq!(environment, pairs(&wanted));
    }
}
