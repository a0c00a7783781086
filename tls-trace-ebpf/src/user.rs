//! Memory of the current process.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::{
    bpf_probe_read_user, generated::bpf_probe_read_user as bpf_probe_read_user_raw,
};
use tls_trace_common::{Lost, UNAVAILABLE};

use crate::output::count_lost;

/// A field of the object at `base`; `None` too where its offset is not known. What cannot be read is counted: pages
/// that are not in memory, as the programs may not wait for them.
#[inline(always)]
pub fn field<T: Copy>(base: u64, offset: u32) -> Option<T> {
    if offset == UNAVAILABLE || base == 0 {
        return None;
    }
    let value = peek(base.wrapping_add(u64::from(offset)));
    if value.is_none() {
        count_lost(Lost::MEMORY);
    }
    value
}

/// What is at an address that may be none.
#[inline(always)]
pub fn peek<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and does not fault.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// Which fields of a session could be read, as a record says it.
///
/// In the record itself, by volatile access: a sum in a register would differ on every way through the
/// program, and the verifier of Linux 6.1 walks all of them, twice as many for each field.
pub struct Fields<'a>(&'a mut u32);

impl<'a> Fields<'a> {
    /// Begins with those.
    #[inline(always)]
    pub fn new(word: &'a mut u32, first: u32) -> Self {
        *word = first;
        Self(word)
    }

    /// Adds one.
    #[inline(always)]
    pub fn add(&mut self, bit: u32) {
        let word = ptr::from_mut(self.0);
        // SAFETY: a reference, read and written by this program alone.
        let known = unsafe { ptr::read_volatile(word) };
        // SAFETY: as above.
        unsafe { ptr::write_volatile(word, known | bit) };
    }
}

/// Copies that many bytes, as far as they fit; whether there were any to be read.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a size that was bounded is at most that of the room"
)]
#[inline(always)]
pub fn copy<const N: usize>(to: &mut [u8; N], from: u64, length: u64) -> bool {
    if from == 0 || length == 0 {
        return false;
    }
    // Volatile, 64 bits wide and by addition: what the verifier of Linux 6.1 can follow; see `capture`
    // of the object `wire`.
    let last = length - 1;
    // SAFETY: a local variable.
    let last = unsafe { ptr::read_volatile(&raw const last) };
    let size = (last.min(N as u64 - 1) + 1) as u32;
    // SAFETY: room for `size` bytes; the helper checks the address and does not fault.
    let result =
        unsafe { bpf_probe_read_user_raw(to.as_mut_ptr().cast(), size, from as *const c_void) };
    if result != 0 {
        count_lost(Lost::MEMORY);
    }
    result == 0
}

/// Copies what a pointer and a length of an object name, as much as fits; its length, `None` where
/// that is not known.
#[inline(always)]
pub fn text(base: u64, pointer: u32, length: u32, to: &mut [u8; 64]) -> Option<u32> {
    *to = [0; 64];
    let pointer = field::<u64>(base, pointer)?;
    let length = field::<u32>(base, length)?;
    if pointer == 0 || length == 0 {
        return Some(0);
    }
    copy(to, pointer, u64::from(length)).then_some(length)
}

/// 32 random bytes of an object, unless they are zero or their offset is not known.
#[inline(always)]
pub fn random(base: u64, offset: u32) -> Option<[u64; 4]> {
    let random = field::<[u64; 4]>(base, offset)?;
    (random[0] | random[1] | random[2] | random[3] != 0).then_some(random)
}
