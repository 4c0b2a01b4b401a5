//! `lictor explain CODE`.

use crate::output;
use anyhow::{Result, bail};
use clap::Args;
use lictor_manifest::Code;
use std::fmt::Write;
use std::process::ExitCode;

/// Explain a finding's code.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// The code, such as LIC1104; without one, all codes are listed
    code: Option<String>,
}

pub(crate) fn run(words: &Words) -> Result<ExitCode> {
    let Some(text) = &words.code else {
        let mut list = String::new();
        for code in Code::ALL {
            // Writing to a String does not fail.
            let _ = writeln!(list, "{code}  {:<7}  {}", code.level().as_str(), code.title());
        }
        output::print(&list)?;
        return Ok(ExitCode::SUCCESS);
    };
    match text.to_ascii_uppercase().parse::<Code>() {
        Ok(code) => output::print(&code.page())?,
        Err(error) => bail!("{error}\n  help: `lictor explain` lists every code"),
    }
    Ok(ExitCode::SUCCESS)
}
