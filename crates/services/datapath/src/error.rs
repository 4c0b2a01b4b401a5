//! What can go wrong between us and the kernel.

use lictor_model::Name;
use std::io;

/// What can go wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object was refused.
    #[error("the kernel refused the eBPF object: {0}")]
    Load(#[source] Box<aya::EbpfError>),
    /// A program was refused, or could not be attached.
    #[error("the kernel refused eBPF program {program}: {source}")]
    Program {
        /// Its name in the object.
        program: &'static str,
        /// The kernel's answer, with the verifier's log if there is one.
        source: Box<aya::programs::ProgramError>,
    },
    /// A map operation failed.
    #[error("eBPF map {map}: {source}")]
    Map {
        /// Its name in the object.
        map: &'static str,
        /// The kernel's answer.
        source: Box<aya::maps::MapError>,
    },
    /// The object lacks an item: it does not belong to this build.
    #[error("the eBPF object has no `{0}`")]
    Missing(&'static str),
    /// A program does not fit into the maps; the one before it stays in force.
    #[error("the program needs {wanted} {what}, and there is room for {room}")]
    NoRoom {
        /// What there is too much of.
        what: &'static str,
        /// How many there would be.
        wanted: usize,
        /// How many fit.
        room: usize,
    },
    /// An endpoint has more addresses than its entry holds.
    #[error("endpoint {endpoint} has {found} addresses, and at most {room} fit", room = crate::wire::ENDPOINT_ADDRESSES)]
    Addresses {
        /// The endpoint.
        endpoint: Name,
        /// How many it has.
        found: usize,
    },
    /// A program refers to a rule set or rule that it does not hold.
    #[error("the program of revision {revision} refers to {what}, which it does not hold")]
    Inconsistent {
        /// Its revision.
        revision: u64,
        /// What is missing.
        what: String,
    },
    /// The pod is at a link already.
    #[error("pod {0} is attached already")]
    Attached(Name),
    /// Somebody has the events already.
    #[error("the kernel's events are read already")]
    EventsTaken,
    /// There is no tokio runtime to wait in.
    #[error("events are waited for in a tokio runtime, and there is none here")]
    NoRuntime,
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn map(map: &'static str) -> impl Fn(aya::maps::MapError) -> Self {
        move |source| Self::Map { map, source: Box::new(source) }
    }

    pub(crate) fn program(program: &'static str) -> impl Fn(aya::programs::ProgramError) -> Self {
        move |source| Self::Program { program, source: Box::new(source) }
    }

    pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
