//! The options of `lictor up` that are about registration, as spire-controller-manager's configuration has them.
//!
//! Source: spire-controller-manager, `docs/spire-controller-manager-config.md`.

use anyhow::{Context, Result};
use clap::Args;
use lictor_cluster::RegistrationSettings;
use lictor_model::{DnsName, TrustDomain};

/// How registration names the cluster, and which of its resources count.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Words {
    /// The cluster's name: `.ClusterName` in templates, and in the identities of its nodes (clusterName)
    #[arg(long, value_name = "NAME", default_value = "default")]
    cluster_name: String,
    /// The domain of its Services: `.ClusterDomain` in templates, and the zone of the lab's DNS (clusterDomain)
    #[arg(long, value_name = "NAME", default_value = "cluster.local", value_parser = domain)]
    cluster_domain: DnsName,
    /// Act on the ClusterSPIFFEIDs, ClusterStaticEntries and ClusterFederatedTrustDomains with this className alone, instead
    /// of those without one (className)
    #[arg(long, value_name = "NAME")]
    spire_class_name: Option<String>,
    /// Act on those without a className as well (watchClassless)
    #[arg(long, requires = "spire_class_name")]
    spire_watch_classless: bool,
}

impl Words {
    /// Errors: the cluster's name cannot stand in an identity.
    pub(super) fn settings(&self, trust_domain: &TrustDomain) -> Result<RegistrationSettings> {
        let class = self.spire_class_name.as_deref();
        let settings = RegistrationSettings {
            cluster_name: self.cluster_name.as_str().into(),
            cluster_domain: self.cluster_domain.as_str().into(),
            class: class.unwrap_or_default().into(),
            classless: class.is_none_or(str::is_empty) || self.spire_watch_classless,
            ..RegistrationSettings::default()
        };
        settings
            .agent(trust_domain, "node")
            .with_context(|| format!("--cluster-name {:?} cannot stand in an identity", self.cluster_name))?;
        Ok(settings)
    }
}

/// A domain that Services can be below of.
fn domain(text: &str) -> Result<DnsName, String> {
    let refused = || "expected a domain such as cluster.local".to_owned();
    text.parse().ok().filter(|_| !text.starts_with('*')).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::Words;
    use clap::{Args as _, Command, FromArgMatches as _};
    use lictor_cluster::RegistrationSettings;

    fn settings(words: &[&str]) -> Result<RegistrationSettings, String> {
        let command = Words::augment_args(Command::new("up").no_binary_name(true));
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        let words = Words::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        words.settings(&"td".parse().expect("a trust domain")).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(settings(&[]), Ok(RegistrationSettings::default()));
    }

    /// As `docs/spire-controller-manager-config.md` has it: only those of the class, and with `watchClassless` those of none.
    #[test]
    fn a_class_is_acted_on_alone_unless_the_classless_are_watched_too() {
        let acts_on = |words: &[&str]| {
            let settings = settings(words).expect("settings");
            ["", "spire", "other"].map(|class| settings.acts_on(class))
        };
        assert_eq!(acts_on(&[]), [true, false, false]);
        assert_eq!(acts_on(&["--spire-class-name", "spire"]), [false, true, false]);
        assert_eq!(acts_on(&["--spire-class-name", "spire", "--spire-watch-classless"]), [true, true, false]);
        assert_eq!(acts_on(&["--spire-class-name", ""]), [true, false, false], "an empty one is none");
        let alone = settings(&["--spire-watch-classless"]).expect_err("a refusal");
        assert!(alone.contains("--spire-class-name"), "{alone}");
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let named = settings(&["--cluster-name", "a-1", "--cluster-domain", "lab.test"]).expect("settings");
        assert_eq!((&*named.cluster_name, &*named.cluster_domain), ("a-1", "lab.test"));
        for (words, why) in [
            (["--cluster-name", ""], "cannot stand in an identity"),
            (["--cluster-name", "a/b c"], "cannot stand in an identity"),
            (["--cluster-domain", "*.test"], "expected a domain"),
            (["--cluster-domain", "test."], "expected a domain"),
            (["--cluster-domain", ""], "expected a domain"),
        ] {
            let error = settings(&words).expect_err(words[1]);
            assert!(error.contains(why), "{words:?}: {error}");
        }
    }
}
