//! The lab's API: HTTP/1.1 on a unix socket that only root can open.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::fmt::Write;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::net::UnixStream;

/// The header that carries the exit code of the command that asked.
const EXIT_CODE: &str = "lictor-exit-code";

/// A running lab, by its name.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    lab: String,
}

/// What a lab answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub text: String,
    pub exit_code: u8,
}

impl Answer {
    /// Prints the text; the exit code is the lab's.
    pub(crate) fn print(&self) -> Result<ExitCode> {
        if self.exit_code == 2 {
            eprintln!("error: {}", self.text.trim_end());
        } else {
            crate::output::print(&self.text)?;
        }
        Ok(ExitCode::from(self.exit_code))
    }
}

/// Query parameters; those without a value are left out.
#[derive(Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        let joint = if self.0.is_empty() { '?' } else { '&' };
        // Writing to a String does not fail.
        let _ = write!(self.0, "{joint}{key}={}", encoded(&value.to_string()));
        self
    }

    pub(crate) fn with_some<T: ToString>(self, key: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

/// Source: RFC 3986, section 2.3: what is not unreserved is encoded.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

impl Client {
    pub(crate) fn of(lab: &str) -> Self {
        Self { lab: lab.to_owned() }
    }

    fn socket(&self) -> PathBuf {
        PathBuf::from("/run/lictor").join(&self.lab).join("api.sock")
    }

    /// Asks and waits for the whole answer.
    pub(crate) fn ask(&self, method: Method, path: &str, query: &Query) -> Result<Answer> {
        runtime()?.block_on(async {
            let response = self.send(method, path, query).await?;
            let exit_code = exit_code(&response);
            let body =
                response.into_body().collect().await.context("the lab ended in the middle of its answer")?.to_bytes();
            let text = String::from_utf8_lossy(&body).into_owned();
            Ok(Answer { text, exit_code })
        })
    }

    /// Asks and prints what comes, for as long as it comes.
    pub(crate) fn follow(&self, path: &str, query: &Query) -> Result<ExitCode> {
        runtime()?.block_on(async {
            let response = self.send(Method::GET, path, query).await?;
            let exit_code = exit_code(&response);
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                let frame = frame.context("the lab went away")?;
                if let Some(data) = frame.data_ref() {
                    crate::output::print(&String::from_utf8_lossy(data))?;
                }
            }
            Ok(ExitCode::from(exit_code))
        })
    }

    async fn send(&self, method: Method, path: &str, query: &Query) -> Result<Response<Incoming>> {
        let socket = self.socket();
        let stream = match UnixStream::connect(&socket).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                bail!(
                    "no lab named `{}` is running; `lictor up DIR` starts one, and `why` and `edges` take -f DIR without one",
                    self.lab
                )
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("the lab `{}` belongs to root; ask again with sudo", self.lab)
            }
            Err(error) => return Err(error).context(format!("cannot reach the lab at {}", socket.display())),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // What breaks the connection breaks the answer too, which tells it.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}{}", query.0))
            .header("host", "lictor")
            .body(Empty::<Bytes>::new())?;
        Ok(sender.send_request(request).await?)
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")
}

/// The command's exit code: what the lab says, else by the status.
fn exit_code(response: &Response<Incoming>) -> u8 {
    let said = response.headers().get(EXIT_CODE).and_then(|value| value.to_str().ok()?.parse().ok());
    said.unwrap_or(if response.status().is_success() { 0 } else { 2 })
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn a_query_is_encoded() {
        let query = Query::default().with("from", "a/b").with_some("x", None::<u8>).with("path", "/x y?z=1&w");
        assert_eq!(query.0, "?from=a%2Fb&path=%2Fx%20y%3Fz%3D1%26w");
    }
}
