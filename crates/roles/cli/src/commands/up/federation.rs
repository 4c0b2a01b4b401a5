//! The options of `lictor up` that are about other trust domains.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lictor_identity::federation::{EndpointUrl, Issuer, Profile, Relation, Roots};
use lictor_lab::{EndpointOptions, EndpointProfile, FederationOptions, read_bundle};
use lictor_model::{SpiffeId, TrustDomain};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// How often others should ask for the bundle, where nothing is said.
const REFRESH: Duration = Duration::from_secs(5 * 60);

/// Federation with other trust domains.
// Two groups of options cannot have one name, which is that of the type.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Words {
    /// Fetch another trust domain's bundle, for the pods whose entries federate with it, from a URL: profile=https_web (with ca=FILE instead of this
    /// machine's authorities of the web) or profile=https_spiffe,id=SPIFFE-ID[,bundle=FILE]; may be repeated
    #[arg(long, value_name = "TRUST-DOMAIN=URL,profile=...")]
    federate_with: Vec<RelationWords>,
    /// The web's authorities as a PEM file, instead of this machine's, for the bundle endpoints of
    /// ClusterFederatedTrustDomains with the profile https_web
    #[arg(long, value_name = "FILE")]
    web_roots: Option<PathBuf>,
    /// Serve the own bundle to other trust domains: with the endpoint's own SVID, or with
    /// profile=https_web,certificate=FILE,key=FILE; refresh=TIME is how often they should ask
    #[arg(long, value_name = "ADDRESS:PORT[,profile=...]")]
    bundle_endpoint: Option<EndpointWords>,
    /// Who issues tokens, as their `iss` says; the bundle endpoint then serves the documents of OpenID Connect below it
    #[arg(long, value_name = "URL")]
    jwt_issuer: Option<Issuer>,
}

#[derive(Debug, Clone)]
struct RelationWords {
    trust_domain: TrustDomain,
    url: EndpointUrl,
    profile: Profile,
    bundle: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct EndpointWords {
    address: SocketAddr,
    profile: EndpointProfile,
    refresh: Duration,
}

impl Words {
    /// Errors: a bundle file cannot be read, or a trust domain is the own one or named twice.
    pub(super) fn options(&self, own: &TrustDomain) -> Result<FederationOptions> {
        let mut relations: Vec<Relation> = Vec::new();
        for words in &self.federate_with {
            let name = &words.trust_domain;
            ensure!(name != own, "--federate-with {name}: that is the lab's own trust domain (--trust-domain)");
            ensure!(relations.iter().all(|one| one.trust_domain != *name), "--federate-with {name}: named twice");
            let read = |file: &Path| {
                read_bundle(name, file).map_err(anyhow::Error::msg).with_context(|| file.display().to_string())
            };
            let first = words.bundle.as_deref().map(read).transpose()?;
            let (url, profile) = (words.url.clone(), words.profile.clone());
            relations.push(Relation { trust_domain: name.clone(), url, profile, first });
        }
        let endpoint = self.bundle_endpoint.clone().map(|EndpointWords { address, profile, refresh }| {
            EndpointOptions { address, profile, refresh_hint: refresh }
        });
        let roots = self.web_roots.clone().map(|file| file.canonicalize().with_context(|| file.display().to_string()));
        let roots = roots.transpose()?.map_or(Roots::System, Roots::File);
        Ok(FederationOptions { endpoint, relations, roots, issuer: self.jwt_issuer.clone() })
    }
}

/// `key=value` parts after the first one, each of these keys at most once.
struct Parts<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parts<'a> {
    fn read(parts: impl Iterator<Item = &'a str>, keys: &[&str]) -> Result<Self> {
        let mut read = Self(Vec::new());
        for part in parts {
            let (key, value) = part.split_once('=').with_context(|| format!("expected key=value, saw {part:?}"))?;
            ensure!(keys.contains(&key), "expected one of {}, saw {key}", keys.join(", "));
            ensure!(read.0.iter().all(|(other, _)| *other != key), "{key} is there twice");
            ensure!(!value.is_empty(), "expected a value for {key}");
            read.0.push((key, value));
        }
        Ok(read)
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.0.iter().position(|(other, _)| *other == key)?;
        Some(self.0.remove(at).1)
    }

    /// What a profile has no use for would be passed over in silence.
    fn end(self, profile: &str) -> Result<()> {
        match self.0.first() {
            Some((key, _)) => bail!("{key} has no meaning for the profile {profile}"),
            None => Ok(()),
        }
    }
}

impl FromStr for RelationWords {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut all = text.split(',');
        let (name, url) = all.next().and_then(|first| first.split_once('=')).context("expected TRUST-DOMAIN=URL")?;
        let mut parts = Parts::read(all, &["profile", "id", "bundle", "ca"])?;
        // Neither profile is a safe guess (SPIFFE Federation, section 7.2).
        let profile = match parts.take("profile").context("expected profile=https_web or profile=https_spiffe")? {
            "https_web" => Profile::Web(parts.take("ca").map_or(Roots::System, |file| Roots::File(file.into()))),
            "https_spiffe" => {
                let id: SpiffeId = parts.take("id").context("expected id= with the endpoint's SPIFFE ID")?.parse()?;
                ensure!(!id.path().is_empty(), "expected the identity of an endpoint, saw a whole trust domain");
                Profile::Spiffe(id)
            }
            other => bail!("expected the profile https_web or https_spiffe, saw {other}"),
        };
        let bundle = parts.take("bundle").map(PathBuf::from);
        parts.end(profile.as_str())?;
        Ok(Self { trust_domain: name.parse()?, url: url.parse()?, profile, bundle })
    }
}

impl FromStr for EndpointWords {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut all = text.split(',');
        let address = all.next().unwrap_or_default();
        let address = address.parse().ok().context("expected an address and a port, such as 127.0.0.1:8443")?;
        let mut parts = Parts::read(all, &["profile", "certificate", "key", "refresh"])?;
        let refresh = match parts.take("refresh") {
            Some(text) => super::duration(text).map_err(anyhow::Error::msg)?,
            None => REFRESH,
        };
        let name = parts.take("profile").unwrap_or("https_spiffe");
        let profile = match name {
            "https_spiffe" => EndpointProfile::Spiffe,
            "https_web" => EndpointProfile::Web {
                certificate: parts.take("certificate").context("expected certificate= with a PEM file")?.into(),
                key: parts.take("key").context("expected key= with a PEM file")?.into(),
            },
            other => bail!("expected the profile https_web or https_spiffe, saw {other}"),
        };
        parts.end(name)?;
        Ok(Self { address, profile, refresh })
    }
}

#[cfg(test)]
mod tests {
    use super::{EndpointProfile, EndpointWords, Profile, RelationWords, Roots};
    use std::path::PathBuf;
    use std::time::Duration;

    #[test]
    fn a_relation_says_everything_itself() {
        let read = |text: &str| text.parse::<RelationWords>();
        let web = read("other.example=https://other.example/b?c=d,profile=https_web").expect("a relation");
        assert_eq!(
            (web.trust_domain.as_str(), web.url.to_string()),
            ("other.example", "https://other.example/b?c=d".into())
        );
        assert_eq!((web.profile, web.bundle), (Profile::Web(Roots::System), None));
        let own = read("other.example=https://127.0.0.1:1/,profile=https_web,ca=/a").expect("a relation");
        assert_eq!(own.profile, Profile::Web(Roots::File("/a".into())));
        let spiffe = "other.example=https://x/,bundle=/b,id=spiffe://other.example/e,profile=https_spiffe";
        let spiffe = read(spiffe).expect("a relation");
        assert_eq!(spiffe.profile, Profile::Spiffe("spiffe://other.example/e".parse().expect("an identity")));
        assert_eq!(spiffe.bundle, Some(PathBuf::from("/b")));
        for (text, reason) in [
            ("other.example", "TRUST-DOMAIN=URL"),
            ("other.example=https://x/", "profile=https_web or"),
            ("other.example=https://x/,profile=web", "saw web"),
            ("other.example=https://x/,profile=https_spiffe", "id="),
            ("other.example=https://x/,profile=https_spiffe,id=spiffe://other.example", "whole trust domain"),
            ("other.example=https://x/,profile=https_spiffe,id=x", "spiffe://"),
            ("other.example=https://x/,profile=https_spiffe,id=spiffe://a/b,ca=/a", "ca has no meaning"),
            ("other.example=https://x/,profile=https_web,id=spiffe://a/b", "id has no meaning"),
            ("other.example=https://x/,profile=https_web,profile=https_web", "twice"),
            ("other.example=https://x/,profile=https_web,file=x", "expected one of"),
            ("other.example=https://x/,profile=https_web,ca=", "a value for ca"),
            ("other.example=http://x/,profile=https_web", "https://"),
            ("Other=https://x/,profile=https_web", "trust domain"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn an_endpoint_proves_itself_by_its_svid_unless_it_has_files() {
        let read = |text: &str| text.parse::<EndpointWords>();
        let spiffe = read("127.0.0.1:8443").expect("an endpoint");
        assert_eq!((spiffe.profile, spiffe.refresh), (EndpointProfile::Spiffe, Duration::from_secs(300)));
        let web = read("[::1]:1,profile=https_web,certificate=/c,key=/k,refresh=1h").expect("an endpoint");
        assert_eq!(web.profile, EndpointProfile::Web { certificate: "/c".into(), key: "/k".into() });
        assert_eq!((web.address.port(), web.refresh), (1, Duration::from_secs(3600)));
        for (text, reason) in [
            ("", "an address and a port"),
            ("localhost:1", "an address and a port"),
            ("127.0.0.1:1,profile=https_web,certificate=/c", "key="),
            ("127.0.0.1:1,certificate=/c", "no meaning"),
            ("127.0.0.1:1,refresh=1s", "at least 10s"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
