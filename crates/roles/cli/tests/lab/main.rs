//! The lab from outside, as a user has it: real namespaces, kernel verdicts, mutual TLS. Needs root.
#![allow(clippy::unwrap_used, missing_docs)]

mod agent;
mod authorities;
mod broker;
mod broker_client;
mod capture;
mod certificates;
mod control;
mod edits;
mod envoy;
mod federation;
mod fetch;
mod foreign_client;
mod lab;
mod mesh;
mod names;
mod nested;
mod predictions;
mod processes;
mod readiness;
mod registration;
mod source;
mod spoofing;
mod tokens;
mod workload_client;
