//! `lictor.dev/v1alpha1` Stance.

use super::accept_type;
use super::labels::selector;
use super::metadata::Metadata;
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{Stance, StanceLayer};
use lictor_model::{Established, Mode};

/// A Stance.
pub(crate) fn stance(object: &Field<'_>, metadata: Metadata) -> Option<Stance> {
    object.attempt(|record| {
        accept_type(record);
        record.need("spec")?.attempt(|record| {
            let layers = record.need("layers").map(|field| layers(&field)).unwrap_or_default();
            let modes = Mode::ALL.iter().map(|mode| (mode.as_str(), *mode)).collect::<Vec<_>>();
            let mode = record.need("mode").and_then(|field| field.word(Code::InvalidValue, &modes));
            let selector = record.get("selector").and_then(|field| selector(&field));
            let established = established(record);
            Some(Stance { meta: metadata.meta, layers, selector, mode: mode?, established })
        })
    })
}

fn layers(field: &Field<'_>) -> Vec<StanceLayer> {
    let words = [
        ("segmentation", StanceLayer::Segmentation),
        ("transport", StanceLayer::Transport),
        ("authorization", StanceLayer::Authorization),
    ];
    let items = field.items();
    if items.is_empty() {
        field.report(Code::InvalidValue, "expected at least one layer, found none");
    }
    items.iter().filter_map(|item| item.word(Code::InvalidValue, &words)).collect()
}

fn established(record: &mut Record<'_>) -> Established {
    let words = [("rejudge", Established::Rejudge), ("keep", Established::Keep)];
    record.get("established").and_then(|field| field.word(Code::InvalidValue, &words)).unwrap_or_default()
}
