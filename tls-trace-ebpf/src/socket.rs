//! From a file descriptor of the current task to its socket.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_get_current_task, bpf_probe_read_kernel};
use tls_trace_common::FdOffsets;

use crate::kernel::offset;

/// Overwritten by the loader before the program is loaded.
#[unsafe(no_mangle)]
pub static FD_OFFSETS: FdOffsets = FdOffsets {
    files: 0,
    fdt: 0,
    max_fds: 0,
    fd: 0,
    private_data: 0,
    socket_file: 0,
    sk: 0,
    cookie: 0,
};

/// Cookie of the socket that a descriptor of the current task is; 0 where it is none.
#[inline(always)]
pub fn cookie(descriptor: u32) -> u64 {
    if offset(&FD_OFFSETS.files) == 0 {
        return 0;
    }
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() } as *const c_void;
    cookie_of(task, descriptor).unwrap_or(0)
}

#[inline(always)]
fn cookie_of(task: *const c_void, descriptor: u32) -> Option<u64> {
    let files: *const c_void = read(task, offset(&FD_OFFSETS.files))?;
    let table: *const c_void = read(files, offset(&FD_OFFSETS.fdt))?;
    let size: u32 = read(table, offset(&FD_OFFSETS.max_fds))?;
    if descriptor >= size {
        return None;
    }
    let descriptors: *const c_void = read(table, offset(&FD_OFFSETS.fd))?;
    let file: *const c_void = read(descriptors, descriptor as usize * size_of::<u64>())?;
    let socket: *const c_void = read(file, offset(&FD_OFFSETS.private_data))?;
    // Another thread may have closed it, and what is at that number now is not a socket: only a
    // socket knows its file.
    let own: *const c_void = read(socket, offset(&FD_OFFSETS.socket_file))?;
    if own != file {
        return None;
    }
    let sock: *const c_void = read(socket, offset(&FD_OFFSETS.sk))?;
    read(sock, offset(&FD_OFFSETS.cookie))
}

/// Reads a member of a struct of the kernel.
#[inline(always)]
fn read<T: Copy>(base: *const c_void, offset: usize) -> Option<T> {
    if base.is_null() {
        return None;
    }
    // SAFETY: the helper checks the address and does not fault.
    unsafe { bpf_probe_read_kernel(base.wrapping_byte_add(offset).cast::<T>()) }.ok()
}
