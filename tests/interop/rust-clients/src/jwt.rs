//! The JWT source, and the two ways to judge a token.

use crate::{Result, say};
use serde_json::{Value, json};
use spiffe::{JwtSource, JwtSvid, WorkloadApiClient};

pub(crate) async fn fetch(audience: &str) -> Result<()> {
    let source = JwtSource::new().await?;
    let token = source.fetch_jwt_svid(&[audience]).await?;
    let mut line = described(&token);
    line["token"] = json!(token.token());
    say(&line);
    Ok(())
}

/// Checks a token here, against the bundles of the JWT source.
pub(crate) async fn verify(token: &str, audience: &str) -> Result<()> {
    let source = JwtSource::new().await?;
    say(&described(&JwtSvid::parse_and_validate(token, &source, &[audience])?));
    Ok(())
}

/// Has the Workload API check a token.
pub(crate) async fn validate(token: &str, audience: &str) -> Result<()> {
    let client = WorkloadApiClient::connect_env().await?;
    say(&described(&client.validate_jwt_token(audience, token).await?));
    Ok(())
}

fn described(token: &JwtSvid) -> Value {
    json!({
        "id": token.spiffe_id().to_string(),
        "audience": token.audience(),
        "expires": token.expiry().to_string(),
    })
}
