//! Tokens and nodes as a document: what a store seals. No text of a token is in it, only digests.

use super::{Node, State, Token};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_pki::SecretDigest;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

const FORMAT: &str = "lictor-members/1";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    format: String,
    tokens: Vec<SavedToken>,
    nodes: Vec<SavedNode>,
}

/// Times in Unix seconds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SavedToken {
    /// SHA-256 of the token, in base64.
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    made: i64,
    expires: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SavedNode {
    name: String,
    joined: i64,
    token: String,
    serials: Vec<String>,
    not_after: i64,
}

pub(super) fn document(state: &State) -> Result<Vec<u8>, serde_json::Error> {
    let token = |(digest, token): (&SecretDigest, &Token)| SavedToken {
        digest: STANDARD.encode(digest.octets()),
        node: token.node.as_ref().map(ToString::to_string),
        made: token.made.unix_timestamp(),
        expires: token.expires.unix_timestamp(),
    };
    let node = |(name, node): (&_, &Node)| SavedNode {
        name: ToString::to_string(name),
        joined: node.joined.unix_timestamp(),
        token: node.token.clone(),
        serials: node.serials.clone(),
        not_after: node.not_after.unix_timestamp(),
    };
    serde_json::to_vec(&Document {
        format: FORMAT.to_owned(),
        tokens: state.tokens.iter().map(token).collect(),
        nodes: state.nodes.iter().map(node).collect(),
    })
}

pub(super) fn read(document: &[u8]) -> Result<State, String> {
    let Document { format, tokens, nodes } = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    if format != FORMAT {
        return Err(format!("saw {format}"));
    }
    let tokens = tokens.into_iter().map(|saved| {
        let octets = STANDARD.decode(&saved.digest).ok().and_then(|octets| octets.try_into().ok());
        let digest = SecretDigest::from_octets(octets.ok_or("expected a digest of 32 octets")?);
        let node = saved.node.map(|name| name.parse()).transpose().map_err(|error| format!("a token: {error}"))?;
        Ok((digest, Token { node, made: time(saved.made)?, expires: time(saved.expires)? }))
    });
    let nodes = nodes.into_iter().map(|saved| {
        let SavedNode { name, joined, token, serials, not_after } = saved;
        let name = name.parse().map_err(|error| format!("node {name}: {error}"))?;
        Ok((name, Node { joined: time(joined)?, token, serials, not_after: time(not_after)? }))
    });
    Ok(State { tokens: tokens.collect::<Result<_, String>>()?, nodes: nodes.collect::<Result<_, String>>()? })
}

fn time(seconds: i64) -> Result<OffsetDateTime, String> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| error.to_string())
}
