//! The measured node: authorities, issuer, registry, Workload API.

use crate::process::cpu_seconds;
use anyhow::{Context, Result, ensure};
use lictor_identity::{
    Attestor, Ca, CaOptions, Cgroup, Issuer, Registration, Registry, Tree, random_fraction, system_clock, workload_api,
};
use lictor_model::{Name, SpiffeId};
use lictor_pki::CertificateAuthority;
use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tonic::service::Routes;

/// One SVID lives so long: nothing is renewed meanwhile but by what the benchmark does.
const LIFE: time::Duration = time::Duration::HOUR;

pub(super) struct Node {
    tree: Tree,
    base: String,
    registry: Registry,
    ca: Ca,
    pods: Vec<Cgroup>,
    callers: Callers,
    _folder: tempfile::TempDir,
}

/// The other process, and what it says.
struct Callers {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// How many SVIDs a second are signed, with nothing else in the path.
pub(super) fn signing_alone() -> Result<f64> {
    let authority =
        CertificateAuthority::new("cluster.local".parse()?, OffsetDateTime::now_utc(), time::Duration::DAY)?;
    let id: SpiffeId = "spiffe://cluster.local/one".parse()?;
    let began = Instant::now();
    for _ in 0..5_000 {
        authority.issue(&id, OffsetDateTime::now_utc(), LIFE)?;
    }
    Ok(5_000.0 / began.elapsed().as_secs_f64())
}

fn authorities() -> Result<Ca> {
    let options =
        CaOptions { trust_domain: "cluster.local".parse()?, life: time::Duration::DAY, upstream: None, store: None };
    Ok(Ca::start(options, system_clock())?)
}

impl Node {
    pub(super) async fn start() -> Result<Self> {
        let tree = Tree::find()?;
        let base = format!("/lictor-bench-{}", std::process::id());
        fs::create_dir(tree.directory(&base.parse()?)).context("cgroups need root")?;
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("workload.sock");
        let (ca, registry) = (authorities()?, Registry::new());
        let listener = workload_api::bind(&socket)?;
        let attestor = Attestor::new(registry.clone())?;
        tokio::spawn(workload_api::serve(
            listener,
            attestor,
            ca.keyring().clone(),
            workload_api::Tokens::Keyring,
            Routes::default(),
            std::future::pending(),
        ));
        let issuer = Issuer::new(ca.clone(), registry.clone(), LIFE, random_fraction());
        tokio::spawn(issuer.run(std::future::pending()));
        let mut child = Command::new(std::env::current_exe()?)
            .args(["callers".as_ref(), socket.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = child.stdin.take().context("a pipe")?;
        let answers = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let callers = Callers { _child: child, orders, answers };
        Ok(Self { tree, base, registry, ca, pods: Vec::new(), callers, _folder: folder })
    }

    /// Registers so many more pods and starts a process in each, which fetches; the 99th of a hundred milliseconds from
    /// the registration to the SVID.
    pub(super) async fn burst(&mut self, more: usize) -> Result<f64> {
        let first = self.pods.len();
        for at in first..first + more {
            let cgroup = self.cgroup(at)?;
            self.pods.push(cgroup);
        }
        let began = Instant::now();
        for at in first..first + more {
            self.register(at, "sa")?;
        }
        for cgroup in self.pods.iter().skip(first) {
            let line = format!("start {}\n", self.tree.directory(&cgroup.path).display());
            self.callers.orders.write_all(line.as_bytes()).await?;
        }
        let mut took = Vec::new();
        while took.len() < more {
            self.callers.expect("first").await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        took.get(more * 99 / 100).copied().context("a pod")
    }

    /// Has so many pods in all.
    pub(super) async fn grow(&mut self, pods: usize) -> Result<()> {
        while self.pods.len() < pods {
            self.burst((pods - self.pods.len()).min(500)).await?;
        }
        Ok(())
    }

    /// Gives all of them another SVID so many times; SVIDs a second from the first signature to the last stream, and
    /// milliseconds of this process' CPU for each.
    pub(super) async fn rounds(&mut self, rounds: usize) -> Result<(f64, f64)> {
        self.callers.order("count").await?;
        let (began, before) = (Instant::now(), cpu_seconds(std::process::id())?);
        for _ in 0..rounds {
            let mut issuer = Issuer::new(self.ca.clone(), self.registry.clone(), LIFE, random_fraction());
            while issuer.step().is_zero() {
                tokio::task::yield_now().await;
            }
            self.callers.expect("all").await?;
        }
        let svids = (rounds * self.pods.len()) as f64;
        Ok((svids / began.elapsed().as_secs_f64(), (cpu_seconds(std::process::id())? - before) * 1e3 / svids))
    }

    /// Has one pod fetch its SVID so many times, one after the other; fetches a second.
    pub(super) async fn fetches(&mut self, count: usize) -> Result<f64> {
        let began = Instant::now();
        self.callers.order(&format!("fetch {count}")).await?;
        self.callers.expect("fetched").await?;
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    /// Opens more streams for each pod, gives one pod another identity, and waits until all of its streams have it; the
    /// median of milliseconds.
    pub(super) async fn one_change(&mut self) -> Result<f64> {
        self.callers.order("more").await?;
        self.callers.expect("more").await?;
        let mut took = Vec::new();
        for at in (0..self.pods.len()).step_by(self.pods.len() / 20) {
            self.callers.order("watch").await?;
            let began = Instant::now();
            self.register(at, "changed")?;
            self.callers.expect("changed").await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        took.sort_unstable_by(f64::total_cmp);
        took.get(took.len() / 2).copied().context("a change")
    }

    fn cgroup(&self, at: usize) -> Result<Cgroup> {
        let path = format!("{}/pod{at}", self.base).parse()?;
        fs::create_dir(self.tree.directory(&path))?;
        Ok(self.tree.cgroup(path)?)
    }

    /// Registers a pod, or registers it anew, under an identity of this kind.
    fn register(&self, at: usize, kind: &str) -> Result<()> {
        let id: SpiffeId = format!("spiffe://cluster.local/ns/bench/{kind}/pod{at}").parse()?;
        let cgroups = vec![self.pods.get(at).context("a pod")?.clone().into()];
        self.registry.add(Registration {
            pod: Name::new("bench", format!("pod{at}")),
            uid: None,
            ids: vec![id.into()],
            federates_with: BTreeSet::new(),
            cgroups,
        })?;
        Ok(())
    }
}

impl Callers {
    async fn order(&mut self, order: &str) -> Result<()> {
        Ok(self.orders.write_all(format!("{order}\n").as_bytes()).await?)
    }

    async fn expect(&mut self, wanted: &str) -> Result<()> {
        let line = tokio::time::timeout(Duration::from_secs(60), self.answers.next_line());
        let answer = line.await.context("no answer in a minute")??.context("the callers ended")?;
        ensure!(answer == wanted, "expected the callers to say {wanted}, they said {answer}");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let Ok(base) = self.base.parse() else { return };
        let base = self.tree.directory(&base);
        drop(fs::write(base.join("cgroup.kill"), "1"));
        let deadline = Instant::now() + Duration::from_secs(30);
        let pods = (0..self.pods.len()).map(|at| base.join(format!("pod{at}")));
        for folder in pods.chain([base.clone()]) {
            // A killed process leaves its cgroup a moment later.
            while let Err(error) = fs::remove_dir(&folder) {
                if Instant::now() > deadline {
                    eprintln!("{} is left over: {error}", folder.display());
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
