//! What became of the resources of registration, counted as the status of their kinds counts it.

use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_cluster::registration::{Registrations, StaticStatus, Stats};
use lictor_model::TrustDomain;
use serde::Serialize;
use std::sync::Arc;

/// The resources that are acted on, each kind by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationStatus {
    /// The ClusterSPIFFEIDs.
    #[serde(rename = "clusterSPIFFEIDs")]
    pub ids: Vec<SpiffeIdStatus>,
    /// The ClusterStaticEntries.
    #[serde(rename = "clusterStaticEntries")]
    pub static_entries: Vec<StaticEntryStatus>,
    /// The ClusterFederatedTrustDomains.
    #[serde(rename = "clusterFederatedTrustDomains")]
    pub federated: Vec<FederatedStatus>,
}

/// A ClusterSPIFFEID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpiffeIdStatus {
    /// Its name.
    pub name: String,
    /// Its `status.stats`.
    pub stats: StatsLine,
}

/// The counts of a ClusterSPIFFEID, named as its kind names them.
///
/// Source: spire-controller-manager, `ClusterSPIFFEIDStats`; what each counts, [`Stats`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // As in `Stats`.
pub struct StatsLine {
    pub namespaces_selected: usize,
    pub namespaces_ignored: usize,
    pub pods_selected: usize,
    pub pod_entry_render_failures: usize,
    pub entries_masked: usize,
    pub entries_to_set: usize,
    pub entry_failures: usize,
}

/// A ClusterStaticEntry, and its `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StaticEntryStatus {
    /// Its name.
    pub name: String,
    /// Whether it is an entry.
    pub rendered: bool,
    /// Whether another one stands in for it.
    pub masked: bool,
    /// Whether it is taken.
    pub set: bool,
}

/// A ClusterFederatedTrustDomain; `lictor identity federation` says how it is with its bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FederatedStatus {
    /// Its name.
    pub name: String,
    /// The trust domain.
    pub trust_domain: TrustDomain,
}

impl From<Stats> for StatsLine {
    fn from(stats: Stats) -> Self {
        let Stats {
            namespaces_selected,
            namespaces_ignored,
            pods_selected,
            pod_entry_render_failures,
            entries_masked,
            entries_to_set,
            entry_failures,
        } = stats;
        Self {
            namespaces_selected,
            namespaces_ignored,
            pods_selected,
            pod_entry_render_failures,
            entries_masked,
            entries_to_set,
            entry_failures,
        }
    }
}

impl From<&Registrations> for RegistrationStatus {
    fn from(known: &Registrations) -> Self {
        let id = |(name, stats): (&Arc<str>, &Stats)| SpiffeIdStatus { name: name.to_string(), stats: (*stats).into() };
        let entry = |(name, status): (&Arc<str>, &StaticStatus)| {
            let StaticStatus { rendered, masked, set } = *status;
            StaticEntryStatus { name: name.to_string(), rendered, masked, set }
        };
        let mut federated: Vec<FederatedStatus> = (known.federated.values())
            .map(|resource| FederatedStatus {
                name: resource.meta.name.name.to_string(),
                trust_domain: resource.trust_domain.clone(),
            })
            .collect();
        federated.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            ids: known.ids.iter().map(id).collect(),
            static_entries: known.static_entries.iter().map(entry).collect(),
            federated,
        }
    }
}

/// Entries of resources, by what became of them.
#[derive(Default)]
struct Counts {
    set: usize,
    masked: usize,
    not_rendered: usize,
    not_taken: usize,
}

impl Counts {
    fn of_id(stats: &StatsLine) -> Self {
        Self {
            set: stats.entries_to_set.saturating_sub(stats.entry_failures),
            masked: stats.entries_masked,
            not_rendered: stats.pod_entry_render_failures,
            not_taken: stats.entry_failures,
        }
    }

    fn of_static(status: &StaticEntryStatus) -> Self {
        Self {
            set: status.set.into(),
            masked: status.masked.into(),
            not_rendered: (!status.rendered).into(),
            not_taken: (status.rendered && !status.masked && !status.set).into(),
        }
    }

    fn sum(counts: impl Iterator<Item = Self>) -> Self {
        counts.fold(Self::default(), |sum, one| Self {
            set: sum.set + one.set,
            masked: sum.masked + one.masked,
            not_rendered: sum.not_rendered + one.not_rendered,
            not_taken: sum.not_taken + one.not_taken,
        })
    }

    /// The counts that are not zero; that of the entries in any case.
    fn words(&self, style: Style) -> String {
        let mut words = plural(self.set, "entry", "entries");
        for (count, what, tone) in [
            (self.masked, "masked", None),
            (self.not_rendered, "not rendered", Some(Tone::Bad)),
            (self.not_taken, "not taken", Some(Tone::Bad)),
        ] {
            if count > 0 {
                let text = format!("{count} {what}");
                words.push_str(", ");
                words.push_str(&tone.map_or_else(|| text.clone(), |tone| style.paint(tone, &text)));
            }
        }
        words
    }

    fn cells(&self) -> [Cell; 4] {
        let bad = |count: usize| match count {
            0 => Cell::from("0"),
            count => Cell::toned(Tone::Bad, count.to_string()),
        };
        [self.set.to_string().into(), self.masked.to_string().into(), bad(self.not_rendered), bad(self.not_taken)]
    }
}

impl RegistrationStatus {
    fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.static_entries.is_empty() && self.federated.is_empty()
    }

    /// All of it in a line; nothing where there is no resource.
    pub(crate) fn line(&self, style: Style) -> Option<String> {
        let mut parts = Vec::new();
        if !self.ids.is_empty() {
            let counts = Counts::sum(self.ids.iter().map(|one| Counts::of_id(&one.stats)));
            let kind = plural(self.ids.len(), "ClusterSPIFFEID", "ClusterSPIFFEIDs");
            parts.push(format!("{kind} ({})", counts.words(style)));
        }
        if !self.static_entries.is_empty() {
            let counts = Counts::sum(self.static_entries.iter().map(Counts::of_static));
            let kind = plural(self.static_entries.len(), "ClusterStaticEntry", "ClusterStaticEntries");
            parts.push(format!("{kind} ({})", counts.words(style)));
        }
        if !self.federated.is_empty() {
            let count = self.federated.len();
            parts.push(plural(count, "ClusterFederatedTrustDomain", "ClusterFederatedTrustDomains"));
        }
        (!parts.is_empty()).then(|| format!("registration: {}", parts.join(", ")))
    }

    /// A row for each resource; nothing where there is none.
    pub(crate) fn table(&self, style: Style) -> Option<String> {
        let mut titles = vec!["REGISTRATION", "PODS", "ENTRIES", "MASKED", "NOT RENDERED", "NOT TAKEN"];
        titles.extend((!self.federated.is_empty()).then_some("TRUST DOMAIN"));
        let mut table = Table::new(titles);
        for SpiffeIdStatus { name, stats } in &self.ids {
            let cells = [format!("ClusterSPIFFEID/{name}").into(), stats.pods_selected.to_string().into()];
            table.row(cells.into_iter().chain(Counts::of_id(stats).cells()).collect());
        }
        for status in &self.static_entries {
            let cells = [format!("ClusterStaticEntry/{}", status.name).into(), "-".into()];
            table.row(cells.into_iter().chain(Counts::of_static(status).cells()).collect());
        }
        for FederatedStatus { name, trust_domain } in &self.federated {
            let none = std::iter::repeat_n(Cell::from("-"), 5);
            let cells = [Cell::from(format!("ClusterFederatedTrustDomain/{name}"))].into_iter().chain(none);
            table.row(cells.chain([trust_domain.to_string().into()]).collect());
        }
        (!self.is_empty()).then(|| table.render(style))
    }
}

fn plural(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::RegistrationStatus;
    use crate::Style;
    use insta::assert_snapshot;
    use lictor_cluster::registration::{Registrations, StaticStatus, Stats};
    use lictor_manifest::Object;

    const OTHER: &str = "apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterFederatedTrustDomain
metadata: {name: other}
spec: {trustDomain: other.example, bundleEndpointURL: 'https://other.example/', bundleEndpointProfile: {type: https_web}}
";

    /// Two ClusterSPIFFEIDs that share pods, three ClusterStaticEntries of which one is taken, and another trust domain.
    fn known() -> Registrations {
        let other = match lictor_manifest::read("other.yaml", OTHER).objects.first() {
            Some(Object::ClusterFederatedTrustDomain(other)) => other.clone(),
            other => panic!("expected a trust domain, saw {other:?}"),
        };
        let selected = Stats { namespaces_selected: 3, namespaces_ignored: 1, pods_selected: 4, ..Stats::default() };
        let all = Stats { entries_to_set: 3, entry_failures: 1, pod_entry_render_failures: 1, ..selected };
        let front = Stats { pods_selected: 2, entries_to_set: 1, entries_masked: 1, ..selected };
        let entry = |masked, set| StaticStatus { rendered: true, masked, set };
        Registrations {
            ids: [("all".into(), all), ("front".into(), front)].into(),
            static_entries: [
                ("job".into(), entry(false, true)),
                ("same".into(), entry(true, false)),
                ("wrong".into(), entry(false, false)),
            ]
            .into(),
            federated: [(other.trust_domain.clone(), other)].into(),
        }
    }

    #[test]
    fn each_resource_is_counted_as_its_kind_counts_it() {
        let status = RegistrationStatus::from(&known());
        assert_snapshot!(
            "registration",
            format!(
                "{}\n{}",
                status.table(Style::default()).expect("a table"),
                status.line(Style::default()).expect("a line")
            )
        );
        let json = serde_json::to_string_pretty(&status).expect("JSON");
        assert_snapshot!("registration_json", json);
    }

    #[test]
    fn nothing_is_said_where_there_is_nothing() {
        let status = RegistrationStatus::from(&Registrations::default());
        assert_eq!((status.line(Style::default()), status.table(Style::default())), (None, None));
    }
}
