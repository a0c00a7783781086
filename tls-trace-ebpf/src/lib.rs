//! Shared parts of the eBPF programs.
#![no_std]
