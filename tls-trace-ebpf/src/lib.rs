//! Shared parts of the eBPF programs: kernel structs, the ring buffer, the panic handler.
//!
//! The programs only watch: no program changes, delays or drops anything.

#![no_std]
#![expect(
    clippy::inline_always,
    clippy::must_use_candidate,
    reason = "a program is one function to the kernel's stack limit and to the verifier's bounds"
)]
#![expect(
    clippy::incompatible_msrv,
    reason = "eBPF programs have a toolchain of their own, which is newer"
)]

pub mod kernel;
pub mod output;
pub mod session;
pub mod socket;
pub mod tail;
pub mod user;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // An endless loop: should a panic ever be reachable, the verifier refuses the program.
    loop {}
}

/// License of the programs; the kernel keeps GPL-only helpers from others.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
