//! The table of stable codes.
//!
//! A code is one row here and one page beside it, `codes/LICnnnn.md`: what it means, an example, what to do.
//! A number, once released, keeps its meaning; a code that is no longer used leaves a gap.

use super::Level;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

macro_rules! codes {
    ($($variant:ident = $number:literal, $level:ident, $title:literal;)*) => {
        /// A stable code; `lictor explain LICnnnn` prints its page.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $title] $variant = $number,)* }

        impl Code {
            /// Every code, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// How much it matters, unless the finder says otherwise.
            pub const fn level(self) -> Level {
                match self { $(Self::$variant => Level::$level,)* }
            }

            /// One line: what it stands for.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// The page, as markdown without a heading: what it means, an example, what to do.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../../codes/LIC", $number, ".md")),)* }
            }
        }
    };
}

codes! {
    // Reading a file.
    YamlSyntax = 1001, Error, "the text is not YAML";
    DuplicateKey = 1002, Error, "a key stands twice in one mapping";
    YamlValue = 1003, Error, "a YAML value has no JSON form";
    TooLarge = 1004, Error, "the document is too large or nested too deeply";
    NotAnObject = 1005, Warning, "the document is not a Kubernetes object";
    MissingKind = 1006, Error, "the object does not say what it is";
    UnknownVersion = 1007, Error, "the version or group of a kind is not known";
    NotActedOn = 1008, Note, "the kind is read, not acted on";
    UnknownPolicyField = 1009, Error, "a policy has a field that its kind does not have";
    UnknownField = 1010, Warning, "an object has a field that its kind does not have";
    WrongType = 1011, Error, "a field has a value of the wrong type";
    MissingField = 1012, Error, "a required field is missing";
    InvalidName = 1013, Error, "a name does not follow its syntax";
    InvalidLabel = 1014, Error, "a label does not follow its syntax";
    InvalidSelector = 1015, Error, "a selector's requirement is invalid";
    InvalidCidr = 1016, Error, "an address or address block is invalid";
    InvalidExcept = 1017, Error, "an excepted block does not lie within its block";
    InvalidPort = 1018, Error, "a port or port range is invalid";
    InvalidProtocol = 1019, Error, "a protocol is not one that policies know";
    InvalidPeer = 1020, Error, "a peer does not have exactly one form";
    InvalidValue = 1021, Error, "a value is not one of those allowed";
    InvalidEncoding = 1022, Error, "a Secret's value is not base64";
    TemplateMismatch = 1023, Warning, "a workload's selector does not select its own pods";
    MoreFindings = 1024, Note, "a file has more findings than are shown";
    Unreadable = 1025, Error, "a file could not be read";
    UnknownKind = 1026, Error, "a group of policies does not have the kind";
    UnknownPeerForm = 1027, Warning, "a peer or protocol of a form that is not known";
    InvalidTemplate = 1028, Error, "a template is not one that is known";

    // Objects among each other.
    DuplicateObject = 1101, Error, "an object is declared twice";
    NamespaceNotDeclared = 1102, Note, "a namespace is used but not declared";
    ServiceAccountMissing = 1103, Warning, "a service account is not declared";
    NoEgressToDns = 1104, Note, "a workload has no egress to the cluster's DNS";
    ServiceSelectsNothing = 1105, Warning, "a Service selects no pod";
    NoAddressLeft = 1106, Error, "no address is left in a block";
    AddressNotGiven = 1107, Warning, "an address that was asked for could not be given";
    PolicySelectsNothing = 1108, Warning, "a policy selects no pod";
    EndpointsWithoutService = 1109, Warning, "endpoints belong to no Service";
    TargetPortUnresolved = 1110, Warning, "a Service's target port has no container port";
    UnknownNode = 1111, Note, "a pod names a node that is not there";
    TooManyPods = 1112, Error, "the workloads make more pods than a snapshot holds";
    RegistrationFails = 1113, Warning, "a registration gives a pod no identity";
    OtherClass = 1114, Note, "a registration is for another controller";
    FederationRefused = 1115, Error, "a federated trust domain is not acted on";
    DecidedByOthers = 1116, Warning, "a lifetime or DNS names that somebody else decides";
    CertificateRefused = 1120, Warning, "a Certificate is not served";
    CertificateOfOthers = 1121, Note, "a Certificate names an issuer that is not lictor's";

    // Segmentation.
    RulesWithoutType = 1201, Warning, "rules of a direction that the policy does not isolate";
    NamedPortUnresolved = 1202, Warning, "a port name that no pod it could mean declares";
    ProgramTooLarge = 1203, Error, "the compiled policy does not fit into the kernel's tables";
    PriorityTie = 1204, Warning, "two cluster-wide policies of one tier have the same priority";
    DomainNamesUnresolved = 1205, Note, "a domain name that nobody has looked up yet";

    CiliumUnsupported = 1206, Warning, "a part of a Cilium policy is not supported";

    // Transport and authorization.
    InvalidIstioPolicy = 1301, Error, "Istio would refuse the policy";
    DoubtfulIstioPolicy = 1302, Warning, "Istio would warn about the policy";
    NeedsToken = 1303, Error, "the policy needs verified tokens";
    NeedsProvider = 1304, Error, "the policy asks an external provider";
    HttpOnOtherPort = 1305, Warning, "HTTP fields on a port that is not HTTP";
    IneffectivePeerAuthentication = 1306, Warning, "a PeerAuthentication has a part without effect";
    ShadowedPeerAuthentication = 1307, Warning, "an older PeerAuthentication of the same scope wins";
    AttachedElsewhere = 1308, Warning, "the policy is attached to something that is not a workload";
    IneffectiveStance = 1309, Warning, "a Stance has no effect";
    NeverMatches = 1310, Warning, "a rule has a value that nothing can match";
    InvalidRego = 1311, Error, "a Rego policy does not compile";

    // Doubts about valid network policies.
    PeerMatchesNothing = 1401, Warning, "a peer means no pod that is there";
    RuleShadowed = 1402, Warning, "a rule adds nothing to another one";
    RuleUnreachable = 1403, Warning, "a rule of a tier is never reached";
    DenyNeverMatches = 1404, Warning, "a rule denies nothing";
    PortNotExposed = 1405, Warning, "a rule allows a port that no selected pod declares";
    PeerPortNotExposed = 1406, Note, "a rule allows a port that no peer declares";
    BlockOverPods = 1407, Warning, "an address block means pods";
    BlockOverServices = 1408, Warning, "an address block holds a virtual address of a Service";
    BlockOverNodes = 1409, Note, "an address block holds the address of a node";
    NoDefaultDenyIngress = 1410, Note, "pods of a namespace let everyone in";
    NoDefaultDenyEgress = 1411, Note, "pods of a namespace may go anywhere";
    PolicyWithoutEffect = 1412, Note, "without the policy nothing would change";
    BroaderThanNeeded = 1413, Note, "a rule allows peers that cannot use it";
    OpenToAll = 1414, Warning, "a rule lets everyone in";
    OpenToWorld = 1415, Note, "a rule lets everything out";
    MetadataReachable = 1416, Warning, "a rule allows the metadata service of clouds";
    NobodyGetsThrough = 1417, Warning, "a rule allows peers of which none gets through";
    DuplicateRule = 1418, Warning, "a rule stands twice in a policy";
    DuplicatePolicy = 1419, Warning, "two policies say the same";
    DnsOverOneProtocol = 1420, Warning, "DNS is allowed over one protocol only";
    PodUnselected = 1421, Note, "no policy selects a pod";
    HostNetworkSelected = 1422, Warning, "a policy selects a pod in the network of its node";
    ServicePort = 1423, Warning, "a rule names the port of a Service instead of its pods";
    LabelUnknown = 1425, Warning, "a selector asks for a label that no pod carries";
    NamespaceLabelUnknown = 1426, Warning, "a selector asks for a label that no namespace carries";
    PassWithoutEffect = 1427, Note, "a Pass at the end of its tier skips nothing";
    GroupMissing = 1428, Warning, "a CiliumCIDRGroup is not there";
    ServiceMissing = 1429, Warning, "a Service that a policy names is not there";
    AllowsNoOne = 1430, Note, "a rule is written to allow and allows no one";
    RequestsUnseen = 1431, Warning, "requests are limited where no proxy sees them";
    NamesUnseen = 1432, Warning, "names are limited at a DNS server that is not the cluster's";
    NamesWithoutDns = 1433, Warning, "a rule speaks of names that its pods cannot ask for";
}

impl Code {
    /// The number, such as 1001.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The whole page as markdown, with heading and level; this is what `docs/codes/LICnnnn.md` holds.
    pub fn page(self) -> String {
        format!("# {self}: {}\n\nLevel: {}\n\n{}\n", self.title(), self.level(), self.explanation().trim())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("LIC{}", self.number()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a code such as LIC1001, found `{0}`")]
pub struct UnknownCode(pub String);

impl FromStr for Code {
    type Err = UnknownCode;

    /// Reads `LIC1001`, `lic1001` or `1001`.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let digits = text.strip_prefix("LIC").or_else(|| text.strip_prefix("lic")).unwrap_or(text);
        let known = |number: u16| Self::ALL.iter().copied().find(|code| code.number() == number);
        digits.parse().ok().and_then(known).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn every_code_has_a_page_of_several_lines_and_reads_as_it_prints() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(*code));
            let page = code.explanation();
            assert!(page.trim().lines().count() >= 5, "{code} has no page worth the name");
            assert!(!code.title().ends_with('.') && code.title().chars().count() <= 72, "{code}");
        }
        assert!("LIC9999".parse::<Code>().is_err() && "".parse::<Code>().is_err());
    }

    #[test]
    fn numbers_ascend() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.number() < b.number()));
    }
}
