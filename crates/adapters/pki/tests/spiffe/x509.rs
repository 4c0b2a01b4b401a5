//! `leaves.json` and `paths.json`: what a chain of certificates proves to whoever believes a bundle.

use crate::certificate::Certificate;
use crate::{DOMAIN, Vectors, at, but, compare};
use lictor_pki::{Bundle, Usage, verify};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// How the leaf differs from the proper one.
    #[serde(default)]
    leaf: Map<String, Value>,
    /// How authorities differ from a proper one, by name; each is signed by one before it, or by itself.
    #[serde(default)]
    authorities: Vec<Map<String, Value>>,
    /// Who is in the bundle, by name; `root` if the case says nothing. `leaf` is the leaf.
    bundle: Option<Vec<String>>,
    /// Whose bundle it is.
    bundle_of: Option<String>,
    /// What the peer shows after its leaf, by name.
    #[serde(default)]
    shown: Vec<String>,
    /// Nothing at all is shown.
    #[serde(default)]
    silent: bool,
    /// The peer accepted the connection, instead of having opened it.
    #[serde(default)]
    server: bool,
    /// When it is judged.
    #[serde(default)]
    at: i64,
    proves: Option<String>,
    refused: Option<String>,
}

#[test]
fn leaves_prove_their_one_name_or_nothing() {
    run("leaves.json");
}

#[test]
fn paths_lead_to_an_authority_of_the_trust_domain() {
    run("paths.json");
}

fn run(file: &'static str) {
    let vectors = Vectors::read(file);
    let (leaf, authority) = (vectors.proper("leaf"), vectors.proper("authority"));
    vectors.run(|case: &Case| {
        let made = make(case, &leaf, &authority)?;
        let find = |name: &String| {
            let found = made.iter().find(|(known, _)| known == name);
            found.map(|(_, der)| der.clone()).ok_or_else(|| format!("no certificate is called {name}"))
        };
        let believed = case.bundle.clone().unwrap_or_else(|| vec!["root".to_owned()]);
        let believed = believed.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let domain = case.bundle_of.as_deref().unwrap_or(DOMAIN).parse().expect("a trust domain");
        let bundle = match Bundle::new(domain, believed, 1) {
            Ok(bundle) => bundle,
            Err(error) => return compare(Err(error), case.proves.clone(), case.refused.as_deref()),
        };
        let mut chain = vec![find(&"leaf".to_owned())?];
        chain.extend(case.shown.iter().map(find).collect::<Result<Vec<_>, _>>()?);
        if case.silent {
            chain.clear();
        }
        let usage = if case.server { Usage::Server } else { Usage::Client };
        let seen = verify(&chain, &bundle, at(case.at), usage).map(|id| id.to_string());
        compare(seen, case.proves.clone(), case.refused.as_deref())
    });
}

/// Every certificate of the case, by name.
fn make(
    case: &Case,
    leaf: &Map<String, Value>,
    authority: &Map<String, Value>,
) -> Result<Vec<(String, CertificateDer<'static>)>, String> {
    let mut authorities: Vec<(String, Certificate)> = Vec::new();
    let mut made = Vec::new();
    let root = Map::from_iter([("name".to_owned(), Value::from("root"))]);
    let described = if case.authorities.is_empty() { &vec![root] } else { &case.authorities };
    for changes in described {
        let mut whole = but(authority.clone(), changes);
        let name = whole.remove("name").and_then(|name| name.as_str().map(str::to_owned)).ok_or("no name")?;
        let certificate: Certificate = read(whole)?;
        made.push((name.clone(), certificate.make(issuer(&certificate, &authorities)?)));
        authorities.push((name, certificate));
    }
    let leaf: Certificate = read(but(leaf.clone(), &case.leaf))?;
    made.push(("leaf".to_owned(), leaf.make(issuer(&leaf, &authorities)?)));
    Ok(made)
}

fn read(members: Map<String, Value>) -> Result<Certificate, String> {
    serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())
}

fn issuer<'a>(
    certificate: &Certificate,
    authorities: &'a [(String, Certificate)],
) -> Result<Option<&'a Certificate>, String> {
    let Some(name) = &certificate.signed_by else { return Ok(None) };
    let found = authorities.iter().find(|(known, _)| known == name);
    found.map(|(_, certificate)| Some(certificate)).ok_or_else(|| format!("no authority is called {name}"))
}
