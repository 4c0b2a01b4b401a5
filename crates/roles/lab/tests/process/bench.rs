//! How fast stand-ins start and what each costs.

use crate::setting::{Setting, stand_in, with_lab};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PODS: usize = 200;
const MOST_TIME: Duration = Duration::from_secs(4);
const MOST_KIB: u64 = 1024;

pub(crate) fn two_hundred_stand_ins_start_fast_and_stay_small() {
    with_lab("t-many", async |setting: Arc<Setting>| {
        let names: Vec<_> = (0..PODS).map(|number| format!("web-{number}")).collect();
        let pods: Vec<_> = names.iter().map(|name| setting.pod(name)).collect();
        let begun = Instant::now();
        let started = names.iter().zip(&pods).map(|(name, pod)| pod.start(stand_in(name)));
        let running = futures::future::join_all(started).await;
        let took = begun.elapsed();
        let private: u64 = running.iter().map(|running| kib(running.pid, "Private_Dirty")).sum();
        let proportional: u64 = running.iter().map(|running| kib(running.pid, "Pss")).sum();
        let count = PODS as u64;
        println!(
            "{PODS} stand-ins: {took:?} to start, {} KiB private dirty and {} KiB proportional each",
            private / count,
            proportional / count
        );
        assert!(took < MOST_TIME, "{took:?}");
        assert!(private / count < MOST_KIB, "{} KiB", private / count);
        let begun = Instant::now();
        drop(running);
        pods.into_iter().for_each(crate::setting::Pod::remove);
        println!("{PODS} stand-ins: {:?} to remove", begun.elapsed());
    });
}

/// A line of a process' memory summary.
fn kib(pid: u32, name: &str) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a number")
}
