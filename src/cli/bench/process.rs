//! What a process of this machine uses: found by the port it listens on, read from `/proc`.

use std::fs;
use std::path::Path;

/// What a process has used and uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Usage {
    /// Nanoseconds on a core, of all threads that run now. Threads that ended are not in it.
    pub(super) cpu_nanos: u64,
    pub(super) resident_bytes: u64,
}

/// A process of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// As the kernel calls it, as `beam.smp`.
    pub(super) name: String,
}

impl Process {
    pub(super) fn with_pid(pid: u32) -> Option<Process> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(Process { pid, name: name.trim().to_owned() })
    }

    /// The process that listens on a TCP port; `None` when there is none, or when it belongs to
    /// somebody else and may not be looked at.
    pub(super) fn listening_on(port: u16) -> Option<Process> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
        let tables = tables.iter().filter_map(|it| fs::read_to_string(it).ok());
        let links: Vec<String> = tables
            .flat_map(|table| listening_inodes(&table, port))
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut pids: Vec<u32> =
            processes.filter_map(|it| it.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        pids.into_iter().find(|pid| has_open(*pid, &links)).and_then(Process::with_pid)
    }

    /// `None` when the process has ended.
    pub(super) fn usage(&self) -> Option<Usage> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?.flatten();
        // A thread may end between the two reads.
        let cpu_nanos = threads
            .filter_map(|it| fs::read_to_string(it.path().join("schedstat")).ok())
            .map(|it| cpu_nanos(&it))
            .sum();
        Some(Usage { cpu_nanos, resident_bytes: resident_bytes(&status)? })
    }
}

fn has_open(pid: u32, links: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let targets = files.flatten().filter_map(|it| fs::read_link(it.path()).ok());
    targets.into_iter().any(|target| links.iter().any(|link| Path::new(link) == target))
}

/// Inodes of the sockets that listen on `port`, out of a table of the kernel's.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let (_, local_port) = local.rsplit_once(':')?;
        let is_it = state == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
        is_it.then_some(inode)
    };
    table.lines().filter_map(inode).collect()
}

/// The first number of a `schedstat` is the time on a core.
fn cpu_nanos(schedstat: &str) -> u64 {
    schedstat.split_ascii_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_found_in_the_table_of_the_kernel() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1630 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4711 1 f 100
   1: 0100007F:1630 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000 0 4712 1 f 20
   2: 00000000000000000000000001000000:1628 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7
";
        assert_eq!(listening_inodes(table, 5680), [4711]);
        assert_eq!(listening_inodes(table, 5672), [7]);
        assert_eq!(listening_inodes(table, 54321), [0_u64; 0]);
    }

    #[test]
    fn what_the_kernel_says_about_a_process_is_read() {
        assert_eq!(cpu_nanos("123456789 42 7\n"), 123_456_789);
        assert_eq!(cpu_nanos(""), 0);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t   2048 kB\nThreads: 3"), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tzombie\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        let usage = Process::with_pid(std::process::id()).unwrap().usage().unwrap();
        assert!(usage.resident_bytes > 0);
        assert!(Process::with_pid(0).is_none());
    }
}
