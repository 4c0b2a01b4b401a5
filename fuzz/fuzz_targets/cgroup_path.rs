//! A cgroup path has one form, and each of its lineage is one that it is below.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_identity::CgroupPath;

fuzz_target!(|text: &str| {
    let Ok(path) = text.parse::<CgroupPath>() else { return };
    assert_eq!(path.as_str(), text);
    assert!(text.starts_with('/') && !text.split('/').any(|part| part == ".."));
    let lineage: Vec<&str> = path.lineage().collect();
    assert_eq!(lineage.last().copied(), (text != "/").then_some(text));
    for above in lineage.iter().take(lineage.len().saturating_sub(1)) {
        let above: CgroupPath = above.parse().expect("a path");
        assert!(path.is_below(&above) && !above.is_below(&path));
    }
});
