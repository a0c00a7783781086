//! Processes, containers and their names.

pub mod process;
