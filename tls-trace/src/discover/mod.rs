//! Processes, containers and their names.
