//! `lictor identity fetch` and `watch`.

use super::files::{certificates, write, write_x509};
use super::{Socket, asking, refusal, runtime};
use crate::cli::{Globals, Output};
use crate::output;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use lictor_pki::CertificateFacts;
use lictor_report::SvidLine;
use lictor_wire::workload::{JwtsvidRequest, X509BundlesRequest, X509svidRequest, X509svidResponse};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to fetch.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  lictor exec shop/api -- lictor identity fetch x509
  lictor identity fetch x509 --socket unix:/run/spire/agent.sock --write certs
  lictor exec shop/api -- lictor identity fetch jwt --audience db")]
pub(in super::super) enum What {
    /// The X509-SVIDs of the calling process
    X509(X509),
    /// Tokens of the calling process
    Jwt(Jwt),
    /// The bundles that the calling process believes, as PEM
    Bundle(Bundle),
}

#[derive(Debug, Args)]
pub(in super::super) struct X509 {
    #[command(flatten)]
    socket: Socket,
    /// Write chain, key and bundle of each into this folder, as svid.0.pem, svid.0.key, bundle.0.pem and so on
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(in super::super) struct Jwt {
    #[command(flatten)]
    socket: Socket,
    /// For whom the token is meant; may be repeated
    #[arg(long, required = true, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// The identity that it is to prove; all that the process has, if none is named
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<lictor_model::SpiffeId>,
    /// Write each token into this folder, as jwt_svid.0.token and so on, instead of printing it
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Form of the output: table (the tokens alone, a line each), json or yaml
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(in super::super) struct Bundle {
    #[command(flatten)]
    socket: Socket,
}

pub(in super::super) fn run(what: &What, globals: &Globals) -> Result<ExitCode> {
    runtime()?.block_on(async {
        match what {
            What::X509(words) => x509(words, globals, false).await,
            What::Jwt(words) => jwt(words).await,
            What::Bundle(words) => bundle(words).await,
        }
    })
}

/// `lictor identity watch`: the same for as long as the stream lasts.
pub(in super::super) fn watch(words: &X509, globals: &Globals) -> Result<ExitCode> {
    runtime()?.block_on(x509(words, globals, true))
}

async fn x509(words: &X509, globals: &Globals, follow: bool) -> Result<ExitCode> {
    let mut api = words.socket.connect().await?;
    let mut states =
        api.fetch_x509svid(asking(X509svidRequest {})).await.map_err(|status| refusal(&status))?.into_inner();
    loop {
        let state = states.message().await.map_err(|status| refusal(&status))?;
        let state = state.context("the Workload API ended its answer")?;
        let format = words.output.output;
        let lines = state.svids.iter().map(line).collect::<Result<Vec<_>>>()?;
        output::print(&lictor_report::svids(&lines, format, output::style(globals, format))?)?;
        written(words, &state)?;
        if !follow {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn written(words: &X509, state: &X509svidResponse) -> Result<()> {
    let Some(folder) = &words.write else { return Ok(()) };
    for path in write_x509(folder, state)? {
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

fn line(svid: &lictor_wire::workload::X509svid) -> Result<SvidLine> {
    let chain = certificates(&svid.x509_svid)?;
    let Some(leaf) = chain.first() else { bail!("the Workload API sent no certificate for {}", svid.spiffe_id) };
    let facts = CertificateFacts::of(leaf)?;
    Ok(SvidLine {
        id: svid.spiffe_id.clone(),
        hint: svid.hint.clone(),
        serial: facts.serial,
        not_before: facts.not_before,
        not_after: facts.not_after,
        certificates: chain.len(),
        authorities: certificates(&svid.bundle)?.len(),
    })
}

async fn jwt(words: &Jwt) -> Result<ExitCode> {
    let spiffe_id = words.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let request = asking(JwtsvidRequest { audience: words.audience.clone(), spiffe_id });
    let answer = words.socket.connect().await?.fetch_jwtsvid(request).await.map_err(|status| refusal(&status))?;
    let svids = answer.into_inner().svids;
    if let Some(folder) = &words.write {
        for (at, svid) in svids.iter().enumerate() {
            let path = write(folder, &format!("jwt_svid.{at}.token"), svid.svid.as_bytes(), 0o600)?;
            eprintln!("wrote {}", path.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let all: Vec<_> =
        svids.iter().map(|svid| json!({"spiffeId": svid.spiffe_id, "hint": svid.hint, "token": svid.svid})).collect();
    let text = match words.output.output.document(&all)? {
        Some(document) => document,
        None => svids.iter().map(|svid| format!("{}\n", svid.svid)).collect(),
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn bundle(words: &Bundle) -> Result<ExitCode> {
    let mut api = words.socket.connect().await?;
    let answer = api.fetch_x509_bundles(asking(X509BundlesRequest {})).await.map_err(|status| refusal(&status))?;
    let bundles = answer.into_inner().message().await.map_err(|status| refusal(&status))?;
    let mut bundles: Vec<_> = bundles.context("the Workload API ended its answer")?.bundles.into_iter().collect();
    bundles.sort();
    for (trust_domain, der) in bundles {
        output::print(&format!("# {trust_domain}\n{}", lictor_pki::certificates_to_pem(&certificates(&der)?)))?;
    }
    Ok(ExitCode::SUCCESS)
}
