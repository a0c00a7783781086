//! Captures made by hand.

mod connections;
mod files;
mod frames;
mod make;
