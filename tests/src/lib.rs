//! Truth suite: real programs, real faults, exact verdicts.
//!
//! A case says what really happened, in the words of a report, and the tracer has to agree:
//!
//! ```no_run
//! use tls_trace::report::{Cause, Initiator, Phase};
//! use tls_trace_tests::{actor, client, truth};
//!
//! truth(&[], |case| {
//!     actor::connect(case.address()).expect_err("nobody listens");
//!     case.expect([client().failed(
//!         Phase::Connect,
//!         Initiator::ServerKernel,
//!         Cause::ConnectRefused,
//!     )])
//! });
//! ```
//!
//! Every case has a port of its own, so cases run side by side. Without root a case says so and
//! passes; so it does when a program is missing, unless `TLS_TRACE_TEST_STRICT` is set.
//! `TLS_TRACE_TEST_SLOW=8` makes all deadlines eight times as long (emulated machines).

pub mod actor;
pub mod boringssl;
pub mod capture;
pub mod certificates;
pub mod clients;
pub mod envoy;
pub mod fault;
pub mod go;
pub mod grpc;
pub mod grpcio;
pub mod grpcjava;
pub mod grpcjs;
pub mod hooked;
pub mod netns;
pub mod nss;
pub mod program;
pub mod scenes;
pub mod servers;
pub mod static_nginx;
pub mod tshark;
pub mod vantage;
pub mod words;

mod case;
mod environment;
mod expect;
mod kernel_objects;
mod tracer;

pub use case::{Case, free_port, truth, truth_on_wire};
pub use environment::{
    find, installed, is_slow, milliseconds, say_skipped, scratch, seconds, skip_without_root,
};
pub use expect::{Expected, both, client, describe, server};
pub use kernel_objects::KernelObjects;
pub use tracer::{Tracer, binary, scrape};
