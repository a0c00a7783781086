//! The two calls of `bpf(2)` that aya 0.14 lacks: loading a program for `uprobe_multi` links and
//! creating such a link (Linux 6.6). Attaching takes no capability beyond the program, and detaching
//! milliseconds instead of seconds.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

use aya_obj::generated::{
    BPF_ALU64, BPF_EXIT, BPF_F_UPROBE_MULTI_RETURN, BPF_JMP, BPF_MOV,
    bpf_attach_type::BPF_TRACE_UPROBE_MULTI, bpf_attr, bpf_cmd, bpf_insn,
    bpf_prog_type::BPF_PROG_TYPE_KPROBE,
};

/// Bytes of the verifier's log; it is asked for only after a refusal.
const LOG_BYTES: usize = 1 << 20;

/// Why a program was not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The verifier objects; its log.
    #[error("the verifier refuses the program: {}", objection(.0))]
    Refused(String),
    /// The call failed.
    #[error("cannot load the program: {0}")]
    Call(#[from] io::Error),
}

/// Where and how the probes of one link are placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probes<'a> {
    /// Path of the file; `/proc/self/fd/N` names an open one.
    pub(super) path: &'a CStr,
    /// Offsets in the file.
    pub(super) offsets: &'a [u64],
    /// What `bpf_get_attach_cookie` says, one for each offset.
    pub(super) cookies: &'a [u64],
    /// Probe the return of the functions instead of their entry.
    pub(super) at_return: bool,
}

/// Loads a program that can be attached by [`link`]. Kernels before 6.6 load it, too. The kernel keeps 15 bytes of its
/// name.
///
/// # Errors
/// The call fails; the verifier refuses the program.
pub(super) fn load(
    name: &str,
    instructions: &[bpf_insn],
    license: &CStr,
) -> Result<OwnedFd, LoadError> {
    let mut attr = load_attr(name, instructions, license);
    match call(bpf_cmd::BPF_PROG_LOAD, &mut attr) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EINVAL)) => {
            let mut log = vec![0_u8; LOG_BYTES];
            attr.__bindgen_anon_3.log_buf = log.as_mut_ptr() as u64;
            attr.__bindgen_anon_3.log_size = u32::try_from(LOG_BYTES).unwrap_or(u32::MAX);
            attr.__bindgen_anon_3.log_level = 1;
            match call(bpf_cmd::BPF_PROG_LOAD, &mut attr) {
                Ok(program) => Ok(program),
                Err(error) => {
                    let length = log.iter().position(|byte| *byte == 0).unwrap_or(0);
                    let text = String::from_utf8_lossy(&log[..length]).into_owned();
                    Err(if text.is_empty() {
                        LoadError::Call(error)
                    } else {
                        LoadError::Refused(text)
                    })
                }
            }
        }
        result => Ok(result?),
    }
}

/// Attaches a program loaded by [`load`]; dropping the link detaches.
///
/// # Errors
/// Those of `bpf(2)`: EBADF when the path is not a regular file, EINVAL when the kernel knows no such
/// link or an offset is not the start of an instruction.
pub(super) fn link(program: BorrowedFd<'_>, probes: Probes<'_>) -> io::Result<OwnedFd> {
    call(bpf_cmd::BPF_LINK_CREATE, &mut link_attr(program, probes)?)
}

/// Whether the kernel has `uprobe_multi` links: a directory is refused as such by those that have,
/// and the whole call by those that have not. Asked with a program that does nothing: verifying one that does
/// takes much longer.
///
/// # Errors
/// Not even that program can be loaded; the kernel refuses for another reason.
pub(super) fn has_uprobe_multi() -> Result<bool, LoadError> {
    let program = load("nothing", &nothing(), c"GPL")?;
    let directory = Probes {
        path: c"/",
        offsets: &[0],
        cookies: &[0],
        at_return: false,
    };
    Ok(judge(link(program.as_fd(), directory).map(drop))?)
}

fn judge(attempt: io::Result<()>) -> Result<bool, io::Error> {
    match attempt {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Err(io::Error::other("a directory was taken for a program")),
    }
}

fn load_attr(name: &str, instructions: &[bpf_insn], license: &CStr) -> bpf_attr {
    let mut attr = zeroed();
    // SAFETY: a union of integers that are all zero, which every member takes for a value.
    let program = unsafe { &mut attr.__bindgen_anon_3 };
    // The last byte stays zero.
    let room = program.prog_name.len() - 1;
    for (to, from) in program.prog_name[..room].iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    attr.__bindgen_anon_3.prog_type = BPF_PROG_TYPE_KPROBE as u32;
    attr.__bindgen_anon_3.expected_attach_type = BPF_TRACE_UPROBE_MULTI as u32;
    attr.__bindgen_anon_3.insns = instructions.as_ptr() as u64;
    attr.__bindgen_anon_3.insn_cnt = u32::try_from(instructions.len()).unwrap_or(u32::MAX);
    attr.__bindgen_anon_3.license = license.as_ptr() as u64;
    attr
}

fn link_attr(program: BorrowedFd<'_>, probes: Probes<'_>) -> io::Result<bpf_attr> {
    let count = u32::try_from(probes.offsets.len()).ok();
    let count = count.filter(|_| probes.offsets.len() == probes.cookies.len());
    let count = count.ok_or(io::ErrorKind::InvalidInput)?;
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd().unsigned_abs();
    attr.link_create.attach_type = BPF_TRACE_UPROBE_MULTI as u32;
    // Field by field: an assignment of the whole struct may copy padding, which the kernel wants zero.
    // SAFETY: a union of integers that are all zero, which every member takes for a value.
    let last = unsafe { &mut attr.link_create.__bindgen_anon_3 };
    // SAFETY: as above.
    let multi = unsafe { &mut last.uprobe_multi };
    multi.path = probes.path.as_ptr() as u64;
    multi.offsets = probes.offsets.as_ptr() as u64;
    multi.cookies = probes.cookies.as_ptr() as u64;
    multi.cnt = count;
    multi.flags = if probes.at_return {
        BPF_F_UPROBE_MULTI_RETURN
    } else {
        0
    };
    Ok(attr)
}

/// `r0 = 0; exit`.
fn nothing() -> [bpf_insn; 2] {
    [BPF_ALU64 | BPF_MOV, BPF_JMP | BPF_EXIT].map(|code| {
        // SAFETY: a struct of integers, for which zero is a value.
        let mut instruction: bpf_insn = unsafe { std::mem::zeroed() };
        instruction.code = code.to_le_bytes()[0];
        instruction
    })
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of integers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads no further than the size given, and the pointers inside are to slices
    // and strings that the callers borrow until this returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_mut(attr),
            size_of::<bpf_attr>(),
        )
    };
    let descriptor = RawFd::try_from(result).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel just made for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The line of a verifier's log that says what it objects to; its last lines are statistics.
fn objection(log: &str) -> &str {
    log.lines()
        .rev()
        .find(|line| !line.is_empty() && !line.starts_with("processed "))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_where_and_with_which_cookies() -> io::Result<()> {
        let program = std::fs::File::open("/dev/null")?;
        let (offsets, cookies) = ([0x10, 0x20], [7, 7]);
        let probes = Probes {
            path: c"/lib",
            offsets: &offsets,
            cookies: &cookies,
            at_return: true,
        };
        let attr = link_attr(program.as_fd(), probes)?;
        // SAFETY: a union of integers, for which any bytes are a value.
        let last = unsafe { attr.link_create.__bindgen_anon_3 };
        // SAFETY: as above.
        let multi = unsafe { last.uprobe_multi };
        assert_eq!(multi.offsets, offsets.as_ptr() as u64);
        assert_eq!(multi.cookies, cookies.as_ptr() as u64);
        assert_eq!((multi.cnt, multi.flags, multi.pid), (2, 1, 0));
        // SAFETY: as above.
        assert_eq!(unsafe { attr.link_create.attach_type }, 48);
        let unequal = Probes {
            cookies: &[1],
            ..probes
        };
        assert!(link_attr(program.as_fd(), unequal).is_err());
        Ok(())
    }

    #[test]
    fn only_a_refused_directory_proves_support() {
        let error = |code| Err(io::Error::from_raw_os_error(code));
        assert!(matches!(judge(error(libc::EBADF)), Ok(true)));
        assert!(matches!(judge(error(libc::EINVAL)), Ok(false)));
        assert!(judge(error(libc::EPERM)).is_err());
        assert!(judge(Ok(())).is_err());
    }

    #[test]
    fn the_objection_stands_before_the_statistics() {
        let log = "0: r1 = 0\ninvalid access\nprocessed 1 insns\n";
        assert_eq!(objection(log), "invalid access");
    }
}
