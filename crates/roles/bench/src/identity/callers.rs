//! The pods' processes: each is in a cgroup of its own and connects there; this one reads what all of them get.

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use lictor_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use lictor_wire::workload::{X509svidRequest, X509svidResponse};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// A connection to a Workload API.
pub(super) type Api = SpiffeWorkloadApiClient<Channel>;

/// So many streams beside the first one are opened for each pod.
const MORE: usize = 4;

/// `CLONE_INTO_CGROUP` of Linux' `sched.h`, which does not fit into the type that libc gives it.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// What all streams have in common.
struct All {
    apis: RefCell<Vec<Api>>,
    /// What is counted at the moment.
    mode: Cell<Mode>,
    /// SVIDs that came since the mode began.
    seen: Cell<usize>,
    /// After so many SVIDs an answer is due.
    wanted: Cell<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// The first SVID of a stream is told.
    First,
    /// One SVID for each stream is told together.
    Count,
    /// More streams are opened; their first SVIDs are told together.
    More,
    /// The streams of one pod are to learn of a change.
    Watch,
}

/// Does as it is told on the standard input until it ends. One thread only: it clones itself into cgroups.
pub(crate) fn run(path: &str) -> Result<()> {
    let most = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?.1;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most, most)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, obey(PathBuf::from(path)))
}

async fn obey(path: PathBuf) -> Result<()> {
    let all = Rc::new(All {
        apis: RefCell::default(),
        mode: Cell::new(Mode::First),
        seen: Cell::new(0),
        wanted: Cell::new(0),
    });
    let mut orders = BufReader::new(Receiver::from_owned_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?).lines();
    while let Some(order) = orders.next_line().await? {
        match order.split_once(' ') {
            Some(("start", folder)) => {
                let api = connected(connect_in(Path::new(folder), &path)?).await?;
                all.apis.borrow_mut().push(api.clone());
                tokio::task::spawn_local(follow(Rc::clone(&all), api));
            }
            Some(("fetch", count)) => {
                let api = all.apis.borrow().first().cloned();
                fetch(&mut api.context("a pod")?, count.parse()?).await?;
            }
            _ => all.begin(&order),
        }
    }
    Ok(())
}

impl All {
    fn begin(self: &Rc<Self>, order: &str) {
        let streams = self.apis.borrow().len();
        let (mode, wanted) = match order {
            "count" => (Mode::Count, streams),
            "more" => (Mode::More, streams * MORE),
            _ => (Mode::Watch, 1 + MORE),
        };
        self.mode.set(mode);
        self.seen.set(0);
        self.wanted.set(wanted);
        if mode == Mode::More {
            for api in self.apis.borrow().iter().flat_map(|api| std::iter::repeat_n(api.clone(), MORE)) {
                tokio::task::spawn_local(follow(Rc::clone(self), api));
            }
        }
    }

    fn saw_one(&self) {
        let answer = match self.mode.get() {
            Mode::First => return tell("first"),
            Mode::Count => "all",
            Mode::More => "more",
            Mode::Watch => "changed",
        };
        self.seen.set(self.seen.get() + 1);
        if self.seen.get() == self.wanted.get() {
            self.seen.set(0);
            tell(answer);
        }
    }
}

fn tell(answer: &str) {
    println!("{answer}");
    drop(std::io::stdout().flush());
}

/// Fetches so many times, one after the other.
async fn fetch(api: &mut Api, count: usize) -> Result<()> {
    for _ in 0..count {
        first_state(api).await.context("a fetch")?;
    }
    tell("fetched");
    Ok(())
}

/// The first state of a stream of its own.
pub(super) async fn first_state(api: &mut Api) -> Option<X509svidResponse> {
    opened(api).await.ok()?.message().await.ok()?
}

async fn opened(api: &mut Api) -> Result<Streaming<X509svidResponse>, Status> {
    let mut request = Request::new(X509svidRequest {});
    request.metadata_mut().insert("workload.spiffe.io", tonic::metadata::MetadataValue::from_static("true"));
    Ok(api.fetch_x509svid(request).await?.into_inner())
}

/// Reads a stream, and another one where that ends, as it does when its pod is registered anew; each other leaf counts.
async fn follow(all: Rc<All>, mut api: Api) {
    let mut leaf = Vec::new();
    loop {
        let mut stream = match opened(&mut api).await {
            Ok(stream) => stream,
            Err(status) => return tell(&format!("refused: {status}")),
        };
        while let Ok(Some(state)) = stream.message().await {
            let Some(svid) = state.svids.into_iter().next() else { continue };
            if svid.x509_svid != leaf {
                leaf = svid.x509_svid;
                all.saw_one();
            }
        }
    }
}

async fn connected(stream: StdStream) -> Result<Api> {
    stream.set_nonblocking(true)?;
    let mut stream = Some(UnixStream::from_std(stream)?);
    let connector = tower::service_fn(move |_| {
        let taken = stream.take().ok_or_else(|| std::io::Error::other("the one connection is over"));
        async move { taken.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://workload").connect_with_connector(connector).await?;
    Ok(Api::new(channel))
}

/// A socket that a new process in a cgroup has connected. The process stays there until it is killed with the cgroup.
#[allow(unsafe_code)]
fn connect_in(cgroup: &Path, path: &Path) -> Result<StdStream> {
    let folder = File::open(cgroup).context("a cgroup")?;
    let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let address = UnixAddr::new(path)?;
    // SAFETY: all zeros are a valid value of this struct of numbers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::try_from(libc::CLONE_FILES)? | INTO_CGROUP;
    args.cgroup = u64::try_from(folder.as_raw_fd())?;
    // SAFETY: this process has one thread, so the child may go on as after fork(); it makes system calls alone, and its
    // memory is a copy. `args` outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match pid {
        0 => {
            let done = connect(socket.as_raw_fd(), &address).is_ok();
            // SAFETY: it waits until a signal ends it; nothing of the parent's is touched.
            unsafe {
                if !done {
                    libc::_exit(1);
                }
                loop {
                    libc::pause();
                }
            }
        }
        pid if pid > 0 => {
            // The child shares the descriptors: once the socket has a peer, it has connected.
            while nix::sys::socket::getpeername::<UnixAddr>(socket.as_raw_fd()).is_err() {
                std::thread::yield_now();
            }
            Ok(StdStream::from(socket))
        }
        _ => Err(std::io::Error::last_os_error()).context("no process in the cgroup"),
    }
}
