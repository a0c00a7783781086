//! The `tls-trace` command.

fn main() {}
