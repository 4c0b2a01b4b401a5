//! Whatever a token says, it proves nothing without a signature; a changed one proves nothing at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_pki::{Bundle, TokenAuthority, unix_time, verify_token};
use std::sync::LazyLock;
use time::{Duration, OffsetDateTime};

struct World {
    token: String,
    bundle: Bundle,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let tokens = TokenAuthority::new("td".parse().expect("a trust domain")).expect("an authority");
    let id = "spiffe://td/a".parse().expect("an identity");
    let token = tokens.issue(&id, &["x".to_owned()], OffsetDateTime::UNIX_EPOCH, Duration::HOUR).expect("a token");
    let nobody = Bundle::new("td".parse().expect("a trust domain"), Vec::new(), 0).expect("a bundle");
    World { token, bundle: nobody.with_jwt_keys(vec![tokens.public().clone()]) }
});

// A token from nothing, and a part of the proper one in which another text stands.
fuzz_target!(|input: (&str, u16, u16, &str)| {
    let (text, from, to, instead) = input;
    let now = unix_time(OffsetDateTime::UNIX_EPOCH);
    assert!(verify_token(text, &WORLD.bundle, "x", now).is_err());
    let proper = &WORLD.token;
    let (from, to) = (usize::from(from) % (proper.len() + 1), usize::from(to) % (proper.len() + 1));
    let changed = format!("{}{instead}{}", &proper[..from], &proper[from.max(to)..]);
    assert_eq!(verify_token(&changed, &WORLD.bundle, "x", now).is_ok(), changed == *proper);
});
