//! cgroup_skb programs: the first bytes of each connection.
#![no_std]
#![no_main]

use tls_trace_ebpf as _;
