//! Shared parts of the eBPF programs.
#![no_std]

/// The verifier rejects an endless loop: a program in which a panic is reachable does not load.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
