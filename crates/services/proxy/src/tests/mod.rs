//! Tests of the proxy as a whole: two ends on the loopback device of one namespace.

pub(crate) mod net;
