//! The built-in stand-in server: what runs in a pod whose container does not.
//!
//! It listens on each port of the pod, on every address of its network namespace, and answers with who it
//! is and whom it saw:
//!
//! | kind | what it does |
//! |---|---|
//! | `tcp` | echoes every byte; when the first line is `WHOAMI`, a line of JSON (a [`Sighting`]) follows its echo |
//! | `udp` | echoes every datagram; the datagram `WHOAMI` is answered with a [`Sighting`] instead |
//! | `http` | HTTP/1.1, and HTTP/2 without TLS when the client opens with its preface, on one port |
//! | `detect` | `http` when the first bytes are a request, else `tcp` |
//!
//! An HTTP request is answered 200 with JSON (an [`http::Seen`]) whatever its method and path. The query changes
//! that: `?status=404` the status, `?bytes=N` a body of N bytes, `?delay=250` milliseconds before the answer,
//! `?echo` the request's body. A WebSocket upgrade on any path gets an echo of each message, and
//! `content-type: application/grpc` the request's messages back with `grpc-status: 0` in the trailers
//! (a health check is told SERVING).
//!
//! It runs in a process of its own, one thread, forked by the [zygote](crate::process): two hundred of
//! them share nearly all their memory.
//!
//! **Not here.** TLS: a port named `https` or `tls` gets the TCP echo.

mod config;
mod echo;
pub mod http;
mod ports;
mod serve;
mod websocket;

pub use config::{Kind, Port, StandIn, kind};
pub use echo::{Sighting, WHOAMI};
pub use ports::ports;
pub use serve::{Bound, run};

#[cfg(test)]
mod tests;
