//! The question that authorization answers.

use crate::SpiffeId;
use serde_json::Value;
use std::net::IpAddr;

/// A connection or HTTP request as the destination's enforcement point sees it.
///
/// It borrows everything: the proxy asks once per request and must not copy headers to do so.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The identity that the peer proved by its certificate; none on plaintext.
    pub principal: Option<&'a SpiffeId>,
    /// The address of the connection's other end.
    pub source_ip: IpAddr,
    /// The address of the original client, where a trusted hop has told it; otherwise `source_ip`.
    pub remote_ip: IpAddr,
    /// The address that was asked for.
    pub destination_ip: IpAddr,
    /// The port that was asked for.
    pub destination_port: u16,
    /// The server name of a TLS connection that passes through.
    pub sni: Option<&'a str>,
    /// The HTTP request; none on a connection that is not HTTP.
    pub http: Option<Http<'a>>,
    /// The claims of a token that was verified; none without one.
    pub claims: Option<&'a Value>,
}

/// The parts of an HTTP request that policies can speak of.
#[derive(Debug, Clone, Copy)]
pub struct Http<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The path with its query, as sent; matchers ignore what follows `?` or `#`.
    pub path: &'a str,
    /// The `Host` header or `:authority`.
    pub host: &'a str,
    /// All headers in order: names in lower case, a repeated name repeated.
    pub headers: &'a [(&'a str, &'a str)],
}
