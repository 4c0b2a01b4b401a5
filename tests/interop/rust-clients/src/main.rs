//! A client of the SPIFFE Workload API and of the Broker API on the crates `spiffe` and `spiffe-rustls`, for
//! `cargo xtask interop`.
//!
//! It takes the words of the Go client beside it and prints the same: one JSON object a line on standard output; a
//! refusal is the last line, `{"error": ...}`, and exit 1. The Workload API is at `SPIFFE_ENDPOINT_SOCKET`, the Broker API, of
//! which the Go client has nothing, at `SPIFFE_BROKER_SOCKET`.

mod broker;
mod jwt;
mod mtls;
mod x509;

use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str =
    "usage: rust-clients fetch | x509 COUNT | jwt AUDIENCE | verify TOKEN AUDIENCE | validate TOKEN AUDIENCE |
                    serve ADDRESS PEER-ID | dial ADDRESS PEER-ID COUNT |
                    broker ENDPOINT-ID (x509 COUNT | bundles | jwt AUDIENCE) (pid:NUMBER | pod:NAMESPACE/NAME)";

/// How long a form waits for what it is to see; serving ends by the caller.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&json!({"error": chain(error.as_ref())}));
            ExitCode::from(1)
        }
    }
}

async fn run(words: &[&str]) -> Result<()> {
    if let ["serve", address, peer] = words {
        return mtls::serve(address, peer).await;
    }
    let form = async {
        match words {
            ["fetch"] => x509::fetch().await,
            ["x509", count] => x509::states(count.parse()?).await,
            ["jwt", audience] => jwt::fetch(audience).await,
            ["verify", token, audience] => jwt::verify(token, audience).await,
            ["validate", token, audience] => jwt::validate(token, audience).await,
            ["dial", address, peer, count] => mtls::dial(address, peer, count.parse()?).await,
            ["broker", endpoint, "x509", count, about] => broker::x509(endpoint, count.parse()?, about).await,
            ["broker", endpoint, "bundles", about] => broker::bundles(endpoint, about).await,
            ["broker", endpoint, "jwt", audience, about] => broker::jwt(endpoint, audience, about).await,
            _ => Err(USAGE.into()),
        }
    };
    tokio::time::timeout(PATIENCE, form).await?
}

/// Prints a line.
fn say(line: &Value) {
    println!("{line}");
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
