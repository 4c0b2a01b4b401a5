//! Who signs the tokens of the pods here.

use super::jwt;
use crate::membership::Membership;
use crate::needs::Identity;
use lictor_model::Name;
use lictor_pki::Keyring;
use tonic::Status;

/// Who signs the tokens of the pods here.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// The authority of the keyring; without one, there are no tokens.
    Keyring,
    /// Control, for its members.
    Control(Membership),
}

impl Tokens {
    /// A token that says to `audience` that whoever shows it is this identity of a pod.
    pub(super) async fn issue(
        &self,
        keyring: &Keyring,
        pod: &Name,
        identity: &Identity,
        audience: &[String],
    ) -> Result<String, Status> {
        match self {
            Self::Keyring => jwt::issue(keyring, identity, audience),
            Self::Control(membership) => membership.issue_token(pod, identity, audience).await.map_err(|error| {
                tracing::warn!(%pod, id = %identity.id, %error, "control issued no token");
                Status::unavailable("control issues no token now; the log of the node says why")
            }),
        }
    }
}
