//! The way to user space: one ring buffer for each object, and a counter for what did not fit.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_PROD_POS},
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, generated::bpf_get_current_comm,
    },
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use tls_trace_common::{Lost, Task};

/// Records for user space; the loader sets the size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Bytes of [`EVENTS`], a power of two; overwritten by the loader.
#[unsafe(no_mangle)]
static RING_BYTES: u32 = 4096;

/// Bytes of a record's header in the ring (`BPF_RINGBUF_HDR_SZ`).
const HEADER: u64 = 8;

/// Records that found [`EVENTS`] full, by [`Lost`].
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Lost::SLOTS, 0);

/// Sends a record that `fill` writes in place; it must write every field.
#[inline(always)]
pub fn send<T: 'static>(lost: Lost, fill: impl FnOnce(&mut T)) {
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        count_lost(lost);
        return;
    };
    // SAFETY: the memory is this program's until it is submitted, and records are valid for any
    // bytes.
    fill(unsafe { &mut *entry.as_mut_ptr() });
    entry.submit(wakeup(size_of::<T>()));
}

/// Counts a record that is lost.
#[inline(always)]
pub fn count_lost(lost: Lost) {
    if let Some(count) = LOST.get_ptr_mut(lost.0) {
        // SAFETY: the pointer is this CPU's slot, valid while the program runs; programs that
        // interrupt each other on one CPU may lose an increment, never corrupt memory.
        unsafe { *count += 1 };
    }
}

/// Flags to submit a record of `length` bytes with. User space looks by itself many times a second,
/// so that an event does not cost a wake-up; it is woken only when the buffer fills faster than
/// that, and then once for each sixteenth: a wake-up is an interrupt, and a reader that is late
/// comes no sooner for being called by every record.
#[inline(always)]
pub fn wakeup(length: usize) -> u64 {
    // SAFETY: a static integer, only ever read; volatile as the loader overwrites it.
    let ring = u64::from(unsafe { read_volatile(&raw const RING_BYTES) });
    if EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) > ring / 4
        && EVENTS.query(u64::from(BPF_RB_PROD_POS)) & (ring / 16 - 1) < length as u64 + HEADER
    {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}

/// Writes process and thread id of the current task and zeroes the rest. `cgroup_skb` programs may
/// ask no more than this.
#[inline(always)]
pub fn current_ids(task: &mut Task) {
    let pid_tgid = bpf_get_current_pid_tgid();
    *task = Task {
        pid: (pid_tgid >> 32) as u32,
        tid: (pid_tgid & 0xffff_ffff) as u32,
        cgroup: 0,
        flags: 0,
        exit_code: 0,
        comm: [0; 16],
    };
}

/// Writes the current task, as far as every tracing program may ask; flags and exit code are 0.
#[inline(always)]
pub fn current_task(task: &mut Task) {
    current_ids(task);
    // SAFETY: no arguments.
    task.cgroup = unsafe { bpf_get_current_cgroup_id() };
    // Straight to its place: a copy by way of the stack would go byte by byte.
    // SAFETY: room for 16 bytes; on failure the helper zeroes them.
    unsafe { bpf_get_current_comm(task.comm.as_mut_ptr().cast(), 16) };
}
