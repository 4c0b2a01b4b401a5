use super::{PathPattern, canonical_path};
use proptest::prelude::*;
use std::borrow::Cow;

#[test]
fn the_canonical_form() {
    for (path, canonical) in [
        ("/info?x=1", "/info"),
        ("/info#frag", "/info"),
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/..", "/"),
        ("/../../x", "/x"),
        ("/a/%2E%2e/c", "/c"),
        ("/%61dmin", "/admin"),
        ("\\admin", "/admin"),
        ("/a\\..\\b", "/b"),
        ("/a//b", "/a//b"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb%5C", "/a%2fb%5C"),
        ("/100%", "/100%"),
        ("/%+1", "/%+1"),
        ("/%zz%4", "/%zz%4"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("*", "*"),
        ("", ""),
    ] {
        assert_eq!(canonical_path(path), canonical, "{path}");
    }
    assert!(matches!(canonical_path("/info?x=1"), Cow::Borrowed(_)), "nothing is copied without need");
}

#[test]
fn templates() {
    for (pattern, matches, others) in [
        ("/foo/{*}", &["/foo/bar", "/foo/%41"][..], &["/foo/", "/foo", "/foo/bar/", "/foo/bar/baz", "/xfoo/bar"][..]),
        ("/foo/{*}/", &["/foo/bar/"], &["/foo/bar", "/foo//", "/foo/a/b/"]),
        ("/foo/{**}", &["/foo/", "/foo/bar", "/foo/bar/baz", "/foo//x"], &["/foo", "/fo/x"]),
        ("/foo/{**}/", &["/foo/bar/", "/foo//", "/foo/a/b/"], &["/foo/bar", "/foo/", "/foo"]),
        ("/{*}/bar/{**}", &["/a/bar/", "/a/bar/x/y"], &["/a/b/bar/x", "/a/bar"]),
        ("/{**}/path/end", &["/x/path/end", "/x/y/path/end", "//path/end"], &["/path/end", "/x/path/end/"]),
        ("/{*}/{*}", &["/a/b"], &["/a", "/a/", "//b", "/a/b/c"]),
        ("/{**}", &["/", "/a", "/a/b/"], &["", "a"]),
    ] {
        for strict in [true, false] {
            let pattern = PathPattern::parse(pattern, strict);
            for path in matches {
                assert!(pattern.matches(path), "{pattern} matches {path}");
            }
            for path in others {
                assert!(!pattern.matches(path), "{pattern} leaves {path}");
            }
        }
    }
}

#[test]
fn a_rule_that_keeps_out_has_no_way_past_by_a_stray_character() {
    for path in ["/admin/x*y", "/admin/\"", "/admin/é"] {
        assert!(!PathPattern::parse("/admin/{*}", true).matches(path), "{path}");
        assert!(PathPattern::parse("/admin/{*}", false).matches(path), "{path}");
        assert!(PathPattern::parse("/admin/{**}", false).matches(path), "{path}");
    }
}

proptest! {
    #[test]
    fn the_canonical_form_is_a_fixed_point(path in "/[a-c./%2eE\\\\]{0,24}") {
        let once = canonical_path(&path).into_owned();
        prop_assert_eq!(canonical_path(&once), once.as_str());
        prop_assert!(!once.split('/').any(|segment| segment == ".."), "{}", once);
    }

    #[test]
    fn matching_never_panics(pattern in "[a/{}*é]{0,16}", path in "[a/{}*é]{0,24}") {
        let _ = PathPattern::parse(&pattern, true).matches(&path);
        let _ = PathPattern::parse(&pattern, false).matches(&path);
    }
}
