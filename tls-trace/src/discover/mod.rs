//! Processes, their TLS libraries, containers, and the connections they held before the start.

pub mod cgroup;
pub mod existing;
pub mod gone;
pub mod holder;
pub mod library;
pub mod process;
mod sock_diag;
