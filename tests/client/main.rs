//! The `client` binary as a shell sees it: outputs, exit codes, pipes; in text against a fake store, in
//! RESP against a scripted server and, where one is installed, against Redis.

#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

#[path = "../../src/client/fake.rs"]
mod fake;
mod program;
mod redis;
mod resp;
mod text;
