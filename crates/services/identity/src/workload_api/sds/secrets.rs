//! What a resource name stands for, as Envoy's secrets.

use super::{MAX_NAMES, SECRET_TYPE};
use crate::needs::Identity;
use crate::workload_api::states::State;
use lictor_pki::{Bundle, Svid};
use lictor_wire::envoy::config::core::v3 as core;
use lictor_wire::envoy::config::core::v3::data_source::Specifier;
use lictor_wire::envoy::config::core::v3::node::UserAgentVersionType;
use lictor_wire::envoy::extensions::transport_sockets::tls::v3 as tls;
use prost::Message;
use prost_types::Any;
use prost_types::value::Kind;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use tonic::Status;

/// The pod's default SVID.
const DEFAULT: &str = "default";
/// The bundle of the pod's own trust domain.
const ROOTCA: &str = "ROOTCA";
/// Every bundle.
const ALL: &str = "ALL";

/// Envoy's validator of SPIFFE certificates, by the name of the extension and of its configuration.
const SPIFFE_VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
const SPIFFE_VALIDATOR_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// Asks for plain authorities in a node's metadata.
const DISABLE: &str = "disable_spiffe_cert_validation";

/// The names that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// None in particular: everything.
    Everything,
    /// These.
    Named(BTreeSet<String>),
}

/// How an Envoy is to judge its peers' certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Validator {
    /// Each trust domain by its own bundle.
    Spiffe,
    /// Any chain to an authority; what an Envoy before 1.18 has.
    Authorities,
}

/// One secret and its version: another one for other content, the same for the same.
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) secret: Any,
}

/// What is known of a name.
pub(super) enum Known {
    /// This.
    Secret(Resource),
    /// It is one of the pod's, and not issued yet.
    Awaited,
    /// Nothing that the pod may have.
    Nothing,
}

impl Names {
    /// Empty names count for nothing, as in a SPIRE agent.
    pub(super) fn of(names: Vec<String>) -> Result<Self, Status> {
        let names: BTreeSet<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
        check_number(names.len())?;
        Ok(if names.is_empty() { Self::Everything } else { Self::Named(names) })
    }
}

/// No more names than a stream may ask for.
pub(super) fn check_number(names: usize) -> Result<(), Status> {
    match names <= MAX_NAMES {
        true => Ok(()),
        false => Err(Status::invalid_argument(format!("expected at most {MAX_NAMES} names, saw {names}"))),
    }
}

impl Validator {
    /// Envoy has the validator since 1.18; its node may ask to do without.
    pub(super) fn of(node: Option<&core::Node>) -> Self {
        let Some(node) = node else { return Self::Authorities };
        let disabled = node.metadata.as_ref().and_then(|metadata| metadata.fields.get(DISABLE)?.kind.as_ref());
        let disabled = match disabled {
            Some(Kind::BoolValue(disabled)) => *disabled,
            // The words that Go's strconv.ParseBool takes for true.
            Some(Kind::StringValue(word)) => matches!(&**word, "1" | "t" | "T" | "true" | "TRUE" | "True"),
            _ => false,
        };
        let version = match &node.user_agent_version_type {
            Some(UserAgentVersionType::UserAgentBuildVersion(build)) => build.version,
            _ => None,
        };
        let has_it = version.is_some_and(|version| (version.major_number, version.minor_number) >= (1, 18));
        if has_it && !disabled { Self::Spiffe } else { Self::Authorities }
    }
}

/// Every secret that is asked for, in the order of names; nothing while one of them is still to be issued.
///
/// # Errors
/// A name stands for nothing that the pod may have; a SPIRE agent says so in the same way.
pub(super) fn find(
    identities: &[Identity],
    state: &State,
    names: &Names,
    validator: Validator,
) -> Result<Option<Vec<Resource>>, Status> {
    let every: Vec<String>;
    let names: Vec<&String> = match names {
        Names::Everything => {
            every = everything(identities, state);
            every.iter().collect()
        }
        Names::Named(names) => names.iter().collect(),
    };
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    let mut awaited = false;
    for name in names {
        match look_up(identities, state, name, validator)? {
            Known::Secret(resource) => found.push(resource),
            Known::Awaited => awaited = true,
            Known::Nothing => unknown.push(name.as_str()),
        }
    }
    if !unknown.is_empty() {
        let message = format!("workload is not authorized for the requested identities {unknown:?}");
        return Err(Status::invalid_argument(message));
    }
    Ok((!awaited).then_some(found))
}

/// The names of everything that a pod may have: bundles by their trust domains, SVIDs by their identities.
pub(super) fn everything(identities: &[Identity], state: &State) -> Vec<String> {
    let svids = identities.iter().map(|identity| identity.id.to_string());
    let names: BTreeSet<String> = state.bundles().map(|(name, _)| name).chain(svids).collect();
    names.into_iter().collect()
}

/// What one name stands for.
///
/// # Errors
/// It stands for something that this Envoy cannot be told.
pub(super) fn look_up(
    identities: &[Identity],
    state: &State,
    name: &str,
    validator: Validator,
) -> Result<Known, Status> {
    if name == ALL {
        if validator == Validator::Authorities {
            // One list of authorities would let each trust domain speak for every other.
            let message = format!("{ALL} needs Envoy's SPIFFE validator: Envoy 1.18 or later, not switched off");
            return Err(Status::failed_precondition(message));
        }
        let all: Vec<&Bundle> = state.bundles().map(|(_, bundle)| bundle).collect();
        return Ok(Known::Secret(context(name, &all, validator)));
    }
    if name == ROOTCA {
        return Ok(Known::Secret(context(name, &[state.bundles.own()], validator)));
    }
    if let Some((_, bundle)) = state.bundles().find(|(own, _)| own == name) {
        return Ok(Known::Secret(context(name, &[bundle], validator)));
    }
    let mut own = identities.iter();
    let Some(at) = (if name == DEFAULT { Some(0) } else { own.position(|one| one.id.as_str() == name) }) else {
        return Ok(Known::Nothing);
    };
    let svid = state.svids.as_ref().and_then(|svids| svids.get(at));
    Ok(svid.map_or(Known::Awaited, |(svid, _)| Known::Secret(certificate(name, svid))))
}

fn certificate(name: &str, svid: &Svid) -> Resource {
    // The key is never hashed: it changes with the certificate.
    let version = version(&(name, &svid.chain));
    let certificate = tls::TlsCertificate {
        certificate_chain: Some(inline(svid.chain_pem().into_bytes())),
        private_key: Some(inline(svid.key_pem().as_bytes().to_vec())),
    };
    resource(name, version, tls::secret::Type::TlsCertificate(certificate))
}

fn context(name: &str, bundles: &[&Bundle], validator: Validator) -> Resource {
    let content: Vec<_> = bundles.iter().map(|bundle| (bundle.trust_domain().as_str(), bundle.authorities())).collect();
    let version = version(&(name, &content, validator));
    let context = match validator {
        Validator::Spiffe => {
            let domain = |bundle: &&Bundle| tls::spiffe_cert_validator_config::TrustDomain {
                name: bundle.trust_domain().to_string(),
                trust_bundle: Some(pem(bundle)),
            };
            let config = tls::SpiffeCertValidatorConfig { trust_domains: bundles.iter().map(domain).collect() };
            let config = Any { type_url: SPIFFE_VALIDATOR_TYPE.to_owned(), value: config.encode_to_vec() };
            let extension =
                core::TypedExtensionConfig { name: SPIFFE_VALIDATOR.to_owned(), typed_config: Some(config) };
            tls::CertificateValidationContext { custom_validator_config: Some(extension), trusted_ca: None }
        }
        Validator::Authorities => tls::CertificateValidationContext {
            trusted_ca: bundles.first().map(|bundle| pem(bundle)),
            custom_validator_config: None,
        },
    };
    resource(name, version, tls::secret::Type::ValidationContext(context))
}

fn resource(name: &str, version: String, secret: tls::secret::Type) -> Resource {
    let secret = tls::Secret { name: name.to_owned(), r#type: Some(secret) };
    let secret = Any { type_url: SECRET_TYPE.to_owned(), value: secret.encode_to_vec() };
    Resource { name: name.to_owned(), version, secret }
}

fn pem(bundle: &Bundle) -> core::DataSource {
    inline(bundle.to_pem().into_bytes())
}

fn inline(bytes: Vec<u8>) -> core::DataSource {
    core::DataSource { specifier: Some(Specifier::InlineBytes(bytes)) }
}

fn version(content: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::{DISABLE, Validator};
    use lictor_wire::envoy::config::core::v3::node::UserAgentVersionType;
    use lictor_wire::envoy::config::core::v3::{BuildVersion, Node};
    use lictor_wire::envoy::r#type::v3::SemanticVersion;
    use prost_types::value::Kind;
    use prost_types::{Struct, Value};

    fn node(version: Option<(u32, u32)>, disable: Option<Kind>) -> Node {
        let version = version.map(|(major_number, minor_number)| {
            let version = SemanticVersion { major_number, minor_number, patch: 0 };
            UserAgentVersionType::UserAgentBuildVersion(BuildVersion { version: Some(version) })
        });
        let metadata = Struct { fields: [(DISABLE.to_owned(), Value { kind: disable })].into() };
        Node { user_agent_version_type: version, metadata: Some(metadata), ..Node::default() }
    }

    /// As a SPIRE agent chooses (`pkg/agent/endpoints/sdsv3`).
    #[test]
    fn an_envoy_is_told_of_the_spiffe_validator_that_it_has_and_wants() {
        let word = |word: &str| Some(Kind::StringValue(word.to_owned()));
        let truth = |truth| Some(Kind::BoolValue(truth));
        let new = Some((1, 18));
        for (version, disable, expected) in [
            (None, None, Validator::Authorities),
            (Some((1, 17)), None, Validator::Authorities),
            (Some((0, 40)), None, Validator::Authorities),
            (new, None, Validator::Spiffe),
            (Some((2, 0)), None, Validator::Spiffe),
            (new, truth(true), Validator::Authorities),
            (new, truth(false), Validator::Spiffe),
            (new, word("true"), Validator::Authorities),
            (new, word("1"), Validator::Authorities),
            (new, word("false"), Validator::Spiffe),
            (new, word("yes"), Validator::Spiffe),
            (new, Some(Kind::NumberValue(1.0)), Validator::Spiffe),
            (Some((1, 17)), truth(false), Validator::Authorities),
        ] {
            let node = node(version, disable);
            assert_eq!(Validator::of(Some(&node)), expected, "{node:?}");
        }
        assert_eq!(Validator::of(None), Validator::Authorities);
    }
}
