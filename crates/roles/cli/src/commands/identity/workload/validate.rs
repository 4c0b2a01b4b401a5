//! `lictor identity validate`.

use super::{Socket, asking, refusal, runtime};
use crate::commands::identity::explain::text_or_file;
use crate::output;
use anyhow::Result;
use clap::Args;
use lictor_wire::workload::ValidateJwtsvidRequest;
use std::process::ExitCode;
use tonic::Code;

/// Ask the Workload API what a token proves.
#[derive(Debug, Args)]
pub(in super::super) struct Words {
    /// The token, a file that has it, or - for the standard input
    #[arg(value_name = "TOKEN|FILE")]
    token: String,
    /// For whom it has to be meant
    #[arg(long, value_name = "AUDIENCE")]
    audience: String,
    #[command(flatten)]
    socket: Socket,
}

pub(in super::super) fn run(words: &Words) -> Result<ExitCode> {
    let svid = text_or_file(&words.token)?;
    runtime()?.block_on(async {
        let mut api = words.socket.connect().await?;
        let request = asking(ValidateJwtsvidRequest { audience: words.audience.clone(), svid });
        match api.validate_jwtsvid(request).await {
            Ok(answer) => {
                output::print(&format!("it proves {}\n", answer.into_inner().spiffe_id))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(status) if status.code() == Code::InvalidArgument => {
                output::print(&format!("it proves nothing: {}\n", status.message()))?;
                Ok(ExitCode::from(1))
            }
            Err(status) => Err(refusal(&status)),
        }
    })
}
