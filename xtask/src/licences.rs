//! Licences and banned crates of everything that is shipped; `deny.toml` says the same to cargo-deny.

use crate::cargo::{cargo, root};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

const ALLOWED: [&str; 9] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

const BANNED: [&str; 5] = ["ring", "openssl-sys", "native-tls", "serde_yaml", "rustables"];

/// Fails with every package that breaks a rule.
pub(crate) fn check() -> Result<()> {
    // `cargo tree` and not `cargo metadata`: only the former leaves out what weak features do not switch on.
    let args = ["tree", "--workspace", "--locked", "-e", "normal,build", "--prefix", "none", "--format", "{p}|{l}"];
    let output = cargo(&args).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let shipped: BTreeSet<(&str, &str)> = text.lines().filter_map(|line| line.split_once('|')).collect();
    ensure!(!shipped.is_empty(), "cargo tree printed no package");
    let mut wrong = Vec::new();
    for (package, licence) in &shipped {
        let name = package.split(' ').next().unwrap_or(package);
        if BANNED.contains(&name) {
            wrong.push(format!("{name} is banned"));
        }
        if !allowed(licence.trim_end_matches(" (*)")) {
            wrong.push(format!("{name}: licence `{licence}` is not allowed"));
        }
    }
    let deny = std::fs::read_to_string(root().join("deny.toml")).context("cannot read deny.toml")?;
    for word in ALLOWED.iter().chain(&BANNED) {
        if !deny.contains(&format!("\"{word}\"")) {
            wrong.push(format!("deny.toml does not name `{word}`"));
        }
    }
    wrong.sort();
    ensure!(wrong.is_empty(), "licences and bans:\n  {}", wrong.join("\n  "));
    println!("licences: {} packages, all allowed, none banned", shipped.len());
    Ok(())
}

/// Whether an SPDX expression can be met with allowed licences only.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any_of(&words, &mut at);
    met && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize) -> bool {
    let mut met = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(words, at);
    }
    met
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut met = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at);
    }
    met
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = any_of(words, at);
        *at += usize::from(words.get(*at) == Some(&")"));
        return met;
    }
    let mut licence = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        licence = [word, "WITH", words.get(*at + 1).copied().unwrap_or_default()].join(" ");
        *at += 2;
    }
    ALLOWED.contains(&licence.as_str())
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn an_expression_is_met_by_one_allowed_way() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT OR GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("MIT/Apache-2.0", true),
            ("(GPL-2.0 OR MIT) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("GPL-3.0", false),
            ("", false),
        ] {
            assert_eq!(allowed(expression), expected, "{expression}");
        }
    }
}
