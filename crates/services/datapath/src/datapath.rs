//! The loaded programs and what they are attached to.

use crate::columns::Columns;
use crate::error::Error;
use crate::event::Event;
use crate::events::Events;
use crate::netns::Netns;
use crate::rcu::Expedited;
use crate::rule_sets::RuleSets;
use crate::services::Services;
use crate::slots::{Link, Slots};
use crate::tables::{Limits, Tables, map};
use crate::wire::NodeKey;
use aya::maps::{MapData, RingBuf};
use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions, TcAttachType};
use aya::programs::{CgroupAttachMode, CgroupSockAddr, SchedClassifier};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use lictor_model::Name;
use lictor_network::Program;
use nix::net::if_::if_indextoname;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../bpf/policy.bpf.o"));

/// What the pod sends is received by the node's end, and the other way round.
const LINK_PROGRAMS: [(&str, TcAttachType); 2] =
    [("lictor_egress", TcAttachType::Ingress), ("lictor_ingress", TcAttachType::Egress)];

const SOCKET_PROGRAMS: [&str; 8] = [
    "lictor_connect4",
    "lictor_connect6",
    "lictor_sendmsg4",
    "lictor_sendmsg6",
    "lictor_recvmsg4",
    "lictor_recvmsg6",
    "lictor_getpeername4",
    "lictor_getpeername6",
];

/// Every program.
pub(crate) const PROGRAMS: [&str; 10] = {
    let [connect4, connect6, sendmsg4, sendmsg6, recvmsg4, recvmsg6, getpeername4, getpeername6] = SOCKET_PROGRAMS;
    let [(egress, _), (ingress, _)] = LINK_PROGRAMS;
    [egress, ingress, connect4, connect6, sendmsg4, sendmsg6, recvmsg4, recvmsg6, getpeername4, getpeername6]
};

/// Segmentation in the kernel: loaded programs, their maps, and the links that they judge.
///
/// Dropping it detaches and unloads everything; nothing is pinned.
pub struct Datapath {
    pub(crate) object: Ebpf,
    pub(crate) tables: Tables,
    pub(crate) limits: Limits,
    pub(crate) slots: Slots,
    pub(crate) rule_sets: RuleSets,
    pub(crate) columns: Columns,
    pub(crate) own_nodes: BTreeSet<NodeKey>,
    pub(crate) services: Services,
    pub(crate) generation: u32,
    pub(crate) program: Option<Arc<Program>>,
    pub(crate) swept: mpsc::Sender<Event>,
    node: Netns,
    events: Option<(RingBuf<MapData>, mpsc::Receiver<Event>)>,
}

impl fmt::Debug for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datapath").field("slots", &self.slots).finish_non_exhaustive()
    }
}

impl Datapath {
    /// Loads the programs for the links of the namespace `node`. Those at sockets (services, and the verdict
    /// before capture) are attached to the cgroup: they see every process below it. Those at links wait for
    /// [`Datapath::attach_pod`].
    ///
    /// Until the first [`Datapath::apply`] every attached pod is cut off.
    pub fn load<'a>(node: &Netns, cgroup: impl Into<Option<&'a Path>>, limits: Limits) -> Result<Self, Error> {
        let node = node.try_clone().map_err(Error::io("cannot hold the node's network namespace"))?;
        let mut loader = EbpfLoader::new();
        limits.set(&mut loader);
        let mut object = loader.load(OBJECT).map_err(|error| Error::Load(Box::new(error)))?;
        let tables = Tables::take(&mut object)?;
        let ring = RingBuf::try_from(map(&mut object, "EVENTS")?).map_err(Error::map("EVENTS"))?;
        for (name, _) in LINK_PROGRAMS {
            link_program(&mut object, name)?.load().map_err(Error::program(name))?;
        }
        if let Some(cgroup) = cgroup.into() {
            let cgroup = File::open(cgroup).map_err(Error::io("cannot open the cgroup"))?;
            for name in SOCKET_PROGRAMS {
                let program = object.program_mut(name).ok_or(Error::Missing(name))?;
                let program: &mut CgroupSockAddr = program.try_into().map_err(Error::program(name))?;
                program.load().map_err(Error::program(name))?;
                program.attach(&cgroup, CgroupAttachMode::Single).map_err(Error::program(name))?;
            }
        }
        let (swept, receiver) = mpsc::channel(limits.flows.max(1) as usize);
        Ok(Self {
            object,
            tables,
            limits,
            slots: Slots::new(&limits),
            rule_sets: RuleSets::new(&limits),
            columns: Columns::default(),
            own_nodes: BTreeSet::new(),
            services: Services::new(&limits),
            generation: 0,
            program: None,
            swept,
            node,
            events: Some((ring, receiver)),
        })
    }

    /// Judges a pod's traffic from now on: what passes the node's end with index `link` of the link to the
    /// pod's network `namespace`.
    ///
    /// # Errors
    /// If the pod is attached already, no endpoint more fits, or the kernel refuses.
    pub fn attach_pod(&mut self, name: &Name, link: u32, namespace: &Netns) -> Result<(), Error> {
        if self.slots.find(name).is_some_and(|slot| slot.link.is_some()) {
            return Err(Error::Attached(name.clone()));
        }
        if self.slots.find(name).is_none() && self.slots.room() == 0 {
            self.sweep()?;
        }
        let _expedited = Expedited::hold();
        let namespace = namespace.run(cookie).map_err(Error::io("cannot tell the pod's network namespace"))?;
        let number = self.slots.take(name)?.number;
        self.tables.links.insert(link, number)?;
        let programs = match self.attach_link(link) {
            Ok(programs) => programs,
            Err(error) => {
                self.tables.links.remove(&link)?;
                return Err(error);
            }
        };
        self.slots.take(name)?.link = Some(Link { index: link, namespace, programs });
        self.tables.namespaces.insert(namespace, number)?;
        self.locate(name, Some(number))
    }

    /// Takes the programs off a pod's link, which may be gone already. What it still sends is dropped if a
    /// program is left; the connections that it had are closed by the next [`Datapath::sweep`].
    pub fn detach_pod(&mut self, name: &Name) -> Result<(), Error> {
        let _expedited = Expedited::hold();
        self.locate(name, None)?;
        let Some(slot) = self.slots.find_mut(name) else { return Ok(()) };
        let Some(link) = slot.link.take() else { return Ok(()) };
        let last = slot.known.unwrap_or_default();
        self.tables.links.remove(&link.index)?;
        self.tables.namespaces.remove(&link.namespace)?;
        for ((name, _), program) in LINK_PROGRAMS.into_iter().zip(link.programs) {
            link_program(&mut self.object, name)?.detach(program).map_err(Error::program(name))?;
        }
        self.slots.leave(name, last);
        Ok(())
    }

    /// What the kernel tells, and what [`Datapath::sweep`] finds. To be called once, in a tokio runtime.
    pub fn events(&mut self) -> Result<Events, Error> {
        let (ring, swept) = self.events.take().ok_or(Error::EventsTaken)?;
        Events::new(ring, swept)
    }

    /// Attaches both programs to a link; neither, if one is refused.
    fn attach_link(&mut self, link: u32) -> Result<[SchedClassifierLinkId; 2], Error> {
        let _inside = self.node.enter_now().map_err(Error::io("cannot enter the node's network namespace"))?;
        let host = if_indextoname(link).map_err(|error| Error::io("cannot find the pod's link")(error.into()))?;
        let host = host.to_string_lossy();
        let mut attach = |(name, at): (&'static str, TcAttachType)| {
            let options = TcAttachOptions::TcxOrder(LinkOrder::default());
            link_program(&mut self.object, name)?.attach_with_options(&host, at, options).map_err(Error::program(name))
        };
        let [first, second] = LINK_PROGRAMS;
        let egress = attach(first)?;
        match attach(second) {
            Ok(ingress) => Ok([egress, ingress]),
            Err(error) => {
                link_program(&mut self.object, first.0)?.detach(egress).map_err(Error::program(first.0))?;
                Err(error)
            }
        }
    }

    /// Tells the maps at which link the pod's addresses are.
    fn locate(&mut self, name: &Name, number: Option<u32>) -> Result<(), Error> {
        let Some(program) = self.program.clone() else { return Ok(()) };
        let Some(endpoint) = program.endpoints.get(name) else { return Ok(()) };
        for (index, address) in (0..).zip(endpoint.addresses.iter()) {
            self.columns.locate(*address, number.map(|number| (number, index)), &mut self.tables)?;
        }
        Ok(())
    }
}

fn link_program<'a>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, Error> {
    let program = object.program_mut(name).ok_or(Error::Missing(name))?;
    program.try_into().map_err(Error::program(name))
}

/// The cookie of the calling thread's network namespace (`SO_NETNS_COOKIE`).
fn cookie() -> std::io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
    let (mut cookie, mut length) = (0_u64, libc::socklen_t::try_from(size_of::<u64>()).unwrap_or_default());
    // SAFETY: the option is a u64; the pointer and the length describe one that lives through the call.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(std::io::Error::last_os_error()) }
}
