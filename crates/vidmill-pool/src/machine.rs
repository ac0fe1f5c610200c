//! What the machine has left, and what it did to processes for lack of it.

use std::{fs, io};

/// Bytes that can still be had: what the kernel estimates, or what is left of this process's memory group, whichever
/// is less. `None` where the system does not tell.
pub(crate) fn available_memory() -> Option<u64> {
    [system_memory(), group_memory()].into_iter().flatten().min()
}

/// What is missing is told now, and not by the kernel's memory killer when it is used.
///
/// # Errors
/// When fewer than `bytes` bytes are left to this process, with both numbers.
pub fn need_memory(bytes: usize) -> io::Result<()> {
    match available_memory() {
        Some(available) if bytes as u64 > available => Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!("{} MiB of shared memory are needed, and {} MiB are free", bytes >> 20, available >> 20),
        )),
        _ => Ok(()),
    }
}

fn system_memory() -> Option<u64> {
    bytes_told("/proc/meminfo", "MemAvailable:")
}

/// The bytes that a line such as `VmHWM:  1234 kB` of one of the kernel's files tells.
fn bytes_told(path: &str, label: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// What containers and services are limited to (cgroup v2, then v1). Page cache counts as used and can be had all the same.
fn group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let number = |path: String| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let left = |limit: u64, used: u64, stat: String| {
        let stat = fs::read_to_string(stat).unwrap_or_default();
        let cache = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse().ok());
        limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0)))
    };
    groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let (folder, limit, used) = match controllers {
                "" => (format!("/sys/fs/cgroup{path}"), "memory.max", "memory.current"),
                "memory" => {
                    (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes", "memory.usage_in_bytes")
                }
                _ => return None,
            };
            let (limit, used) = (number(format!("{folder}/{limit}"))?, number(format!("{folder}/{used}"))?);
            Some(left(limit, used, format!("{folder}/memory.stat")))
        })
        .min()
}

/// How many processes the kernel has killed for lack of memory since it started.
pub(crate) fn oom_kills() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Bytes of physical memory that a process holds to itself: shared pages, which every worker maps, are not its own.
pub(crate) fn own_memory(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let mut pages = text.split_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some(resident.saturating_sub(shared) * crate::memory::PAGE as u64)
}

/// CPU seconds that a process has used; its end does not take them away until it is waited for.
pub(crate) fn cpu_seconds(process: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything; utime and stime are the 12th and 13th fields after it (proc(5)).
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// USER_HZ, which is 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The most physical memory that a process ever held, in bytes; nothing once it has ended, or where the system does not tell.
pub fn peak_memory(process: u32) -> Option<u64> {
    bytes_told(&format!("/proc/{process}/status"), "VmHWM:")
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_tells() {
        assert!(super::available_memory().unwrap() > 1 << 20);
        assert!(super::oom_kills().is_some());
        let this = std::process::id();
        assert!(super::own_memory(this).unwrap() > 10_000);
        assert!(super::peak_memory(this).unwrap() > 10_000);
        assert!(super::cpu_seconds(this).is_some());
    }
}
