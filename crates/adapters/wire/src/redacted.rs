//! What `Debug` shows of messages that hold a secret: how long it is.

use crate::broker::{Jwtsvid, X509svid};
use crate::node::{IssueTokenResponse, JoinToken};
use std::fmt;

impl fmt::Debug for X509svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spiffe_id, x509_svid, x509_svid_key, bundle, hint } = self;
        f.debug_struct("X509svid")
            .field("spiffe_id", spiffe_id)
            .field("x509_svid", x509_svid)
            .field("x509_svid_key", &Secret(x509_svid_key.len()))
            .field("bundle", bundle)
            .field("hint", hint)
            .finish()
    }
}

impl fmt::Debug for Jwtsvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spiffe_id, svid, hint } = self;
        f.debug_struct("Jwtsvid")
            .field("spiffe_id", spiffe_id)
            .field("svid", &Secret(svid.len()))
            .field("hint", hint)
            .finish()
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("token", &Secret(self.token.len())).finish()
    }
}

impl fmt::Debug for IssueTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueTokenResponse").field("token", &Secret(self.token.len())).finish()
    }
}

struct Secret(usize);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::{FetchJwtsvidResponse, Jwtsvid, SubscribeToX509svidResponse, X509svid};
    use crate::node::{IssueTokenResponse, JoinToken};

    #[test]
    fn no_key_and_no_token_is_shown() {
        let svid = X509svid { spiffe_id: "spiffe://td/a".into(), x509_svid_key: vec![0x5a; 3], ..X509svid::default() };
        let state = SubscribeToX509svidResponse { svids: vec![svid], ..SubscribeToX509svidResponse::default() };
        let token = Jwtsvid { svid: "eyJ.secret.sig".into(), ..Jwtsvid::default() };
        let tokens = FetchJwtsvidResponse { svids: vec![token] };
        let (join, issued) = (JoinToken { token: "secret".into() }, IssueTokenResponse { token: "eyJ.secret".into() });
        let shown = format!("{state:?} {tokens:?} {join:?} {issued:?}");
        assert!(shown.contains("spiffe://td/a") && shown.contains("[3 bytes]") && shown.contains("[14 bytes]"));
        assert!(!shown.contains("90") && !shown.contains("secret"), "{shown}");
    }
}
