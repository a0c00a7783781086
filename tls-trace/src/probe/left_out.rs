//! Runs of programs that the kernel left out.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::Ebpf;

/// Descriptors of the loaded programs.
#[derive(Debug, Default)]
pub struct LeftOut {
    programs: Vec<OwnedFd>,
}

impl LeftOut {
    /// Adds the programs of an object that are loaded.
    pub(super) fn watch(&mut self, ebpf: &Ebpf) {
        let loaded = ebpf
            .programs()
            .filter_map(|(_, program)| program.fd().ok()?.as_fd().try_clone_to_owned().ok());
        self.programs.extend(loaded);
    }

    /// How often the kernel has left out one of them so far: a program that interrupts itself on the same
    /// CPU is not run (`recursion_misses` of `struct bpf_prog_info`, counted in `__bpf_trace_run` for
    /// tracepoints and in `trace_call_bpf` for perf events). Linux shows it since 5.12.
    #[must_use]
    pub fn count(&self) -> u64 {
        let of = |program: &OwnedFd| {
            let path = format!("/proc/self/fdinfo/{}", program.as_raw_fd());
            fs::read_to_string(path).ok().and_then(|text| misses(&text))
        };
        self.programs.iter().filter_map(of).sum()
    }
}

/// From `bpf_prog_show_fdinfo` (kernel/bpf/syscall.c).
fn misses(text: &str) -> Option<u64> {
    let count = |line: &str| line.strip_prefix("recursion_misses:")?.trim().parse().ok();
    text.lines().find_map(count)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::misses;

    #[rstest]
    #[case::linux_6_18(
        "pos:\t0\nflags:\t02000002\nprog_type:\t26\nprog_jited:\t1\nprog_tag:\t35ec1b0f26a2d9b1\n\
         memlock:\t4096\nprog_id:\t471\nrun_time_ns:\t0\nrun_cnt:\t0\nrecursion_misses:\t17\n\
         verified_insns:\t612\n",
        Some(17)
    )]
    #[case::before_5_12("prog_type:\t26\nrun_cnt:\t0\n", None)]
    #[case::no_number("recursion_misses:\tmany\n", None)]
    fn misses_are_read(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(misses(text), expected);
    }
}
