//! What people see, to the letter.

use insta::assert_snapshot;
use lictor_cluster::registration::{Registrations, Stats};
use lictor_cluster::{AddressPool, Node, Settings, Snapshot};
use lictor_manifest::{Code, Finding, Position, read};
use lictor_model::{
    By, Close, Decision, Labels, Layer, Mode, Name, Party, Point, PolicyKind, PolicyRef, Protocol, Record, Revision,
    Verdict,
};
use lictor_report::{
    Category, CheckList, CheckRow, CheckState, Format, Observed, PodStatus, PolicyStatus, ProbeReport, Probed, Status,
    Style, WorkloadStatus,
};
use lictor_why::{Ask, Scope, Show, predict, workloads};
use time::OffsetDateTime;

const SHOP: &str = "
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {serviceAccountName: api, containers: [{name: c, image: i, ports: [{name: http, containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {serviceAccountName: db, containers: [{name: c, image: i, ports: [{name: pg, containerPort: 5432}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: old, namespace: shop, labels: {app: old}, annotations: {lictor.dev/enroll: 'false'}}
spec: {serviceAccountName: old, containers: [{name: c, image: i}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: api}}}]
      ports: [{port: 5433}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reads, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  rules:
    - to: [{operation: {methods: [GET]}}]
---
apiVersion: lictor.dev/v1alpha1
kind: Stance
metadata: {name: learn, namespace: shop}
spec: {layers: [authorization], mode: Audit}
";

fn shop() -> Snapshot {
    cluster(SHOP)
}

fn cluster(text: &str) -> Snapshot {
    let reading = read("shop.yaml", text);
    assert!(!reading.has_errors(), "{:?}", reading.findings);
    let node = Node { name: "lab".into(), labels: Labels::default(), addresses: vec![[10, 244, 0, 1].into()] };
    let settings = Settings::new(vec![node]);
    Snapshot::build(&reading.objects, &settings, &mut AddressPool::default(), Revision(4)).0
}

fn answer(from: &str, to: &str, format: Format, style: Style) -> String {
    answer_in(&shop(), from, to, format, style)
}

fn answer_in(snapshot: &Snapshot, from: &str, to: &str, format: Format, style: Style) -> String {
    let ask = Ask { from: from.into(), to: to.into(), namespace: "shop".into(), ..Ask::default() };
    let answer = lictor_why::answer(snapshot, &ask.resolve(snapshot).expect("a question"));
    lictor_report::answer(&answer, format, style).expect("a text")
}

#[test]
fn an_answer() {
    assert_snapshot!(answer("api", "db", Format::Text, Style::default()), @r"
    DENIED   shop/api -> shop/db:5432/TCP     at ingress, by default

      egress         ✓  no policy selects shop/api, so it is allowed
      transport      ✓  mutual TLS (PERMISSIVE by default)
                        spiffe://cluster.local/ns/shop/sa/api -> .../sa/db
      ingress        ✗  no policy allows it; shop/db isolates shop/db   shop.yaml:17
                        nearest miss: shop/db                           shop.yaml:23  spec.ingress[0]
                          ports[0].port: wants 5433, seen 5432
      authorization  -  not reached; no policy selects shop/db, so it would be allowed (Audit by shop/learn)

    Smallest change that allows it (checked: opens this connection and no other):

      apiVersion: networking.k8s.io/v1
      kind: NetworkPolicy
      metadata:
        name: allow-api-to-db-5432-ingress
        namespace: shop
      spec:
        podSelector:
          matchLabels:
            app: db
        policyTypes:
          - Ingress
        ingress:
          - from:
              - podSelector:
                  matchLabels:
                    app: api
            ports:
              - protocol: TCP
                port: 5432
    ");
}

#[test]
fn an_answer_in_a_narrow_terminal() {
    let style = Style { width: Some(90), ..Style::default() };
    assert_snapshot!(answer("api", "db", Format::Text, style), @r"
    DENIED   shop/api -> shop/db:5432/TCP     at ingress, by default

      egress         ✓  no policy selects shop/api, so it is allowed
      transport      ✓  mutual TLS (PERMISSIVE by default)
                        spiffe://cluster.local/ns/shop/sa/api -> .../sa/db
      ingress        ✗  no policy allows it; shop/db isolates   shop.yaml:17
                        shop/db
                        nearest miss: shop/db                   shop.yaml:23  spec.ingress[0]
                          ports[0].port: wants 5433, seen 5432
      authorization  -  not reached; no policy selects shop/db, so it would be allowed (Audit
                        by shop/learn)

    Smallest change that allows it (checked: opens this connection and no other):

      apiVersion: networking.k8s.io/v1
      kind: NetworkPolicy
      metadata:
        name: allow-api-to-db-5432-ingress
        namespace: shop
      spec:
        podSelector:
          matchLabels:
            app: db
        policyTypes:
          - Ingress
        ingress:
          - from:
              - podSelector:
                  matchLabels:
                    app: api
            ports:
              - protocol: TCP
                port: 5432
    ");
}

#[test]
fn an_answer_with_colour_has_the_same_words() {
    let style = Style { colour: true, ..Style::default() };
    let coloured = answer("api", "db", Format::Text, style);
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').expect("an escape ends").1;
    }
    assert_eq!(plain + rest, answer("api", "db", Format::Text, Style::default()));
    assert!(coloured.contains("\u{1b}[31mDENIED\u{1b}[0m"));
}

#[test]
fn an_audited_answer() {
    assert_snapshot!(answer("db", "api:81", Format::Text, Style::default()), @r"
    ALLOWED  shop/db -> shop/api:81/TCP  GET /

      egress         ✓  no policy selects shop/db, so it is allowed
      transport      ✓  mutual TLS (PERMISSIVE by default)
                        spiffe://cluster.local/ns/shop/sa/db -> .../sa/api
      ingress        ✓  no policy selects shop/api, so it is allowed
      authorization  ✓  allowed by shop/reads (Audit by shop/learn)   shop.yaml:32  spec.rules[0]

    note: no container of shop/api declares port 81/TCP
    note: each request on this port is judged, and this is about GET /; ask with --method and --path. The rules name: GET any path
    ");
}

#[test]
fn an_answer_as_yaml() {
    assert_snapshot!(answer("old", "db:5433", Format::Yaml, Style::default()), @r#"
    connection:
      source:
        name: shop/old
        kind: Pod
        pod: shop/old
        address: "10.244.0.4"
        identity: spiffe://cluster.local/ns/shop/sa/old
        enrolled: false
      destination:
        name: shop/db
        kind: Pod
        pod: shop/db
        address: "10.244.0.3"
        identity: spiffe://cluster.local/ns/shop/sa/db
        enrolled: true
      protocol: TCP
      port: 5433
      targetPort: 5433
      encrypted: false
      mtls: PERMISSIVE
    verdict: denied
    would: denied
    deniedAt: ingress
    ladder:
      - layer: egress
        mode: Enforce
        verdict: allowed
        reached: true
        by: noPolicy
        applied: []
      - layer: transport
        mode: Enforce
        verdict: allowed
        reached: true
        by: noPolicy
        applied: []
        notes:
          - PERMISSIVE
          - shop/old is outside the mesh
          - plaintext
      - layer: ingress
        mode: Enforce
        verdict: denied
        reached: true
        by:
          isolation:
            - kind: NetworkPolicy
              name: shop/db
        applied:
          - kind: NetworkPolicy
            name: shop/db
        nearestMiss:
          rule:
            kind: NetworkPolicy
            name: shop/db
            path: spec.ingress[0]
          fields:
            - field: spec.ingress[0].from[0].podSelector
              wanted: app=api
              seen: app=old
        at:
          - file: shop.yaml
            line: 17
            column: 1
        nearestMissAt:
          file: shop.yaml
          line: 23
          column: 7
      - layer: authorization
        mode: Audit
        verdict: allowed
        reached: false
        by: noPolicy
        applied: []
        stance:
          kind: Stance
          name: shop/learn
    fix:
      changes:
        - action: apply
          layer: ingress
          document:
            apiVersion: networking.k8s.io/v1
            kind: NetworkPolicy
            metadata:
              name: allow-old-to-db-5433-ingress
              namespace: shop
            spec:
              podSelector:
                matchLabels:
                  app: db
              policyTypes:
                - Ingress
              ingress:
                - from:
                    - podSelector:
                        matchLabels:
                          app: old
                  ports:
                    - protocol: TCP
                      port: 5433
      effect:
        opens: []
        closes: []
        compared: 3
    notes:
      - text: no container of shop/db declares port 5433/TCP
    revision: 4
    "#);
}

#[test]
fn an_answer_as_json_has_the_same_facts() {
    let json: serde_json::Value =
        serde_json::from_str(&answer("api", "db", Format::Json, Style::default())).expect("JSON");
    assert_eq!(json["verdict"], "denied");
    assert_eq!(json["deniedAt"], "ingress");
    assert_eq!(json["ladder"][2]["nearestMiss"]["fields"][0]["wanted"], "5433");
    assert_eq!(json["fix"]["changes"][0]["document"]["kind"], "NetworkPolicy");
}

/// Three pods without an owner that look alike, and one that they may not reach, by Cilium.
const CACHES: &str = "
apiVersion: v1
kind: Pod
metadata: {name: cache-0, namespace: shop, labels: {app: cache}}
spec: {containers: [{name: c, image: i, ports: [{containerPort: 6379}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cache-1, namespace: shop, labels: {app: cache}}
spec: {containers: [{name: c, image: i, ports: [{containerPort: 6379}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: cache-2, namespace: shop, labels: {app: cache}}
spec: {containers: [{name: c, image: i, ports: [{containerPort: 6379}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: i, ports: [{containerPort: 5432}]}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  description: Only jobs of the night come in.
  log: {value: db-closed}
  endpointSelector: {matchLabels: {app: db}}
  ingress: [{fromEndpoints: [{matchLabels: {app: job}}]}]
";

#[test]
fn pods_that_look_alike_are_one_row() {
    let caches = cluster(CACHES);
    let edges = lictor_why::edges(&caches, &Scope::default(), Show::All).expect("few pairs");
    assert_snapshot!(lictor_report::edges(&edges, Format::Text, Style::default()).expect("a text"), @r"
    FROM                        TO                                   VERDICT  TLS     DECIDED BY
    shop/cache-0 (and 2 alike)  shop/cache-0:6379/TCP (and 2 alike)  allowed  mutual  no policy
    shop/cache-0 (and 2 alike)  shop/db:5432/TCP                     denied   mutual  default of shop/db
    shop/db                     shop/cache-0:6379/TCP (and 2 alike)  allowed  mutual  no policy

    3 pairs of workload and port: 2 allowed, 1 denied
    ");
    let json = serde_json::to_value(&edges.edges).expect("JSON");
    assert_eq!((&json[0]["source"], &json[0]["sourceAlike"]), (&"shop/cache-0".into(), &2.into()));
    let open = cluster(&CACHES[..CACHES.rfind("---").expect("documents")]);
    let difference = lictor_why::diff(&open, &caches, &Scope::default(), None).expect("few pairs");
    assert_snapshot!(lictor_report::diff(&difference, Format::Text, Style::default()).expect("a text"), @r"
    CHANGE  FROM                        TO                BEFORE        AFTER   DECIDED BY          WHERE
    closed  shop/cache-0 (and 2 alike)  shop/db:5432/TCP  allowed, TLS  denied  default of shop/db  shop.yaml:22

    3 pairs of workload and port: 0 opened, 1 closed, 0 changed
    ");
}

#[test]
fn an_answer_about_what_cilium_denies() {
    assert_snapshot!(answer_in(&cluster(CACHES), "cache-0", "db", Format::Text, Style::default()), @r#"
    DENIED   shop/cache-0 -> shop/db:5432/TCP     at ingress, by default

      egress         ✓  no policy selects shop/cache-0, so it is allowed
      transport      ✓  mutual TLS (PERMISSIVE by default)
                        spiffe://cluster.local/ns/shop/sa/default -> .../sa/default
      ingress        ✗  no policy allows it; shop/db isolates shop/db   shop.yaml:22
                        description: Only jobs of the night come in.
                        log value: db-closed
                        nearest miss: shop/db                           shop.yaml:29  spec.ingress[0]
                          from: wants pods app=job, seen shop/cache-0 app=cache
      authorization  -  not reached; no policy selects shop/db, so it would be allowed

    Smallest change that allows it (checked: what else it does is below):

      apiVersion: cilium.io/v2
      kind: CiliumNetworkPolicy
      metadata:
        name: allow-cache-0-to-db-5432-ingress
        namespace: shop
      spec:
        endpointSelector:
          matchLabels:
            app: db
        enableDefaultDeny:
          ingress: false
        ingress:
          - fromEndpoints:
              - matchLabels:
                  app: cache
            toPorts:
              - ports:
                  - port: "5432"
                    protocol: TCP

    It also opens:
      shop/cache-0 (and 2 alike) -> shop/db:5432/TCP
    "#);
}

#[test]
fn edges_in_every_form() {
    let edges = lictor_why::edges(&shop(), &Scope::default(), Show::All).expect("few pairs");
    let text = |format| lictor_report::edges(&edges, format, Style::default()).expect("a text");
    assert_snapshot!(text(Format::Text), @r"
    FROM      TO                VERDICT  TLS     DECIDED BY
    shop/api  shop/db:5432/TCP  denied   mutual  default of shop/db
    shop/db   shop/api:80/TCP   audited  mutual  shop/reads
    shop/old  shop/api:80/TCP   audited  -       shop/reads
    shop/old  shop/db:5432/TCP  denied   -       default of shop/db

    4 pairs of workload and port: 2 allowed, 2 denied
    ");
    assert_snapshot!(text(Format::Wide), @r"
    FROM      TO                VERDICT  TLS     DECIDED BY          LAYER          MODE     WHERE         REQUESTS
    shop/api  shop/db:5432/TCP  denied   mutual  default of shop/db  ingress        Enforce  shop.yaml:17
    shop/db   shop/api:80/TCP   audited  mutual  shop/reads          authorization  Audit    shop.yaml:32  GET /, POST /named-by-no-rule
    shop/old  shop/api:80/TCP   audited  -       shop/reads          authorization  Audit    shop.yaml:32  GET /, POST /named-by-no-rule
    shop/old  shop/db:5432/TCP  denied   -       default of shop/db  ingress        Enforce  shop.yaml:17

    4 pairs of workload and port: 2 allowed, 2 denied
    ");
    assert_snapshot!(text(Format::Csv), @r"
    source,destination,port,protocol,verdict,would,encrypted,layer,mode,by
    shop/api,shop/db,5432,TCP,denied,denied,true,ingress,Enforce,default of shop/db
    shop/db,shop/api,80,TCP,allowed,partly,true,authorization,Audit,shop/reads
    shop/old,shop/api,80,TCP,allowed,partly,false,authorization,Audit,shop/reads
    shop/old,shop/db,5432,TCP,denied,denied,false,ingress,Enforce,default of shop/db
    ");
    assert_snapshot!(text(Format::Markdown), @r"
    | from | to | verdict | TLS | decided by |
    |---|---|---|---|---|
    | shop/api | shop/db:5432/TCP | denied | mutual | default of shop/db |
    | shop/db | shop/api:80/TCP | allowed | mutual | shop/reads |
    | shop/old | shop/api:80/TCP | allowed | - | shop/reads |
    | shop/old | shop/db:5432/TCP | denied | - | default of shop/db |
    ");
    assert_snapshot!(text(Format::Dot), @r#"
    digraph lictor {
      rankdir=LR;
      node [shape=box, fontname="sans-serif"];
      "shop/api" -> "shop/db" [label="5432/TCP", style=dotted];
      "shop/db" -> "shop/api" [label="80/TCP", style=solid];
      "shop/old" -> "shop/api" [label="80/TCP", style=solid];
      "shop/old" -> "shop/db" [label="5432/TCP", style=dotted];
    }
    "#);
    assert_snapshot!(text(Format::Mermaid), @r#"
    flowchart LR
      n0["shop/api"]
      n1["shop/db"]
      n2["shop/old"]
      n0 --x|5432/TCP| n1
      n1 -->|80/TCP| n0
      n2 -->|80/TCP| n0
      n2 --x|5432/TCP| n1
    "#);
    let json: serde_json::Value = serde_json::from_str(&text(Format::Json)).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(edges.edges.len()));
}

#[test]
fn a_probe_that_agrees_and_one_that_does_not() {
    use lictor_why::Denial;
    let checks = predict(&shop(), &Scope::default());
    let as_predicted = |denial: Option<Denial>| match denial {
        None => Observed::Reached,
        Some(Denial::Dropped) => Observed::Dropped,
        Some(Denial::Closed) => Observed::Ended,
        Some(Denial::Forbidden) => Observed::Forbidden,
    };
    let mut probed: Vec<Probed> = checks
        .into_iter()
        .map(|check| {
            let denial = check.denial;
            Probed::new(check, as_predicted(denial))
        })
        .collect();
    let good = ProbeReport::new(probed.clone(), 0.25);
    assert_eq!(good.exit_code(), 0);
    assert_snapshot!(lictor_report::probe(&good, Format::Text, Style::default()).expect("a text"), @r"
              1  2
    shop/api  ·  ✗
    shop/db   ✓  ·
    shop/old  ✓  ✗

      1  shop/api:80/TCP
      2  shop/db:5432/TCP

    ✓ allowed   ✗ denied   ◐ some requests   ! not as predicted   · itself

    6 connections in 0.2 s: 4 predicted to be allowed, 2 denied; 0 disagreements
    ");
    let wrong = probed.iter_mut().find(|probed| probed.check.denial.is_some()).expect("a denial");
    *wrong = Probed::new(wrong.check.clone(), Observed::Reached);
    let bad = ProbeReport::new(probed, 0.25);
    assert_eq!(bad.exit_code(), 1);
    let text = lictor_report::probe(&bad, Format::Text, Style::default()).expect("a text");
    assert_snapshot!(text.split("itself\n\n").nth(1).expect("what follows the matrix"), @r"
    DISAGREES  shop/api -> shop/db:5432/TCP
      predicted no answer (denied at ingress: default of shop/db, shop.yaml:17); there was an answer
      lictor why shop/api shop/db:5432/TCP

    6 connections in 0.2 s: 4 predicted to be allowed, 2 denied; 1 disagreement
    ");
}

/// A ClusterSPIFFEID that fails for one of its three pods.
fn registrations() -> Registrations {
    let stats = Stats { pods_selected: 3, entries_to_set: 2, pod_entry_render_failures: 1, ..Stats::default() };
    Registrations { ids: [("web".into(), stats)].into(), ..Registrations::default() }
}

#[test]
fn a_status() {
    let snapshot = shop();
    let state = |pod: &Name| PodStatus {
        pod: pod.clone(),
        addresses: snapshot.pods[pod].addresses.clone(),
        phase: "running".to_owned(),
        ready: &*pod.name != "old",
        pid: Some(4711),
        restarts: 0,
        identities: Vec::new(),
        svid_expires: Some(OffsetDateTime::UNIX_EPOCH),
    };
    let workloads = workloads(&snapshot).into_iter().map(|view| {
        let states: Vec<PodStatus> = view.pods.iter().map(state).collect();
        WorkloadStatus { ready: states.iter().filter(|pod| pod.ready).count(), view, states }
    });
    let policy = PolicyRef::whole(PolicyKind::NetworkPolicy, Name::new("shop", "db"));
    let status = Status {
        lab: "lab".to_owned(),
        pid: 4242,
        since: OffsetDateTime::UNIX_EPOCH,
        revision: Revision(4),
        trust_domain: snapshot.trust_domain.clone(),
        sources: vec!["examples/shop".to_owned()],
        workloads: workloads.collect(),
        policies: vec![PolicyStatus {
            at: lictor_why::place(&snapshot, &policy),
            policy,
            state: "enforced".to_owned(),
            pods: 1,
        }],
        registration: (&registrations()).into(),
        findings: vec![Finding::new(Code::ServiceSelectsNothing, Position::default(), "a Service selects nothing")],
        refused: Some("error[LIC1001]: shop.yaml:3:1\n".to_owned()),
        records_dropped: 1,
    };
    let text = |format| lictor_report::status(&status, format, Style::default()).expect("a text");
    assert_snapshot!(text(Format::Text), @r"
    WORKLOAD  READY  IDENTITY                               TRANSPORT         POLICIES
    shop/api  1/1    spiffe://cluster.local/ns/shop/sa/api  PERMISSIVE        reads
    shop/db   1/1    spiffe://cluster.local/ns/shop/sa/db   PERMISSIVE        db
    shop/old  0/1    spiffe://cluster.local/ns/shop/sa/old  outside the mesh  -

    lab (revision 4): 2 of 3 pods ready, 1 policy, 1 warning, 1 decision not written down
    registration: 1 ClusterSPIFFEID (2 entries, 1 not rendered)

    the manifests as they are now are not in force:
    error[LIC1001]: shop.yaml:3:1
    ");
    assert_snapshot!(text(Format::Wide), @r"
    WORKLOAD  READY  IDENTITY                               TRANSPORT         POLICIES
    shop/api  1/1    spiffe://cluster.local/ns/shop/sa/api  PERMISSIVE        reads
    shop/db   1/1    spiffe://cluster.local/ns/shop/sa/db   PERMISSIVE        db
    shop/old  0/1    spiffe://cluster.local/ns/shop/sa/old  outside the mesh  -

    POD       PHASE    READY  ADDRESS     PID   RESTARTS  SVID ENDS
    shop/api  running  yes    10.244.0.2  4711  0         1970-01-01T00:00:00Z
    shop/db   running  yes    10.244.0.3  4711  0         1970-01-01T00:00:00Z
    shop/old  running  no     10.244.0.4  4711  0         1970-01-01T00:00:00Z

    POLICY         NAME     PODS  STATE     WHERE
    NetworkPolicy  shop/db  1     enforced  shop.yaml:17

    REGISTRATION         PODS  ENTRIES  MASKED  NOT RENDERED  NOT TAKEN
    ClusterSPIFFEID/web  3     2        0       1             0

    lab (revision 4): 2 of 3 pods ready, 1 policy, 1 warning, 1 decision not written down
    registration: 1 ClusterSPIFFEID (2 entries, 1 not rendered)

    the manifests as they are now are not in force:
    error[LIC1001]: shop.yaml:3:1
    ");
    let json: serde_json::Value = serde_json::from_str(&text(Format::Json)).expect("JSON");
    assert_eq!((&json["pid"], &json["workloads"][0]["workload"]), (&4242.into(), &"shop/api".into()));
    assert_eq!(json["registration"]["clusterSPIFFEIDs"][0]["stats"]["podEntryRenderFailures"], 1);
}

#[test]
fn flows() {
    let party = |name: &str, last: u8, port| Party {
        pod: Some(Name::new("shop", name)),
        address: [10, 244, 0, last].into(),
        port,
        identity: None,
    };
    let policy = PolicyRef::whole(PolicyKind::NetworkPolicy, Name::new("shop", "db"));
    let decision = Decision {
        id: 7,
        time: OffsetDateTime::UNIX_EPOCH,
        layer: Layer::Ingress,
        mode: Mode::Enforce,
        verdict: Verdict::Deny,
        would: Verdict::Deny,
        by: By::Isolation(vec![policy.clone()]),
        source: party("api", 2, 40_000),
        destination: party("db", 3, 5432),
        protocol: Protocol::Tcp,
        encrypted: true,
        method: None,
        path: None,
        host: None,
        audited_by: Vec::new(),
        point: Point::Proxy,
        revision: Revision(4),
    };
    let request = Decision {
        id: 8,
        verdict: Verdict::Allow,
        mode: Mode::Audit,
        layer: Layer::Authorization,
        method: Some("POST".to_owned()),
        path: Some("/x".to_owned()),
        point: Point::Http,
        ..decision.clone()
    };
    let close = Close {
        id: 6,
        time: OffsetDateTime::UNIX_EPOCH,
        bytes_sent: 512,
        bytes_received: 5_000_000,
        ended_by: Some(By::Policy(policy)),
    };
    let records = [Record::Decision(decision), Record::Decision(request), Record::Close(close)];
    let lines = |format| -> String {
        records.iter().map(|record| lictor_report::flow(record, format, Style::default()).expect("a line")).collect()
    };
    assert_snapshot!(lines(Format::Text), @r"
    00:00:00.000  DENIED   shop/api -> shop/db:5432/TCP  ingress: default of shop/db  mutual TLS  #7
    00:00:00.000  AUDITED  shop/api -> shop/db:5432/TCP  POST /x  authorization: default of shop/db  mutual TLS  #8
    00:00:00.000  ENDED    #6  512 B sent, 4.8 MiB received  shop/db
    ");
    let json = lines(Format::Json);
    let read: Vec<Record> = json.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    assert_eq!(read, records);
}

#[test]
fn a_checklist() {
    let list = CheckList {
        claim: "this machine can run a lab".to_owned(),
        categories: vec![Category {
            name: "kernel".to_owned(),
            rows: vec![
                CheckRow::passed("Linux is 6.6 or later").seeing("6.18.0"),
                CheckRow::failed(CheckState::Failed, "cgroup v2 is mounted", "mount it"),
                CheckRow::failed(CheckState::Unknown, "nf_tables answers", "ask as root"),
            ],
        }],
    };
    assert_eq!(list.exit_code(), 1);
    assert_snapshot!(lictor_report::checklist(&list, Format::Text, Style::default()).expect("a text"), @r"
    kernel
      ✓  Linux is 6.6 or later (6.18.0)
      ✗  cgroup v2 is mounted
         hint: mount it
      ?  nf_tables answers
         hint: ask as root

    ✗  not so: this machine can run a lab (1 check failed), 1 not known
    ");
}
