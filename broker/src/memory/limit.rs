//! How much memory there is: half of what the cgroup allows, or of the machine where it allows everything.

use std::fs;
use std::path::Path;

/// What nsqd assumes where nothing can be found out.
const UNKNOWN_BYTES: u64 = 1 << 30;

/// Half of what this process may have.
pub(crate) fn default_limit() -> u64 {
    let allowed = cgroup_limit(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup"));
    let machine = machine_bytes(&read("/proc/meminfo")).unwrap_or(UNKNOWN_BYTES);
    allowed.unwrap_or(u64::MAX).min(machine) / 2
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The smallest limit on the way from the process's own group to the root, of either version of cgroups.
fn cgroup_limit(root: &Path, own_groups: &str) -> Option<u64> {
    own_groups.lines().filter_map(|line| group_limit(root, line)).min()
}

/// A line is `0::/a/b` for version 2 and `7:memory:/a/b` for version 1. Inside a container the path may be the
/// host's, and the group's own files are at the root then.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (base, file) = match controllers {
        "" => (root.to_path_buf(), "memory.max"),
        list if list.split(',').any(|name| name == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let own = base.join(path.trim_start_matches('/'));
    own.ancestors()
        .take_while(|folder| folder.starts_with(&base))
        .filter_map(|folder| read(folder.join(file)).trim().parse::<u64>().ok())
        // Version 1 writes "no limit" as the largest multiple of a page.
        .filter(|bytes| *bytes < 1 << 62)
        .min()
}

/// `MemTotal:       16384 kB`
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("pods/memory.max"), "1000\n");
        write(&root.path().join("pods/me/memory.max"), "max\n");
        assert_eq!(cgroup_limit(root.path(), "0::/pods/me\n"), Some(1000));
        write(&root.path().join("pods/me/memory.max"), "400\n");
        assert_eq!(cgroup_limit(root.path(), "0::/pods/me\n"), Some(400));
        assert_eq!(cgroup_limit(root.path(), "0::/elsewhere\n"), None);
    }

    #[test]
    fn version_1_says_no_limit_with_a_huge_number() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("memory/a/memory.limit_in_bytes"), "9223372036854771712\n");
        assert_eq!(cgroup_limit(root.path(), "7:cpu,memory:/a\n3:pids:/a\n"), None);
        write(&root.path().join("memory/memory.limit_in_bytes"), "5000\n");
        assert_eq!(
            cgroup_limit(root.path(), "7:cpu,memory:/a\n"),
            Some(5000),
            "a container sees its group at the root"
        );
    }

    #[test]
    fn the_machines_memory_is_read_from_meminfo() {
        assert_eq!(machine_bytes("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(machine_bytes(""), None);
    }
}
