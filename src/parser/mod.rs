//! Turns bytes into commands and replies into bytes; no I/O.

pub mod command;
