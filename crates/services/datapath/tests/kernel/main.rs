//! What the kernel really does: needs root, nf_tables, tcx, BTF and cgroup v2. Everything happens in
//! namespaces made here, and nothing is left behind.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod capture;
mod flips;
mod frames;
mod links;
mod measure;
mod mesh;
mod node;
mod packets;
mod policy;
mod program;
mod services;
