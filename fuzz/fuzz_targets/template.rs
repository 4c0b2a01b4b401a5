//! Any text as a template: it is refused at a place within it, or rendered to a bounded text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_model::Labels;
use lictor_template::{Data, NodeData, PodData, Template};

fuzz_target!(|text: &str| match Template::parse(text) {
    Err(error) => assert!(error.line >= 1 && error.column >= 1),
    Ok(template) => {
        let labels: Labels = [("app", "web")].into_iter().collect();
        let pod = PodData {
            name: "web-0",
            namespace: "shop",
            uid: "uid",
            labels: &labels,
            annotations: &labels,
            service_account: "web",
            hostname: "",
            subdomain: "",
            host_network: false,
        };
        let node = NodeData { name: "n1", uid: "uid", labels: &labels };
        let data = Data { trust_domain: "td", cluster_name: "c", cluster_domain: "cluster.local", pod, node };
        if let Ok(text) = template.render(&data) {
            assert!(text.len() <= 64 << 10);
        }
    }
});
