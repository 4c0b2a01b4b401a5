//! What OPA refuses and the interpreter lets pass until it is asked, or for good.
//!
//! Each of these would be a hole: a call that fails is undefined, and `not` of it is true. Functions that call each other in a
//! circle would end the process.
//!
//! Source: OPA, `ast/compile.go` (recursion, conflicts of rules) and `ast/check.go` (functions and their arguments).

use crate::builtins;
use crate::module::Refusal;
use crate::walk;
use regorus::unstable::{BUILTINS, Expr, Module, Rule, RuleHead, Span};
use std::collections::{BTreeMap, BTreeSet};

/// The functions of a set of modules: path (`data.lib.is_ok`) and number of arguments.
type Functions = BTreeMap<String, BTreeSet<usize>>;

/// The first thing that is wrong with a set of modules, each of which the interpreter has parsed.
pub(crate) fn check(modules: &[&Module]) -> Result<(), Refusal> {
    let functions = functions(modules);
    keywords(modules)?;
    defaults(modules)?;
    calls(modules, &functions)?;
    circles(modules, &functions)
}

/// The full path of every rule, a partial one by what stands before its brackets.
pub(crate) fn rules(module: &Module) -> impl Iterator<Item = String> + '_ {
    let package = package(module);
    module.policy.iter().filter_map(move |rule| Some(format!("{package}.{}", head(rule)?)))
}

fn functions(modules: &[&Module]) -> Functions {
    let mut functions = Functions::new();
    for module in modules {
        for rule in &module.policy {
            let arguments = match &**rule {
                Rule::Spec { head: RuleHead::Func { args, .. }, .. } => args.len(),
                Rule::Default { args, .. } if !args.is_empty() => args.len(),
                _ => continue,
            };
            if let Some(name) = head(rule) {
                functions.entry(format!("{}.{name}", package(module))).or_default().insert(arguments);
            }
        }
    }
    functions
}

/// The keywords that the interpreter has, of those that have to be imported.
const KEYWORDS: [&str; 4] = ["contains", "every", "if", "in"];

/// A keyword that is imported is known: without it, the same text says something else.
fn keywords(modules: &[&Module]) -> Result<(), Refusal> {
    for (at, module) in modules.iter().enumerate() {
        for import in &module.imports {
            let name = path(&import.refr).unwrap_or_default();
            let refused = |message| Err(refusal(at, start(&import.refr), message));
            if let Some(keyword) = name.strip_prefix("future.keywords.")
                && !KEYWORDS.contains(&keyword)
            {
                return refused(format!("expected one of the keywords {}, found {keyword}", KEYWORDS.join(", ")));
            }
            if name.starts_with("rego.") && name != "rego.v1" {
                return refused(format!("expected the language rego.v1, found {name}"));
            }
        }
    }
    Ok(())
}

/// A rule has one default at most.
fn defaults(modules: &[&Module]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for (at, module) in modules.iter().enumerate() {
        for rule in module.policy.iter().filter(|rule| matches!(&***rule, Rule::Default { .. })) {
            let Some(name) = head(rule) else { continue };
            if !seen.insert(format!("{}.{name}", package(module))) {
                return Err(refusal(at, rule.span(), format!("expected one default of {name}, found another")));
            }
        }
    }
    Ok(())
}

/// Every function that is called is there and takes as many arguments, or one more for its result.
fn calls(modules: &[&Module], functions: &Functions) -> Result<(), Refusal> {
    for (at, module) in modules.iter().enumerate() {
        let (mut wrong, mut called) = (None, BTreeSet::new());
        walk::module(module, &mut |expression| {
            let message = match expression {
                Expr::Call { fcn, params, .. } => {
                    called.insert(std::ptr::from_ref::<Expr>(fcn));
                    call(module, fcn, params.len(), functions).map(|message| (&**fcn, message))
                }
                other if called.contains(&std::ptr::from_ref(other)) => None,
                other => mention(other).map(|message| (other, message)),
            };
            if wrong.is_none()
                && let Some((place, message)) = message
            {
                wrong = Some(refusal(at, start(place), message));
            }
        });
        wrong.map_or(Ok(()), Err)?;
    }
    Ok(())
}

fn call(module: &Module, function: &Expr, given: usize, functions: &Functions) -> Option<String> {
    let Some(name) = path(function) else { return Some("expected the name of a function".to_owned()) };
    if name == "print" {
        return None;
    }
    let wanted: BTreeSet<usize> = match callee(module, &name, functions) {
        Some((_, arguments)) => arguments.clone(),
        // Whatever `walk` gives is lost in the interpreter where it is a value: no rule would find anything.
        None if name == "walk" && given != 2 => {
            return Some(format!("expected walk(x, [path, value]), found {given} arguments of walk"));
        }
        None => match BUILTINS.get(&*name) {
            // The interpreter itself counts those that take any number.
            Some((_, 0)) => return None,
            Some((_, arguments)) => BTreeSet::from([usize::from(*arguments)]),
            None => match builtins::arguments(&name) {
                Some(arguments) if given == arguments => return None,
                // The interpreter gives no place for the result of these.
                Some(1) => {
                    return Some(format!("expected {name} with 1 argument and its result assigned, found {given}"));
                }
                Some(wanted) => {
                    return Some(format!(
                        "expected {name} with {wanted} arguments and its result assigned, found {given}"
                    ));
                }
                None => return Some(format!("expected a function that there is, found {name}")),
            },
        },
    };
    let fits = wanted.iter().any(|wanted| given == *wanted || given == wanted + 1);
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    (!fits).then(|| format!("expected {} arguments of {name}, found {given}", wanted.join(" or ")))
}

/// A function that the interpreter has not is called, and nothing else: it cannot be put in another one's place, nor another
/// one in its.
fn mention(expression: &Expr) -> Option<String> {
    let Expr::RefDot { .. } = expression else { return None };
    let name =
        path(expression).filter(|name| builtins::arguments(name).is_some() && !BUILTINS.contains_key(&**name))?;
    Some(format!("expected a call of {name}"))
}

/// The function of the modules that a name means in one of them.
fn callee<'f>(module: &Module, name: &str, functions: &'f Functions) -> Option<(&'f String, &'f BTreeSet<usize>)> {
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    let imported = module.imports.iter().find_map(|import| {
        let imported = path(&import.refr)?;
        let alias = import.r#as.as_ref().map_or_else(|| imported.rsplit('.').next(), |alias| Some(alias.text()))?;
        let full = if rest.is_empty() { imported.clone() } else { format!("{imported}.{rest}") };
        (alias == first).then_some(full)
    });
    let full = match imported {
        Some(full) => full,
        None if first == "data" => name.to_owned(),
        None => format!("{}.{name}", package(module)),
    };
    functions.get_key_value(&full)
}

/// No function comes to itself by calls alone. (A circle that goes through a rule is found when it is asked.)
fn circles(modules: &[&Module], functions: &Functions) -> Result<(), Refusal> {
    let mut edges: BTreeMap<String, BTreeSet<&String>> = BTreeMap::new();
    let mut places: BTreeMap<String, (usize, &Span)> = BTreeMap::new();
    for (at, module) in modules.iter().enumerate() {
        for rule in &module.policy {
            let Some(name) = head(rule).map(|name| format!("{}.{name}", package(module))) else { continue };
            if !functions.contains_key(&name) {
                continue;
            }
            places.entry(name.clone()).or_insert((at, rule.span()));
            let called = edges.entry(name).or_default();
            walk::rule(rule, &mut |expression, _| {
                if let Expr::Call { fcn, .. } = expression
                    && let Some((callee, _)) = path(fcn).and_then(|name| callee(module, &name, functions))
                {
                    called.insert(callee);
                }
            });
        }
    }
    for (name, (at, span)) in &places {
        let (mut reached, mut next) = (BTreeSet::new(), vec![name]);
        while let Some(function) = next.pop() {
            for called in edges.get(function).into_iter().flatten() {
                if *called == name {
                    return Err(refusal(
                        *at,
                        span,
                        format!("expected no recursion, found that {name} comes to itself"),
                    ));
                }
                if reached.insert(*called) {
                    next.push(called);
                }
            }
        }
    }
    Ok(())
}

fn package(module: &Module) -> String {
    let name = path(&module.package.refr).unwrap_or_default();
    if name == "data" || name.starts_with("data.") { name } else { format!("data.{name}") }
}

/// The name of a rule below its package, up to the first bracket.
fn head(rule: &Rule) -> Option<String> {
    let refr = match rule {
        Rule::Spec {
            head: RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. },
            ..
        }
        | Rule::Default { refr, .. } => refr,
    };
    let mut refr: &Expr = refr;
    loop {
        match refr {
            Expr::RefBrack { refr: inner, .. } => refr = inner,
            other => return path(other),
        }
    }
}

/// A reference of names alone, with dots.
fn path(reference: &Expr) -> Option<String> {
    match reference {
        Expr::Var { span, .. } => Some(span.text().to_owned()),
        Expr::RefDot { refr, field: (span, _), .. } => Some(format!("{}.{}", path(refr)?, span.text())),
        Expr::RefBrack { refr, index, .. } => match &**index {
            Expr::String { value, .. } => Some(format!("{}.{}", path(refr)?, value.as_string().ok()?)),
            _ => None,
        },
        _ => None,
    }
}

fn start(expression: &Expr) -> &Span {
    match expression {
        Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => start(refr),
        other => other.span(),
    }
}

fn refusal(module: usize, span: &Span, message: String) -> Refusal {
    Refusal { module, line: span.line, column: span.col, message }
}
