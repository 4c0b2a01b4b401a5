//! A process whose number goes to another one.

use crate::client::{Broker, end, next, not_found, pid};
use crate::node::Node;
use crate::{A, B, PROXY, UID_A, UID_B};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_another_process_has_now_leads_to_that_one_alone() {
    let node = Node::start("heir").await;
    let (a, b) = (node.pod("a", UID_A, A), node.pod("b", UID_B, B));
    let mut victim = node.process(&a);
    let number = victim.pid();
    let mut broker = Broker::connect(&node, PROXY).await;
    let mut states = broker.watch(pid(number)).await.unwrap();
    next(&mut states).await;
    victim.kill();
    assert_eq!(broker.refused(Some(pid(number))).await, not_found(), "a zombie has its number still");
    drop(victim);
    let heir = node.process_numbered(&b, number);
    node.renew(A);
    node.renew(B);
    assert_eq!(end(&mut states).await, not_found(), "the stream was about the process that has ended");
    assert_eq!(broker.ids(pid(number)).await, [B], "and never about the victim again");
    let outside = node.cgroup("outside");
    drop(heir);
    let heir = node.process_numbered(&outside, number);
    assert_eq!(broker.refused(Some(pid(heir.pid()))).await.0, tonic::Code::PermissionDenied);
}
