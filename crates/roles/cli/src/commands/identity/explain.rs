//! `lictor identity x509` and `jwt`: what a certificate or token says, and what it proves.

use crate::cli::{Globals, Output};
use crate::output;
use anyhow::{Context, Result, bail};
use clap::Args;
use lictor_model::TrustDomain;
use lictor_pki::{Bundle, CertificateFacts, TokenFacts, Usage, unix_time, verify, verify_token};
use lictor_report::{CertificateExplained, ChainExplained, Proof, TokenExplained};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use time::OffsetDateTime;

/// The longest text that is read as a token.
const LONGEST: u64 = 1 << 20;

/// Explain certificates, leaf first.
#[derive(Debug, Args)]
pub(super) struct X509 {
    /// A PEM file, or one certificate as DER
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    judge: Judge,
    #[command(flatten)]
    output: Output,
}

/// Explain a token.
#[derive(Debug, Args)]
pub(super) struct Jwt {
    /// The token, a file that has it, or - for the standard input
    #[arg(value_name = "TOKEN|FILE")]
    token: String,
    /// For whom it has to be meant; needed with --bundle
    #[arg(long, requires = "bundle", value_name = "AUDIENCE")]
    audience: Option<String>,
    #[command(flatten)]
    judge: Judge,
    #[command(flatten)]
    output: Output,
}

/// Whom to believe.
#[derive(Debug, Args)]
struct Judge {
    /// The bundle that judges who signed it: a JWK set, or for certificates a PEM file
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Whose bundle it is; that of the identity in question, if nobody is named
    #[arg(long, requires = "bundle", value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
}

impl Judge {
    /// The bundle, if there is one to judge by; `claimed` is the identity in question.
    fn bundle(&self, claimed: Option<&str>) -> Result<Option<Bundle>> {
        let Some(file) = &self.bundle else { return Ok(None) };
        let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let claimed = || claimed?.strip_prefix("spiffe://")?.split('/').next()?.parse().ok();
        let Some(domain) = self.trust_domain.clone().or_else(claimed) else {
            bail!("it names no trust domain; say by --trust-domain whose bundle {} is", file.display())
        };
        let bundle = match std::str::from_utf8(&text).ok().filter(|text| text.contains("-----BEGIN")) {
            Some(pem) => Bundle::from_pem(domain, pem).with_context(|| file.display().to_string())?,
            None => Bundle::from_jwks(domain, &text).with_context(|| file.display().to_string())?.bundle,
        };
        Ok(Some(bundle))
    }
}

pub(super) fn x509(words: &X509, globals: &Globals) -> Result<ExitCode> {
    let chain = certificates(&words.file)?;
    let certificates = chain.iter().map(explained).collect::<Result<Vec<_>>>()?;
    let claimed = certificates.first().and_then(|leaf| leaf.names.iter().find_map(|name| name.strip_prefix("URI:")));
    let now = unix_time(OffsetDateTime::now_utc());
    let proof = match words.judge.bundle(claimed)? {
        None => Proof::NotJudged,
        Some(bundle) => match verify(&chain, &bundle, now, Usage::Client) {
            Ok(id) => Proof::Proves(id),
            Err(error) => Proof::ProvesNothing(error.to_string()),
        },
    };
    let faulty = certificates.iter().any(|certificate| certificate.fault.is_some());
    let code = code(&proof, faulty);
    let (format, chain) = (words.output.output, ChainExplained { certificates, proof });
    output::print(&lictor_report::chain(&chain, format, output::style(globals, format))?)?;
    Ok(code)
}

pub(super) fn jwt(words: &Jwt, globals: &Globals) -> Result<ExitCode> {
    let text = text_or_file(&words.token)?;
    let TokenFacts { algorithm, key_id, claims, fault } = TokenFacts::of(&text)?;
    let bundle = words.judge.bundle(claims.get("sub").and_then(|subject| subject.as_str()))?;
    let proof = match (bundle, &words.audience) {
        (None, _) => Proof::NotJudged,
        (Some(_), None) => bail!("a token is meant for somebody: say by --audience who is to believe it"),
        (Some(bundle), Some(audience)) => {
            match verify_token(&text, &bundle, audience, unix_time(OffsetDateTime::now_utc())) {
                Ok(svid) => Proof::Proves(svid.id),
                Err(error) => Proof::ProvesNothing(error.to_string()),
            }
        }
    };
    let code = code(&proof, fault.is_some());
    let (format, token) = (words.output.output, TokenExplained { algorithm, key_id, claims, fault, proof });
    output::print(&lictor_report::token(&token, format, output::style(globals, format))?)?;
    Ok(code)
}

/// 1 for what breaks a rule or proves nothing.
fn code(proof: &Proof, faulty: bool) -> ExitCode {
    ExitCode::from(u8::from(faulty || matches!(proof, Proof::ProvesNothing(_))))
}

fn explained(certificate: &CertificateDer<'_>) -> Result<CertificateExplained> {
    let facts = CertificateFacts::of(certificate)?;
    Ok(CertificateExplained {
        authority: facts.is_authority,
        subject: facts.subject,
        issuer: facts.issuer,
        serial: facts.serial,
        names: facts.names,
        not_before: facts.not_before,
        not_after: facts.not_after,
        key: facts.key,
        usages: facts.usages,
        fault: facts.fault,
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.into()]);
    }
    let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is no PEM file", file.display()))?;
    if found.is_empty() {
        bail!("expected certificates in {}, saw none", file.display());
    }
    Ok(found)
}

/// The text itself, that of the file of this name, or the standard input's for `-`.
pub(super) fn text_or_file(word: &str) -> Result<String> {
    let mut text = String::new();
    if word == "-" {
        std::io::stdin().take(LONGEST).read_to_string(&mut text).context("cannot read the standard input")?;
    } else if word.split('.').count() == 3 && !Path::new(word).exists() {
        word.clone_into(&mut text);
    } else {
        let file =
            std::fs::File::open(word).with_context(|| format!("expected a token or a file that has one: {word}"))?;
        file.take(LONGEST).read_to_string(&mut text).with_context(|| format!("cannot read {word}"))?;
    }
    Ok(text.trim().to_owned())
}
