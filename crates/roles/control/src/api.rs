//! What an operator asks of control, by the routes of a lab: authorities, the bundle, join tokens, nodes.

use crate::Desk;
use http::{Method, StatusCode};
use lictor_identity::control::{NodeName, NodeStatus, TokenStatus};
use lictor_lab::api::{Answer, Query, form, of_authorities, own_bundle, rendered};
use lictor_report::{MadeToken, NodeLine, TokenLine};
use time::Duration;

/// Answers a request.
pub(crate) fn answer(method: &Method, path: &str, query: &Query, desk: &Desk) -> Answer {
    let answered = match (method.as_str(), path) {
        ("GET", "/v1/bundles") => Some(own_bundle(query, desk.ca.keyring())),
        ("GET", "/v1/identity/tokens") => Some(tokens(query, desk)),
        ("POST", "/v1/identity/tokens") => Some(generate(query, desk)),
        ("DELETE", "/v1/identity/tokens") => Some(revoke(query, desk)),
        ("GET", "/v1/identity/nodes") => Some(nodes(query, desk)),
        ("DELETE", "/v1/identity/nodes") => Some(evict(query, desk)),
        ("POST", "/v1/shutdown") => {
            desk.stop.send_replace(true);
            Some(Answer::new("", 0))
        }
        (_, path) => {
            path.strip_prefix("/v1/identity/ca").and_then(|step| of_authorities(method, step, query, &desk.ca))
        }
    };
    let text = || format!("control does not answer {method} {path}; a lab does");
    answered.unwrap_or_else(|| Answer { status: StatusCode::NOT_FOUND, text: text(), exit_code: 2 })
}

fn generate(query: &Query, desk: &Desk) -> Answer {
    let node = match query.text("node").map(str::parse::<NodeName>).transpose() {
        Ok(node) => node,
        Err(error) => return Answer::refused(error.to_string()),
    };
    let Some(seconds) = query.number::<i64>("ttl") else { return Answer::refused("expected seconds as `ttl`") };
    match desk.members.generate(node, Duration::seconds(seconds)) {
        Ok((secret, status)) => {
            let made = MadeToken { token: secret.text().to_owned(), line: token_line(status) };
            rendered(lictor_report::made_token(&made, form(query).0), 0)
        }
        Err(error) => Answer::refused(error.to_string()),
    }
}

fn tokens(query: &Query, desk: &Desk) -> Answer {
    let lines: Vec<TokenLine> = desk.members.tokens().into_iter().map(token_line).collect();
    let (format, style) = form(query);
    rendered(lictor_report::tokens(&lines, format, style), 0)
}

fn token_line(TokenStatus { id, node, expires, .. }: TokenStatus) -> TokenLine {
    TokenLine { id, node: node.map(|node| node.to_string()), expires }
}

fn revoke(query: &Query, desk: &Desk) -> Answer {
    let Some(id) = query.text("id") else { return Answer::refused("expected a token as `id`") };
    match desk.members.revoke(id) {
        Ok(true) => Answer::new(format!("join token {id} is revoked\n"), 0),
        Ok(false) => Answer::refused(format!("there is no join token {id} that waits to be used")),
        Err(error) => Answer::refused(error.to_string()),
    }
}

fn nodes(query: &Query, desk: &Desk) -> Answer {
    let line = |NodeStatus { name, joined, token, not_after }: NodeStatus| NodeLine {
        node: name.to_string(),
        joined,
        token,
        not_after,
    };
    let lines: Vec<NodeLine> = desk.members.nodes().into_iter().map(line).collect();
    let (format, style) = form(query);
    rendered(lictor_report::nodes(&lines, format, style), 0)
}

fn evict(query: &Query, desk: &Desk) -> Answer {
    let node = match query.text("node").unwrap_or_default().parse::<NodeName>() {
        Ok(node) => node,
        Err(error) => return Answer::refused(error.to_string()),
    };
    match desk.members.evict(&node) {
        Ok(true) => Answer::new(format!("node {node} is evicted; it needs a new join token\n"), 0),
        Ok(false) => Answer::refused(format!("node {node} has not joined")),
        Err(error) => Answer::refused(error.to_string()),
    }
}
