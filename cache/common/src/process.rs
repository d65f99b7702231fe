//! The running process and its machine.

use std::fs;

/// Peak resident memory of this process in bytes (`VmHWM` of `/proc/self/status`); `None` where
/// the system does not report it.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Name of this machine.
pub fn host() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    name
}

/// A random id that the system draws when it starts; empty where there is none.
pub fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

/// True if a process of this number runs on this machine, or if that cannot be known.
pub fn is_alive(process: u32) -> bool {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, test_kill_process};
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }
    #[cfg(not(unix))]
    {
        let _ = process;
        true
    }
}

/// Makes [`peak_rss_bytes`] begin anew; without effect where the system does not allow it.
pub fn reset_peak_rss() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Name, release and architecture of the operating system: `Linux 6.8.0 x86_64`.
#[cfg(unix)]
pub fn system_name() -> String {
    let system = rustix::system::uname();
    let words = [system.sysname(), system.release(), system.machine()];
    words
        .map(|word| word.to_string_lossy().into_owned())
        .join(" ")
}

/// Name and architecture of the operating system.
#[cfg(not(unix))]
pub fn system_name() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}
