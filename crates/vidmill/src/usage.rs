//! What this process has used so far.

use rustix::time::{ClockId, clock_gettime};

/// CPU seconds of all threads since the process began.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The most physical memory that the process ever held, in bytes.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn usage_is_told() {
        assert!(super::cpu_seconds() > 0.0);
        assert!(super::peak_memory_bytes().unwrap() > 100_000);
    }
}
