//! `lictor check`: whether this machine can run a lab, and whether one that runs is well.
//!
//! Each row is a pure function of what was read, so that a test can show it what it likes.

mod kernel;
mod labs;
mod machine;

use crate::cli::{Globals, OutputOnly};
use crate::output;
use anyhow::Result;
use lictor_report::{Category, CheckList};
use std::process::ExitCode;

pub(crate) fn run(words: OutputOnly, globals: &Globals) -> Result<ExitCode> {
    let list = checklist();
    let format = words.output.output;
    output::print(&lictor_report::checklist(&list, format, output::style(globals, format))?)?;
    Ok(ExitCode::from(list.exit_code()))
}

fn checklist() -> CheckList {
    let category = |name: &str, rows| Category { name: name.to_owned(), rows };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut categories = vec![
        category(
            "kernel",
            vec![
                kernel::version(&read("/proc/sys/kernel/osrelease")),
                kernel::types(std::path::Path::new("/sys/kernel/btf/vmlinux").exists()),
                kernel::cgroup2(&read("/proc/self/mounts")),
                kernel::nf_tables(kernel::ask_nf_tables()),
            ],
        ),
        category(
            "machine",
            vec![
                machine::capabilities(&read("/proc/self/status")),
                machine::open_files(&read("/proc/self/limits")),
                machine::memory(&read("/proc/meminfo")),
                machine::clock(std::time::SystemTime::now()),
            ],
        ),
    ];
    let labs = labs::rows();
    if !labs.is_empty() {
        categories.push(category("labs", labs));
    }
    CheckList { claim: "this machine can run a lab".to_owned(), categories }
}
