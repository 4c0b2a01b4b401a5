//! What policies are asked about in an HTTP head: host, headers, path; and the first bytes of a connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_proxy::{head, path, sniff};

/// A request's target, a path, and header fields.
type Input<'a> = (&'a [u8], &'a str, Vec<(&'a [u8], &'a [u8])>);

fuzz_target!(|input: Input<'_>| {
    let (target, raw, headers) = input;
    let _ = sniff::sniff(target);
    if let Ok(normal) = path::normalise_path(raw) {
        let again = path::normalise_path(&normal.base).map(|again| again.base.into_owned());
        assert_eq!(again.as_deref(), Ok(&*normal.base), "normalising again changes nothing");
    }
    let mut request = http::Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if let Ok(request) = request.body(()) {
        let (parts, ()) = request.into_parts();
        let _ = head::host(&parts);
        let _ = head::header_texts(&parts.headers);
    }
});
