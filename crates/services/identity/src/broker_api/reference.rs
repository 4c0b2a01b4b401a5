//! What a request refers to, as it says itself: nothing of it is believed before it has been found.
//!
//! Source: SPIFFE Broker API, sections 3.1.1, 3.1.3 and 3.1.4.

use super::brokers::{ReferenceType, UnknownType};
use lictor_wire::broker::{
    KubernetesObjectKey, KubernetesObjectReference, KubernetesObjectType, WorkloadPidReference, WorkloadReference,
};
use prost::Message;
use std::fmt;
use std::num::NonZeroU32;

/// A reference to one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The process of this number, in the node's own numbering.
    Pid(NonZeroU32),
    /// An object of the cluster.
    Object(KubernetesObject),
}

/// A reference to an object of the cluster: by its key, its uid, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesObject {
    /// The plural of its kind, such as `pods`.
    pub plural: String,
    /// Its group; `core` for the one without a name.
    pub group: String,
    /// Its namespace, empty for an object that is in none, and its name.
    pub key: Option<(String, String)>,
    /// Its uid.
    pub uid: Option<String>,
}

/// Why a reference refers to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// There is none.
    #[error("expected a reference to a workload, saw none")]
    Missing,
    /// Of a type that is not known here.
    #[error(transparent)]
    Unknown(#[from] UnknownType),
    /// It is not what its type says.
    #[error("expected a packed {0}: {1}")]
    Malformed(ReferenceType, prost::DecodeError),
    /// No process can have the number.
    #[error("expected a process id above zero, saw {0}")]
    Pid(i32),
    /// A field that has to be there is empty.
    #[error("expected {0} of the object, saw none")]
    Empty(&'static str),
    /// A pod is in a namespace.
    #[error("expected the namespace of the pod {0:?}, saw none")]
    NoNamespace(String),
    /// No uid of Kubernetes has this form.
    #[error("expected a uid such as a1b2c3d4-e5f6-7890-abcd-ef1234567890, saw {0:?}")]
    Uid(String),
}

impl Reference {
    /// Reads the reference of a request.
    ///
    /// # Errors
    /// There is none, its type is not known, or it can refer to nothing.
    pub fn read(reference: Option<&WorkloadReference>) -> Result<Self, InvalidReference> {
        let packed = reference.and_then(|reference| reference.reference.as_ref()).ok_or(InvalidReference::Missing)?;
        if packed.type_url.is_empty() {
            return Err(InvalidReference::Missing);
        }
        let kind: ReferenceType = packed.type_url.parse()?;
        let malformed = |error| InvalidReference::Malformed(kind, error);
        match kind {
            ReferenceType::Pid => {
                let WorkloadPidReference { pid } = WorkloadPidReference::decode(&*packed.value).map_err(malformed)?;
                let number = u32::try_from(pid).ok().and_then(NonZeroU32::new);
                number.map(Self::Pid).ok_or(InvalidReference::Pid(pid))
            }
            ReferenceType::KubernetesObject => {
                let object = KubernetesObjectReference::decode(&*packed.value).map_err(malformed)?;
                KubernetesObject::read(object).map(Self::Object)
            }
        }
    }

    /// Its type.
    pub fn kind(&self) -> ReferenceType {
        match self {
            Self::Pid(_) => ReferenceType::Pid,
            Self::Object(_) => ReferenceType::KubernetesObject,
        }
    }
}

impl KubernetesObject {
    fn read(object: KubernetesObjectReference) -> Result<Self, InvalidReference> {
        let KubernetesObjectReference { r#type, key, uid } = object;
        let KubernetesObjectType { plural, group } = r#type.unwrap_or_default();
        for (field, text) in [("the plural", &plural), ("the group (`core` for the one without a name)", &group)] {
            if text.is_empty() {
                return Err(InvalidReference::Empty(field));
            }
        }
        let key = key.map(|KubernetesObjectKey { namespace, name }| (namespace, name));
        let uid = Some(uid).filter(|uid| !uid.is_empty());
        let object = Self { plural, group, key, uid };
        match (&object.key, &object.uid) {
            (None, None) => return Err(InvalidReference::Empty("the key or the uid")),
            (Some((_, name)), _) if name.is_empty() => return Err(InvalidReference::Empty("the name")),
            (Some((namespace, name)), _) if object.is_pod() && namespace.is_empty() => {
                return Err(InvalidReference::NoNamespace(name.clone()));
            }
            (_, Some(uid)) if !is_uuid(uid) => return Err(InvalidReference::Uid(uid.clone())),
            _ => {}
        }
        Ok(object)
    }

    /// Whether it is of the one kind that identities are issued to.
    pub fn is_pod(&self) -> bool {
        (&*self.plural, &*self.group) == ("pods", "core")
    }
}

/// The text form of a UUID: groups of 8, 4, 4, 4 and 12 hexadecimal digits (RFC 9562, section 4).
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "process {pid}"),
            Self::Object(object) => write!(f, "{object}"),
        }
    }
}

impl fmt::Display for KubernetesObject {
    /// What a client says is escaped: it goes into the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.plural.escape_debug(), self.group.escape_debug())?;
        if let Some((namespace, name)) = &self.key {
            write!(f, " {}/{}", namespace.escape_debug(), name.escape_debug())?;
        }
        match &self.uid {
            Some(uid) => write!(f, " with the uid {}", uid.escape_debug()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
