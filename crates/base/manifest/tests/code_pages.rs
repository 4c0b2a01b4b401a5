//! `docs/codes/` is generated from the table of codes; `LICTOR_UPDATE=1 cargo test -p lictor-manifest --test code_pages`
//! writes it anew.
#![allow(clippy::unwrap_used, missing_docs)]

use lictor_manifest::Code;
use std::fs;
use std::path::Path;

#[test]
fn every_code_has_its_page_in_the_docs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/codes");
    fs::create_dir_all(&folder).unwrap();
    for code in Code::ALL {
        let path = folder.join(format!("{code}.md"));
        if std::env::var_os("LICTOR_UPDATE").is_some() {
            fs::write(&path, code.page()).unwrap();
        }
        let page = fs::read_to_string(&path).unwrap_or_default();
        assert!(page == code.page(), "{} is not current: run this test with LICTOR_UPDATE=1", path.display());
    }
    let pages = fs::read_dir(&folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "md"));
    assert_eq!(pages.count(), Code::ALL.len(), "a page without a code is left in docs/codes");
}
