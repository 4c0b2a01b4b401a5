//! From a ClusterSPIFFEID and a pod to an entry.

use super::entry::{By, Entry, Failure, Refusal};
use super::registrar::Registrar;
use crate::pod::Pod;
use lictor_manifest::{ClusterSpiffeId, EntrySelector, Issuance};
use lictor_model::{DnsName, SpiffeId};
use lictor_template::{Data, NodeData, PodData, Template};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An entry, and why it is not taken if it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) entry: Arc<Entry>,
    pub(crate) refusal: Option<Refusal>,
}

impl Registrar {
    /// The entry of a resource for a pod that it selects.
    pub(crate) fn render(
        &self,
        resource: &ClusterSpiffeId,
        issuance: &Arc<Issuance>,
        pod: &Pod,
        services: &BTreeSet<Arc<str>>,
    ) -> Result<Declared, Failure> {
        let node = self.nodes.get(&pod.node).ok_or_else(|| Failure::Node(Arc::clone(&pod.node)))?;
        let parent = self.settings.agent(&self.trust_domain, &node.name).map_err(Failure::Agent)?;
        let uid = self.settings.node_uid(&node.name);
        let data = Data {
            trust_domain: self.trust_domain.as_str(),
            cluster_name: &self.settings.cluster_name,
            cluster_domain: &self.settings.cluster_domain,
            pod: PodData {
                name: &pod.name.name,
                namespace: &pod.name.namespace,
                uid: &pod.uid,
                labels: &pod.labels,
                annotations: &pod.annotations,
                service_account: &pod.service_account,
                hostname: pod.spec.hostname.as_deref().unwrap_or_default(),
                subdomain: pod.spec.subdomain.as_deref().unwrap_or_default(),
                host_network: pod.host_network,
            },
            node: NodeData { name: &node.name, uid: &uid, labels: &node.labels },
        };
        let id = self.id(&resource.id, &data)?;
        let mut names = Names::default();
        for template in &resource.dns_names {
            names.add(template.render(&data)?);
        }
        if resource.auto_populate_dns_names {
            names.add_services(&pod.name.namespace, services, &self.settings.cluster_domain);
        }
        let mut selectors: BTreeSet<EntrySelector> = [selector(format!("k8s:pod-uid:{}", pod.uid))?].into();
        for template in &resource.selectors {
            selectors.insert(selector(template.render(&data)?)?);
        }
        let by = By::SpiffeId(Arc::clone(&resource.meta.name.name));
        let (dns_names, wrong) = (names.valid, names.wrong);
        let entry = Entry { id, parent, selectors, dns_names, issuance: Arc::clone(issuance), by };
        let refusal = entry.refusal(&self.trust_domain).or(wrong);
        Ok(Declared { entry: Arc::new(entry), refusal })
    }

    fn id(&self, template: &Template, data: &Data<'_>) -> Result<SpiffeId, Failure> {
        let text = template.render(data)?;
        let id: SpiffeId = text.parse().map_err(|error| Failure::Id { text, error })?;
        if id.trust_domain_str() == self.trust_domain.as_str() {
            Ok(id)
        } else {
            Err(Failure::TrustDomain { id, wanted: self.trust_domain.clone() })
        }
    }
}

fn selector(text: String) -> Result<EntrySelector, Failure> {
    text.parse().map_err(|_| Failure::Selector(text))
}

/// DNS names, each once, and the first text that is none.
#[derive(Default)]
struct Names {
    valid: Vec<DnsName>,
    wrong: Option<Refusal>,
}

impl Names {
    fn add(&mut self, text: String) {
        match text.parse::<DnsName>() {
            Ok(name) if !self.valid.contains(&name) => self.valid.push(name),
            Ok(_) => {}
            Err(_) => {
                self.wrong.get_or_insert(Refusal::DnsName(text));
            }
        }
    }

    /// The four names of each Service, sorted.
    ///
    /// Source: spire-controller-manager, `dnsNamesFromEndpoints`.
    fn add_services(&mut self, namespace: &str, services: &BTreeSet<Arc<str>>, cluster_domain: &str) {
        let mut names = Vec::new();
        for service in services {
            let within = format!("{service}.{namespace}");
            if !cluster_domain.is_empty() {
                names.push(format!("{within}.svc.{cluster_domain}"));
            }
            names.extend([service.to_string(), format!("{within}.svc"), within]);
        }
        names.sort();
        names.into_iter().for_each(|name| self.add(name));
    }
}
