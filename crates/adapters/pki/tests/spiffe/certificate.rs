//! Certificates from their descriptions, and descriptions of certificates.

use crate::der;
use crate::keys::{Key, key};
use crate::now;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use time::Duration;

/// A certificate as the files describe it. What is not there is not in the certificate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    /// Its common name; without one the subject is empty.
    pub(crate) subject: Option<String>,
    /// `kind:value`, as `uri:spiffe://td.example`; without a list there is no extension.
    pub(crate) names: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) names_critical: bool,
    /// The basic constraints' `cA`; without it there is no extension.
    pub(crate) ca: Option<bool>,
    pub(crate) path_length: Option<u8>,
    /// Names of bits, as RFC 5280, section 4.2.1.3, has them.
    pub(crate) key_usage: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) key_usage_critical: bool,
    /// Names or object identifiers (RFC 5280, section 4.2.1.12).
    pub(crate) purposes: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) purposes_critical: bool,
    /// Names below which all others must be, as `uri:td.example`.
    pub(crate) permitted: Option<Vec<String>>,
    /// Names below which none may be.
    pub(crate) excluded: Option<Vec<String>>,
    /// More extensions.
    #[serde(default)]
    pub(crate) extensions: Vec<Extension>,
    /// First and last second, counted from the moment of the cases.
    pub(crate) starts: i64,
    pub(crate) ends: i64,
    /// The name of its key.
    pub(crate) key: String,
    /// Which authority of the case signs it; itself if there is none.
    pub(crate) signed_by: Option<String>,
    /// One byte is changed after the signature: `signature`, or `body`.
    pub(crate) spoilt: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extension {
    oid: String,
    #[serde(default)]
    critical: bool,
    /// Its value in hexadecimal digits.
    der: String,
}

pub(crate) const KEY_USAGES: [&str; 9] = [
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
];

const PURPOSES: [(&str, &str); 4] = [
    ("serverAuth", "1.3.6.1.5.5.7.3.1"),
    ("clientAuth", "1.3.6.1.5.5.7.3.2"),
    ("codeSigning", "1.3.6.1.5.5.7.3.3"),
    ("any", "2.5.29.37.0"),
];

impl Certificate {
    /// The certificate, signed by `issuer` and its key, or by its own key.
    pub(crate) fn make(&self, issuer: Option<&Self>) -> CertificateDer<'static> {
        let (signer, issued_by) = issuer.map_or((&self.key, self.name()), |issuer| (&issuer.key, issuer.name()));
        let signer: &Key = &key(signer);
        let algorithm = signer.sign_certificate(&[]).0;
        let period = [self.starts, self.ends].map(|seconds| der::time(now() + Duration::seconds(seconds)));
        let extensions = self.extensions();
        let mut parts = vec![
            der::tlv(0xa0, &der::integer(&[2])),
            der::integer(&[0x51; 16]),
            algorithm.clone(),
            issued_by,
            der::sequence(&period),
            self.name(),
            key(&self.key).info.clone(),
        ];
        if !extensions.is_empty() {
            parts.push(der::tlv(0xa3, &der::sequence(&extensions)));
        }
        let body = der::sequence(&parts);
        let mut signature = signer.sign_certificate(&body).1;
        if self.spoilt.as_deref() == Some("signature") {
            *signature.last_mut().expect("a signature") ^= 1;
        }
        let mut whole = der::sequence(&[body, algorithm, der::bits(&signature)]);
        if self.spoilt.as_deref() == Some("body") {
            // The serial number's last byte; the form stays whole.
            let serial = whole.windows(16).position(|bytes| bytes == [0x51; 16]).expect("the serial number");
            whole[serial + 15] ^= 1;
        }
        whole.into()
    }

    fn name(&self) -> Vec<u8> {
        let attribute = self.subject.iter().map(|text| {
            let pair = der::sequence(&[der::oid("2.5.4.3"), der::tlv(12, text.as_bytes())]);
            der::set(&[pair])
        });
        der::sequence(&attribute.collect::<Vec<_>>())
    }

    fn extensions(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        if let Some(names) = &self.names {
            let names: Vec<_> = names.iter().map(|name| general_name(name)).collect();
            all.push(extension("2.5.29.17", self.names_critical, &der::sequence(&names)));
        }
        if let Some(ca) = self.ca {
            let mut parts = Vec::new();
            // `FALSE` is the default, and so is not written (X.690, section 11.5).
            parts.extend(ca.then(|| der::boolean(true)));
            parts.extend(self.path_length.map(|length| der::integer(&[length])));
            all.push(extension("2.5.29.19", true, &der::sequence(&parts)));
        }
        if let Some(usages) = &self.key_usage {
            let place = |name: &String| KEY_USAGES.iter().position(|one| one == name).expect("a key usage");
            let set: Vec<usize> = usages.iter().map(place).collect();
            all.push(extension("2.5.29.15", self.key_usage_critical, &der::named_bits(&set)));
        }
        if let Some(purposes) = &self.purposes {
            let number = |name: &String| {
                let known = PURPOSES.iter().find(|(one, _)| one == name);
                der::oid(known.map_or(name, |(_, number)| number))
            };
            let purposes: Vec<_> = purposes.iter().map(number).collect();
            all.push(extension("2.5.29.37", self.purposes_critical, &der::sequence(&purposes)));
        }
        let subtrees = |tag: u8, names: &Option<Vec<String>>| {
            let trees = names.iter().flatten().map(|name| der::sequence(&[general_name(name)]));
            let trees: Vec<_> = trees.collect();
            names.is_some().then(|| der::tlv(tag, &trees.concat()))
        };
        let constraints: Vec<_> =
            [subtrees(0xa0, &self.permitted), subtrees(0xa1, &self.excluded)].into_iter().flatten().collect();
        if !constraints.is_empty() {
            all.push(extension("2.5.29.30", true, &der::sequence(&constraints)));
        }
        all.extend(self.extensions.iter().map(|one| extension(&one.oid, one.critical, &from_hex(&one.der))));
        all
    }
}

fn extension(oid: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![der::oid(oid)];
    parts.extend(critical.then(|| der::boolean(true)));
    parts.push(der::octets(value));
    der::sequence(&parts)
}

/// A `GeneralName` (RFC 5280, section 4.2.1.6) from `kind:value`.
fn general_name(text: &str) -> Vec<u8> {
    let (kind, value) = text.split_once(':').expect("a kind before the colon");
    match kind {
        "email" => der::tlv(0x81, value.as_bytes()),
        "dns" => der::tlv(0x82, value.as_bytes()),
        "uri" => der::tlv(0x86, value.as_bytes()),
        "ip" => der::tlv(0x87, &value.parse::<std::net::Ipv4Addr>().expect("an address").octets()),
        "hex-uri" => der::tlv(0x86, &from_hex(value)),
        _ => panic!("expected a kind of name, saw {kind}"),
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
