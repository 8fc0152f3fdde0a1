//! What `/metrics` and `/debug` say of the process itself, read from `/proc`. What cannot be read is left out.

use std::fs;

use super::{Exposition, Family, Kind};

/// The families of [`expose`].
pub const FAMILIES: &[Family] =
    &[BUILD, CPU, RESIDENT, VIRTUAL, OPEN_FILES, MAX_FILES, THREADS, STARTED, PROCESS_STARTED];

const BUILD: Family =
    gauge_with("nsq_build_info", &["version"], "1, with the version that answers /info as its label");
const STARTED: Family = gauge("nsq_start_time_seconds", "when the daemon started, in Unix seconds");
const CPU: Family = Family {
    name: "process_cpu_seconds",
    kind: Kind::Counter,
    labels: &[],
    help: "processor time used, by the process and by the kernel for it",
};
const RESIDENT: Family = gauge("process_resident_memory_bytes", "memory that is in use and not swapped out");
const VIRTUAL: Family = gauge("process_virtual_memory_bytes", "address space reserved");
const OPEN_FILES: Family = gauge("process_open_fds", "files and sockets open");
const MAX_FILES: Family = gauge("process_max_fds", "files and sockets that may be open");
const THREADS: Family = gauge("process_threads", "threads of the operating system");
const PROCESS_STARTED: Family = gauge("process_start_time_seconds", "the same, by the usual name");

/// Ticks of a processor's clock in a second, which Linux shows as 100 to all programs.
const TICKS: f64 = 100.0;

/// Memory of the process, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use and not swapped out.
    pub resident: u64,
    /// Address space.
    pub reserved: u64,
}

/// Put what is known into a page. `started` is in Unix seconds.
pub fn expose(page: &mut Exposition, started: u64) {
    page.family(&BUILD).add(&[crate::version::VERSION], 1_u64);
    page.single(&STARTED, started);
    page.single(&PROCESS_STARTED, started);
    if let Some(seconds) = cpu_seconds() {
        page.single(&CPU, seconds);
    }
    if let Some(memory) = memory() {
        page.single(&RESIDENT, memory.resident);
        page.single(&VIRTUAL, memory.reserved);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.single(&OPEN_FILES, open.count());
    }
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        page.single(&MAX_FILES, limit);
    }
    page.single(&THREADS, threads().len());
}

/// From `/proc/self/statm`.
pub fn memory() -> Option<Memory> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let page = rustix::param::page_size() as u64;
    let mut pages = statm.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
    Some(Memory { reserved: pages.next()?? * page, resident: pages.next()?? * page })
}

/// Names of the threads, in the order they were started.
pub fn threads() -> Vec<String> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let mut ids: Vec<u64> = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    let name = |id: &u64| fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok();
    ids.iter().filter_map(name).map(|name| name.trim_end().to_owned()).collect()
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    ticks(&stat).map(|ticks| ticks as f64 / TICKS)
}

/// The 14th and 15th fields. The second, the program's name, may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    gauge_with(name, &[], help)
}

const fn gauge_with(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_its_memory_its_threads_and_its_time() {
        assert!(memory().is_some_and(|memory| memory.resident > 0 && memory.reserved > memory.resident));
        assert!(!threads().is_empty());
        assert!(cpu_seconds().is_some());
    }

    #[test]
    fn processor_time_is_found_behind_a_strange_name() {
        let stat = "1 (a) b) S 1 2 3 4 5 6 7 8 9 10 700 55 1 2";
        assert_eq!(ticks(stat), Some(755));
    }
}
