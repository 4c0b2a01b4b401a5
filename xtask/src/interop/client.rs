//! What is asked of a client program that is written on somebody's SPIFFE library.
//!
//! The programs of `tests/interop/go-spiffe` and `tests/interop/rust-clients` take the same words and print one JSON
//! object a line, so one list of checks serves both.

use super::checks::Checks;
use super::lab::{Lab, id, refusal, said};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Where the servers listen in their pod.
const PORT: u16 = 8443;

/// Sources of X.509- and JWT-SVIDs, and mutual TLS both ways, of one library.
pub(super) fn check(lab: &Lab, program: &Path, checks: &mut Checks) -> Result<()> {
    checks.check("X.509 source: the pod's SPIFFE ID, a chain that verifies, three leaves in turn", x509(lab, program));
    checks
        .check("X.509 source: an authority that is prepared and activated arrives by itself", authority(lab, program));
    checks.check("Workload API: a process outside of every pod is refused", outside(lab, program));
    let token = token(lab, program);
    checks
        .check("JWT source: a token of the pod's SPIFFE ID for one audience", token.as_ref().map(drop).map_err(again));
    let token = token?;
    checks.check("JWT-SVID: verified against the bundles, in another pod", verified(lab, program, "verify", &token));
    checks.check("JWT-SVID: validated by the Workload API", verified(lab, program, "validate", &token));
    for form in ["verify", "validate"] {
        checks.check(&format!("JWT-SVID: another audience is refused ({form})"), audience(lab, program, form, &token));
        checks.check(&format!("JWT-SVID: a changed claim is refused ({form})"), forged(lab, program, form, &token));
    }
    mutual_tls(lab, program, program, checks)
}

/// Mutual TLS between two pods, each by its own program.
pub(super) fn mutual_tls(lab: &Lab, client: &Path, server: &Path, checks: &mut Checks) -> Result<()> {
    let listen = format!("0.0.0.0:{PORT}");
    let _server = lab.start("server", server, &["serve", &listen, &id("client")], "listening")?;
    let address = format!("{}:{PORT}", lab.address("server")?);
    let dial =
        |pod: &str, expected: &str, count: &str| lab.exec(pod, client, &["dial", &address, &id(expected), count]);
    let renewed = || {
        let met = lines(&said(&mut dial("client", "server", "20"))?)?;
        ensure!(met.len() == 20, "expected 20 connections, seen {}", met.len());
        let right = |line: &Value| line["peer"] == id("server").as_str() && line["said"] == id("client").as_str();
        ensure!(met.iter().all(right), "expected each side to name the other, seen {met:?}");
        distinct(&met, "serial", 3)
    };
    checks.check(
        "mutual TLS: 20 connections in 20 s, each side knows the other, the server's SVID renews twice",
        renewed(),
    );
    let stranger = || refusal(&mut dial("stranger", "server", "1")).map(drop);
    checks.check("mutual TLS: the server refuses another pod's SVID", stranger());
    let impostor = || names(&refusal(&mut dial("client", "stranger", "1"))?, &["server"]);
    checks.check("mutual TLS: the client refuses a server of another SPIFFE ID", impostor());
    Ok(())
}

fn x509(lab: &Lab, program: &Path) -> Result<()> {
    let states = lines(&said(&mut lab.exec("client", program, &["x509", "3"]))?)?;
    ensure!(states.len() == 3, "expected three states, seen {states:?}");
    let own = id("client");
    let right = |state: &Value| state["id"] == own.as_str() && state["verified"] == own.as_str();
    ensure!(states.iter().all(right), "expected {own}, seen {states:?}");
    distinct(&states, "serial", 3)
}

/// An authority is prepared and activated by hand while the source is open.
fn authority(lab: &Lab, program: &Path) -> Result<()> {
    let before = lines(&said(&mut lab.exec("client", program, &["x509", "1"]))?)?;
    let watched = std::thread::scope(|scope| {
        let watching = scope.spawn(|| said(&mut lab.exec("client", program, &["x509", "3"])));
        for step in ["prepare", "activate"] {
            said(&mut lab.lictor(&["identity", "ca", step]))?;
        }
        watching.join().map_err(|_| anyhow::anyhow!("the watch ended early"))?
    })?;
    let after = lines(&watched)?;
    let count = |states: &[Value]| states.last().and_then(|state| state["authorities"].as_u64());
    let (before, after) = (count(&before).context("no state")?, count(&after).context("no state")?);
    ensure!(after > before, "expected more than {before} authorities, seen {after}");
    Ok(())
}

/// The same call is answered in a pod, so that a refusal outside is not one of everybody.
fn outside(lab: &Lab, program: &Path) -> Result<()> {
    let inside = lines(&said(&mut lab.exec("stranger", program, &["fetch"]))?)?;
    ensure!(inside.first().is_some_and(|line| line["id"] == id("stranger").as_str()), "seen in a pod: {inside:?}");
    let mut command = Command::new(program);
    command.arg("fetch").env("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", lab.socket()));
    names(&refusal(&mut command)?, &["no identity issued"])
}

fn token(lab: &Lab, program: &Path) -> Result<String> {
    let lines = lines(&said(&mut lab.exec("client", program, &["jwt", "an-audience"]))?)?;
    let line = lines.first().context("nothing was printed")?;
    about_the_client(line)?;
    Ok(line["token"].as_str().context("no token")?.to_owned())
}

fn verified(lab: &Lab, program: &Path, form: &str, token: &str) -> Result<()> {
    let lines = lines(&said(&mut lab.exec("server", program, &[form, token, "an-audience"]))?)?;
    about_the_client(lines.first().context("nothing was printed")?)
}

fn about_the_client(line: &Value) -> Result<()> {
    let right = line["id"] == id("client").as_str() && line["audience"] == serde_json::json!(["an-audience"]);
    ensure!(right, "expected {} for an-audience, seen {line}", id("client"));
    Ok(())
}

fn audience(lab: &Lab, program: &Path, form: &str, token: &str) -> Result<()> {
    names(&refusal(&mut lab.exec("server", program, &[form, token, "another"]))?, &["audience"])
}

/// The token with its first claims' bytes changed: the signature does not cover them.
fn forged(lab: &Lab, program: &Path, form: &str, token: &str) -> Result<()> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        anyhow::bail!("expected three parts, seen {token}");
    };
    // A character in the middle of the audience; the claims stay JSON.
    let other = base64_with(claims, "an-audience", "AN-audience")?;
    let forged = format!("{header}.{other}.{signature}");
    refusal(&mut lab.exec("server", program, &[form, &forged, "AN-audience"])).map(drop)
}

/// Base64url text whose content has one word for another, of the same length.
fn base64_with(text: &str, word: &str, other: &str) -> Result<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte).context("expected base64url");
    let mut bits = text.bytes().map(digit).collect::<Result<Vec<_>>>()?;
    let bit = |bits: &[usize], at: usize| bits[at / 6] >> (5 - at % 6) & 1;
    let bytes: Vec<u8> = (0..bits.len() * 6 / 8)
        .map(|byte| {
            (0..8).fold(0, |value, at| value << 1 | u8::try_from(bit(&bits, byte * 8 + at)).unwrap_or_default())
        })
        .collect();
    let at = bytes.windows(word.len()).position(|window| window == word.as_bytes()).context("the word is not there")?;
    for (offset, byte) in other.bytes().enumerate() {
        for position in 0..8 {
            let place = (at + offset) * 8 + position;
            let mask = 1 << (5 - place % 6);
            bits[place / 6] =
                if byte >> (7 - position) & 1 == 1 { bits[place / 6] | mask } else { bits[place / 6] & !mask };
        }
    }
    Ok(bits.iter().map(|digit| char::from(DIGITS[*digit])).collect())
}

/// The JSON objects of an output, one a line; other lines are none of the program's.
pub(super) fn lines(text: &str) -> Result<Vec<Value>> {
    let found: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    ensure!(!found.is_empty(), "expected JSON lines, seen {text}");
    Ok(found)
}

/// That lines have at least so many different values of a member.
pub(super) fn distinct(lines: &[Value], member: &str, least: usize) -> Result<()> {
    let values: BTreeSet<&str> = lines.iter().filter_map(|line| line[member].as_str()).collect();
    ensure!(values.len() >= least, "expected {least} different values of {member}, seen {values:?}");
    Ok(())
}

/// That a text has these words in it, whatever their case.
pub(super) fn names(text: &str, words: &[&str]) -> Result<()> {
    let lower = text.to_lowercase();
    for word in words {
        ensure!(lower.contains(&word.to_lowercase()), "expected `{word}` in: {text}");
    }
    Ok(())
}

fn again(error: &anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

#[cfg(test)]
mod tests {
    use super::base64_with;

    #[test]
    fn a_word_in_base64url_is_changed_and_nothing_else() {
        // {"aud":["an-audience"],"x":1} and the same with AN-audience.
        let before = "eyJhdWQiOlsiYW4tYXVkaWVuY2UiXSwieCI6MX0";
        let after = "eyJhdWQiOlsiQU4tYXVkaWVuY2UiXSwieCI6MX0";
        assert_eq!(base64_with(before, "an-audience", "AN-audience").expect("base64url"), after);
        assert!(base64_with(before, "nowhere", "NOWHERE").is_err());
    }
}
