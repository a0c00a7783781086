//! tp_btf programs of TCP.
#![no_std]
#![no_main]

use tls_trace_ebpf as _;
