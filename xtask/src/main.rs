//! Set-up, build, run and test of tls-trace.

fn main() {}
