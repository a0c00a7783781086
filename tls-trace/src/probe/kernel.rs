//! Facts about the running kernel that decide which back end to try.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tls_trace_common::{FdOffsets, KernelOffsets};

use crate::{
    event::ResetReason,
    probe::{
        btf::{Btf, BtfError},
        hook::{Target, UprobeKind},
        sys,
    },
};

/// Whether the kernel can do something. Only `Yes` and `No` are conclusive; `Unknown` is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It can.
    Yes,
    /// It cannot, and why.
    No(String),
    /// Could not be found out, and why.
    Unknown(String),
}

/// The running kernel.
#[derive(Debug)]
pub struct Kernel {
    /// `uname -r`, for messages only: nothing is decided by it.
    pub release: String,
    /// Kernel BTF, or why there is none.
    pub btf: Result<Btf, BtfError>,
    /// Where cgroup v2 is mounted, or why it is not usable.
    pub cgroup: Result<PathBuf, String>,
    /// kprobes can be created, or why not.
    kprobes: Availability,
    /// `uprobe_multi` links can be created, or why not.
    uprobe_multi: Availability,
    /// Text of /proc/kallsyms, some 10 MB, where kprobes need it and it is readable.
    functions: Option<String>,
}

impl Kernel {
    /// Looks at the running kernel. `cgroup` overrides the cgroup v2 mount point.
    #[must_use]
    pub fn probe(cgroup: Option<&Path>) -> Self {
        let kprobes = kprobes();
        Self {
            release: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map(|release| release.trim().to_owned())
                .unwrap_or_default(),
            btf: Btf::of_kernel(),
            cgroup: match cgroup {
                Some(path) => check_cgroup(path),
                None => find_cgroup(&fs::read_to_string("/proc/self/mounts").unwrap_or_default()),
            },
            functions: (kprobes == Availability::Yes)
                .then(|| fs::read_to_string("/proc/kallsyms").ok())
                .flatten(),
            kprobes,
            uprobe_multi: uprobe_multi(),
        }
    }

    /// Whether a back end's target exists.
    #[must_use]
    pub fn availability(&self, target: Target) -> Availability {
        match target {
            Target::BtfTracepoint(name, arguments) => self.tracepoint(name, arguments),
            Target::Function(name) => match (&self.kprobes, self.btf.as_ref()) {
                (Availability::No(reason), _) => Availability::No(reason.clone()),
                (_, Err(error)) => Availability::No(error.to_string()),
                (_, Ok(_)) => self.function(name),
            },
            Target::Cgroup => match &self.cgroup {
                Ok(_) => Availability::Yes,
                Err(reason) => Availability::No(reason.clone()),
            },
            Target::Library(UprobeKind::Multi) => self.uprobe_multi.clone(),
            Target::Library(UprobeKind::Perf) => uprobes(),
        }
    }

    fn tracepoint(&self, name: &str, arguments: u32) -> Availability {
        match &self.btf {
            Err(error) => Availability::No(error.to_string()),
            Ok(btf) => match btf.tracepoint_arguments(name) {
                None => Availability::No(format!("this kernel has no tracepoint '{name}'")),
                Some(count) if count < arguments => Availability::No(format!(
                    "tracepoint '{name}' has {count} arguments here, {arguments} are needed"
                )),
                Some(_) => Availability::Yes,
            },
        }
    }

    fn function(&self, name: &str) -> Availability {
        let Some(functions) = &self.functions else {
            return Availability::Unknown("/proc/kallsyms is not readable".to_owned());
        };
        let found = functions
            .lines()
            .any(|line| line.split_ascii_whitespace().nth(2) == Some(name));
        if found {
            Availability::Yes
        } else {
            Availability::No(format!(
                "this kernel has no function '{name}' (renamed, inlined or built out)"
            ))
        }
    }

    /// Offsets for the eBPF programs, from the kernel's BTF.
    ///
    /// # Errors
    /// A struct has no such member in this kernel.
    pub fn offsets(btf: &Btf) -> Result<KernelOffsets, BtfError> {
        let common = |member| btf.member_offset("sock_common", &[member]);
        let sock = |member| btf.member_offset("sock", &[member]);
        let tcp = |member| btf.member_offset("tcp_sock", &[member]);
        Ok(KernelOffsets {
            skc_daddr: common("skc_daddr")?,
            skc_rcv_saddr: common("skc_rcv_saddr")?,
            skc_dport: common("skc_dport")?,
            inet_sport: btf.member_offset("inet_sock", &["inet_sport"])?,
            skc_family: common("skc_family")?,
            skc_state: common("skc_state")?,
            skc_net: common("skc_net")?,
            skc_v6_daddr: common("skc_v6_daddr")?,
            skc_v6_rcv_saddr: common("skc_v6_rcv_saddr")?,
            skc_cookie: common("skc_cookie")?,
            skc_flags: common("skc_flags")?,
            net_inum: btf.member_offset("net", &["ns", "inum"])?,
            sk_err: sock("sk_err")?,
            sk_ack_backlog: sock("sk_ack_backlog")?,
            sk_max_ack_backlog: sock("sk_max_ack_backlog")?,
            sk_lingertime: sock("sk_lingertime")?,
            bytes_acked: tcp("bytes_acked")?,
            bytes_received: tcp("bytes_received")?,
            snd_nxt: tcp("snd_nxt")?,
            snd_una: tcp("snd_una")?,
            rcv_nxt: tcp("rcv_nxt")?,
            copied_seq: tcp("copied_seq")?,
            total_retrans: tcp("total_retrans")?,
            task_flags: btf.member_offset("task_struct", &["flags"])?,
            task_exit_code: btf.member_offset("task_struct", &["exit_code"])?,
            skb_cb: btf.member_offset("sk_buff", &["cb"])?,
            sock_linger_bit: btf.enum_value("sock_flags", "SOCK_LINGER")?,
        })
    }

    /// Offsets from a task to the socket of one of its file descriptors.
    ///
    /// # Errors
    /// A struct has no such member in this kernel.
    pub fn descriptor_offsets(btf: &Btf) -> Result<FdOffsets, BtfError> {
        Ok(FdOffsets {
            files: btf.member_offset("task_struct", &["files"])?,
            fdt: btf.member_offset("files_struct", &["fdt"])?,
            max_fds: btf.member_offset("fdtable", &["max_fds"])?,
            fd: btf.member_offset("fdtable", &["fd"])?,
            private_data: btf.member_offset("file", &["private_data"])?,
            socket_file: btf.member_offset("socket", &["file"])?,
            sk: btf.member_offset("socket", &["sk"])?,
            cookie: btf.member_offset("sock_common", &["skc_cookie"])?,
        })
    }
}

/// Translates this kernel's `enum sk_rst_reason` to the numbers of [`ResetReason`], by name.
#[derive(Clone, Debug, Default)]
pub struct ResetReasons(Vec<(u32, ResetReason)>);

impl ResetReasons {
    /// Reads the names from BTF; empty before Linux 6.10.
    #[must_use]
    pub fn of(btf: &Btf) -> Self {
        let known = |name: &str| {
            Some(match name.strip_prefix("SK_RST_REASON_")? {
                "NOT_SPECIFIED" => ResetReason::NOT_SPECIFIED,
                "NO_SOCKET" => ResetReason::NO_SOCKET,
                "TCP_TIMEWAIT_SOCKET" => ResetReason::TCP_TIMEWAIT,
                "TCP_ABORT_ON_CLOSE" => ResetReason::TCP_ABORT_ON_CLOSE,
                "TCP_ABORT_ON_LINGER" => ResetReason::TCP_ABORT_ON_LINGER,
                "TCP_ABORT_ON_MEMORY" => ResetReason::TCP_ABORT_ON_MEMORY,
                "TCP_STATE" => ResetReason::TCP_STATE,
                "TCP_KEEPALIVE_TIMEOUT" => ResetReason::TCP_KEEPALIVE_TIMEOUT,
                "TCP_DISCONNECT_WITH_DATA" => ResetReason::TCP_DISCONNECT_WITH_DATA,
                _ => return None,
            })
        };
        let values = btf.enum_values("sk_rst_reason").unwrap_or_default();
        Self(
            values
                .into_iter()
                .filter_map(|(name, value)| Some((value, known(&name)?)))
                .collect(),
        )
    }

    /// The reason this kernel means by `raw`; numbers without a name of ours are unspecified.
    #[must_use]
    pub fn translate(&self, raw: u32) -> ResetReason {
        self.0
            .iter()
            .find(|(value, _)| *value == raw)
            .map_or(ResetReason::NOT_SPECIFIED, |(_, reason)| *reason)
    }
}

/// Finds cgroup v2 in the text of /proc/self/mounts.
fn find_cgroup(mounts: &str) -> Result<PathBuf, String> {
    let mount = |kind| {
        mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let (_, path, found) = (fields.next()?, fields.next()?, fields.next()?);
            (found == kind).then(|| PathBuf::from(path.replace("\\040", " ")))
        })
    };
    match (mount("cgroup2"), mount("cgroup")) {
        (Some(path), _) => check_cgroup(&path),
        (None, Some(_)) => Err(
            "only cgroup v1 is mounted; cgroup v2 can be added beside it: \
             mkdir -p /run/cgroup2 && mount -t cgroup2 none /run/cgroup2"
                .to_owned(),
        ),
        (None, None) => Err("cgroup v2 is not mounted: mkdir -p /sys/fs/cgroup && \
             mount -t cgroup2 none /sys/fs/cgroup"
            .to_owned()),
    }
}

fn check_cgroup(path: &Path) -> Result<PathBuf, String> {
    // Every cgroup v2 directory has this file, no other file system does.
    if path.join("cgroup.controllers").exists() {
        Ok(path.to_owned())
    } else {
        Err(format!("{} is not a cgroup v2 directory", path.display()))
    }
}

fn uprobe_multi() -> Availability {
    match sys::has_uprobe_multi() {
        Ok(true) => Availability::Yes,
        Ok(false) => {
            Availability::No("this kernel has no uprobe_multi links (Linux 6.6)".to_owned())
        }
        Err(error) => Availability::Unknown(error.to_string()),
    }
}

fn uprobes() -> Availability {
    if Path::new("/sys/bus/event_source/devices/uprobe/type").exists() {
        Availability::Yes
    } else {
        Availability::No("this kernel has no uprobes (CONFIG_UPROBE_EVENTS)".to_owned())
    }
}

fn kprobes() -> Availability {
    // The kprobe PMU (kernel/events/core.c, perf_kprobe) is how aya attaches; tracefs is its fallback.
    let pmu = Path::new("/sys/bus/event_source/devices/kprobe/type");
    let tracefs = [
        "/sys/kernel/tracing/kprobe_events",
        "/sys/kernel/debug/tracing/kprobe_events",
    ];
    if pmu.exists() || tracefs.iter().any(|path| Path::new(path).exists()) {
        Availability::Yes
    } else {
        Availability::No("this kernel has no kprobes (CONFIG_KPROBE_EVENTS)".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_v1_alone_is_told_apart_from_none() {
        let v1 = find_cgroup("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n");
        assert!(v1.expect_err("no v2").contains("only cgroup v1"));
        let none = find_cgroup("proc /proc proc rw 0 0\n");
        assert!(none.expect_err("no cgroup").contains("not mounted"));
    }
}
