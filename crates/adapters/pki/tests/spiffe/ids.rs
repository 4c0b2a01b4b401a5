//! `ids.json`: texts that are SPIFFE IDs or trust domains, and texts that are none.

use crate::{Vectors, compare};
use lictor_model::{SpiffeId, TrustDomain};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// Read as a SPIFFE ID; `{x*3}` stands for `xxx`.
    id: Option<String>,
    /// Read as the name of a trust domain alone.
    domain: Option<String>,
    /// Its trust domain and its path, if it is one.
    parts: Option<[String; 2]>,
    refused: Option<String>,
}

#[test]
fn texts_are_identities_or_refused() {
    Vectors::read("ids.json").run(|case: &Case| {
        let parts = case.parts.as_ref().map(|parts| parts.each_ref().map(|part| expanded(part)));
        let seen = match (&case.id, &case.domain) {
            (Some(id), None) => expanded(id).parse::<SpiffeId>().map(|id| {
                // What is an identity is that very text.
                assert_eq!(id.as_str().parse::<SpiffeId>(), Ok(id.clone()));
                [id.trust_domain().to_string(), id.path().to_owned()]
            }),
            (None, Some(domain)) => {
                expanded(domain).parse::<TrustDomain>().map(|name| [name.to_string(), String::new()])
            }
            _ => return Err("expected an id or a domain".to_owned()),
        };
        compare(seen, parts, case.refused.as_deref())
    });
}

fn expanded(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, inside, after)) = rest
        .split_once('{')
        .and_then(|(before, rest)| rest.split_once('}').map(|(inside, after)| (before, inside, after)))
        .filter(|(_, inside, _)| inside.contains('*'))
    {
        let (repeated, count) = inside.split_once('*').expect("a star");
        out.push_str(before);
        out.push_str(&repeated.repeat(count.parse().expect("a count")));
        rest = after;
    }
    out + rest
}
