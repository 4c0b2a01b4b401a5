//! Pod processes on the real kernel. Needs root.
//!
//! The program is its own zygote, lab and command line: a zygote forks, so it has to have one thread, which
//! the usual test harness cannot offer. The first argument says which of these it is; anything else is the
//! name of the tests to run.

mod bench;
mod cases;
mod probes;
mod rooms;
mod setting;

use std::process::ExitCode;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("a_command_runs_in_its_pods_place", cases::a_command_runs_in_its_pods_place),
    ("a_pod_sees_neither_the_lab_nor_the_machine", cases::a_pod_sees_neither_the_lab_nor_the_machine),
    ("what_cannot_start_says_why", cases::what_cannot_start_says_why),
    ("a_stand_in_listens_once_it_is_started", cases::a_stand_in_listens_once_it_is_started),
    ("a_command_beside_another_shares_its_sandbox", cases::a_command_beside_another_shares_its_sandbox),
    ("exec_puts_a_command_into_the_pod", cases::exec_puts_a_command_into_the_pod),
    ("a_process_that_ends_is_started_again", cases::a_process_that_ends_is_started_again),
    ("a_job_ends_once", cases::a_job_ends_once),
    ("stopping_ends_it_and_its_children", cases::stopping_ends_it_and_its_children),
    ("another_zygote_follows_a_killed_one", cases::another_zygote_follows_a_killed_one),
    ("a_killed_lab_leaves_no_process", cases::a_killed_lab_leaves_no_process),
    ("a_stand_in_is_ready_once_it_listens", probes::a_stand_in_is_ready_once_it_listens),
    ("a_command_is_ready_when_its_own_probe_says_so", probes::a_command_is_ready_when_its_own_probe_says_so),
    ("what_is_not_alive_is_started_again", probes::what_is_not_alive_is_started_again),
    ("a_machine_without_its_files_in_etc_will_do", rooms::a_machine_without_its_files_in_etc_will_do),
    ("a_machine_without_a_cgroup_tree_gets_one", rooms::a_machine_without_a_cgroup_tree_gets_one),
    ("a_chroot_will_do_and_nothing_shows_outside", rooms::a_chroot_will_do_and_nothing_shows_outside),
    ("two_hundred_stand_ins_start_fast_and_stay_small", bench::two_hundred_stand_ins_start_fast_and_stay_small),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first = arguments.first().map(String::as_str).unwrap_or_default();
    match (first, arguments.get(1)) {
        ("zygote", _) => match lictor_lab::process::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("zygote: {error}");
                ExitCode::FAILURE
            }
        },
        ("lab", Some(name)) => setting::live_until_killed(name),
        ("exec", Some(target)) => setting::exec(target, arguments.get(2..).unwrap_or_default()),
        ("room", Some(room)) => rooms::enter(room),
        _ => run(first),
    }
}

/// Runs the cases whose name holds `filter`, one after the other.
fn run(filter: &str) -> ExitCode {
    if filter == "--list" {
        CASES.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    // An option of the usual harness selects nothing.
    let filter = if filter.starts_with('-') { "" } else { filter };
    let chosen: Vec<_> = CASES.iter().filter(|(name, _)| name.contains(filter)).collect();
    println!("\nrunning {} tests", chosen.len());
    let mut failed = 0;
    for (name, case) in &chosen {
        let outcome = std::panic::catch_unwind(case);
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed += usize::from(outcome.is_err());
    }
    println!(
        "\ntest result: {}. {} passed; {failed} failed\n",
        if failed == 0 { "ok" } else { "FAILED" },
        chosen.len() - failed
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
