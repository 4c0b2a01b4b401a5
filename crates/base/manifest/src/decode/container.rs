//! Containers and their probes.

use super::syntax::{is_dns_label, is_port_name, port_or_name};
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{Container, ContainerPort, Probe, ProbeAction};
use lictor_model::Protocol;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A Container.
pub(crate) fn container(field: &Field<'_>) -> Option<Container> {
    field.record(|record| {
        accept_rest_of_container(record);
        let name = record.get("name");
        if name.is_none() {
            record.field.doubt(Code::MissingField, "the required field `name` is missing");
        }
        let name = name.and_then(|field| {
            let name = field.text()?;
            if !is_dns_label(name) {
                field.wrong(Code::InvalidName, "a DNS label: at most 63 lower-case letters, digits and dashes");
            }
            Some(Arc::from(name))
        });
        let mut command = record.texts("command");
        command.extend(record.texts("args"));
        let ports: Vec<_> = record.items("ports").iter().filter_map(|port| container_port(port)).collect();
        let mut names = HashSet::new();
        for port in ports.iter().filter(|port| !port.name.is_empty() && !names.insert(&port.name)) {
            let message = format!("expected ports of different names, found `{}` twice", port.name);
            record.field.report(Code::InvalidValue, message);
        }
        Container {
            name: name.unwrap_or_else(|| Arc::from("")),
            sidecar: false,
            image: record.text("image").unwrap_or_default().to_owned(),
            status_images: Vec::new(),
            command,
            env: record.items("env").iter().filter_map(environment).collect(),
            ports,
            readiness: record.get("readinessProbe").and_then(|field| probe(&field)),
            liveness: record.get("livenessProbe").and_then(|field| probe(&field)),
            startup: record.get("startupProbe").and_then(|field| probe(&field)),
        }
    })
}

fn accept_rest_of_container(record: &mut Record<'_>) {
    record.accept(&[
        "envFrom",
        "imagePullPolicy",
        "lifecycle",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "restartPolicyRules",
        "securityContext",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    ]);
}

fn environment(field: &Field<'_>) -> Option<(String, String)> {
    field.attempt(|record| {
        let name = record.need("name").and_then(|field| field.text())?;
        if record.has("valueFrom") {
            return None;
        }
        Some((name.to_owned(), record.text("value").unwrap_or_default().to_owned()))
    })
}

fn container_port(field: &Field<'_>) -> Option<ContainerPort> {
    field.attempt(|record| {
        record.accept(&["hostIP", "hostPort"]);
        let name = record.get("name").and_then(|field| {
            let name = field.text()?;
            if !is_port_name(name) && !name.is_empty() {
                let wanted = "a port name: at most 15 lower-case letters, digits and single dashes, with a letter";
                field.wrong(Code::InvalidPort, wanted);
            }
            Some(name)
        });
        let protocol = protocol(record);
        let port = record.need("containerPort")?.integer(Code::InvalidPort, 1..=u16::MAX)?;
        Some(ContainerPort { name: Arc::from(name.unwrap_or("")), port, protocol })
    })
}

/// The `protocol` of a port; TCP when absent.
pub(crate) fn protocol(record: &mut Record<'_>) -> Protocol {
    let words = [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];
    let field = record.get("protocol");
    field.and_then(|field| field.word(Code::InvalidProtocol, &words)).unwrap_or(Protocol::Tcp)
}

fn probe(field: &Field<'_>) -> Option<Probe> {
    field.attempt(|record| {
        record.accept(&["terminationGracePeriodSeconds"]);
        let actions = [
            record.get("exec").and_then(|field| field.record(|record| ProbeAction::Exec(record.texts("command")))),
            record.get("httpGet").and_then(|field| field.attempt(http_get)),
            record.get("tcpSocket").and_then(|field| field.attempt(tcp_socket)),
            record.get("grpc").and_then(|field| field.attempt(grpc)),
        ];
        let (initial_delay, period, timeout, failures, successes) = (
            number(record, "initialDelaySeconds", 0, 0),
            number(record, "periodSeconds", 1, 10),
            number(record, "timeoutSeconds", 1, 1),
            number(record, "failureThreshold", 1, 3),
            number(record, "successThreshold", 1, 1),
        );
        let mut actions = actions.into_iter().flatten();
        let (Some(action), None) = (actions.next(), actions.next()) else {
            record.field.report(Code::InvalidValue, "expected one of exec, httpGet, tcpSocket or grpc");
            return None;
        };
        let seconds = |count: u32| Duration::from_secs(count.into());
        Some(Probe {
            action,
            initial_delay: seconds(initial_delay),
            period: seconds(period),
            timeout: seconds(timeout),
            failures,
            successes,
        })
    })
}

/// A number of seconds or times; dumps write an absent one as 0, which means the default.
fn number(record: &mut Record<'_>, key: &'static str, least: u32, default: u32) -> u32 {
    let given = record.get(key).and_then(|field| field.integer(Code::InvalidValue, 0..=i32::MAX.unsigned_abs()));
    given.filter(|count| *count >= least).unwrap_or(default)
}

fn http_get(record: &mut Record<'_>) -> Option<ProbeAction> {
    record.accept(&["host"]);
    let schemes = [("HTTP", false), ("HTTPS", true), ("", false)];
    let tls = record.get("scheme").and_then(|field| field.word(Code::InvalidValue, &schemes)).unwrap_or(false);
    let path = record.text("path").filter(|path| !path.is_empty()).unwrap_or("/").to_owned();
    let header = |field: &Field<'_>| {
        field.attempt(|record| {
            let (name, value) = (record.need("name")?.text()?, record.text("value").unwrap_or_default());
            Some((name.to_owned(), value.to_owned()))
        })
    };
    let headers = record.items("httpHeaders").iter().filter_map(header).collect();
    let port = port_or_name(&record.need("port")?)?;
    Some(ProbeAction::Http { path, port, headers, tls })
}

fn tcp_socket(record: &mut Record<'_>) -> Option<ProbeAction> {
    record.accept(&["host"]);
    port_or_name(&record.need("port")?).map(ProbeAction::Tcp)
}

fn grpc(record: &mut Record<'_>) -> Option<ProbeAction> {
    let service = record.text("service").unwrap_or_default().to_owned();
    let port = record.need("port")?.integer(Code::InvalidPort, 1..=u16::MAX)?;
    Some(ProbeAction::Grpc(port, service))
}
