//! Starts the two servers: Chronos, and the `redis-server` that it is compared with.
//!
//! Each server gets a directory and a port of its own, and ends with its handle. A server is only
//! believed to run once its own output says so: another program may listen on the port.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server; killed when dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    _directory: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already if it failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The version whose replies Chronos gives; others have other commands and words.
const VERSION: &str = "v=7.0.";

/// A new `redis-server`; `None`, with a note, where none is installed and none is required.
pub(crate) fn reference() -> Option<Running> {
    let version = Command::new("redis-server").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if !version.as_ref().is_ok_and(|version| version.contains(VERSION)) {
        let required = std::env::var_os("CHRONOS_REQUIRE_REDIS").is_some();
        assert!(!required, "CHRONOS_REQUIRE_REDIS is set, and there is only {version:?}");
        eprintln!("skipped: there is no redis-server {VERSION} to compare with: {version:?}");
        return None;
    }
    // Another program may take the port before the server does.
    Some((0..10).find_map(|_| redis()).unwrap())
}

/// A new Chronos, or what stands in its place (see the head of `main.rs`).
pub(crate) fn chronos() -> Running {
    if std::env::var_os("CHRONOS_DIFFERENTIAL_SELF").is_some() {
        return (0..10).find_map(|_| redis()).unwrap();
    }
    let directory = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronos"));
    command.arg("--data-dir").arg(directory.path()).args(["--memory-bytes", "32m"]);
    // What survives a power cut is not the subject here, and syncs would take most of the time.
    command.args(["--durability", "os", "--log-level", "warn"]);
    command.args(["--listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines(child.stdout.take().unwrap());
    let announced = [next_address(&lines), next_address(&lines)];
    let [_, Some(address)] = announced else {
        let _ = child.kill();
        panic!("chronos ended: {:?}", child.wait());
    };
    Running { child, address, _directory: directory }
}

/// A `redis-server` on a port that was free; `None` if it is no longer.
fn redis() -> Option<Running> {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = TempDir::new().unwrap();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.args(["--port", &address.port().to_string()]).arg("--dir").arg(directory.path());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines(child.stdout.take().unwrap());
    while let Ok(line) = lines.recv_timeout(PATIENCE) {
        if line.contains("Ready to accept connections") {
            return Some(Running { child, address, _directory: directory });
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// The address at the end of the next line that has one.
fn next_address(lines: &mpsc::Receiver<String>) -> Option<SocketAddr> {
    loop {
        let line = lines.recv_timeout(PATIENCE).ok()?;
        let last = line.split(' ').next_back().and_then(|word| word.parse().ok());
        if last.is_some() {
            return last;
        }
    }
}

/// A program's output by lines. It is read to its end, so that the program never waits for it.
fn lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (line, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for read in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens once the server runs.
            let _ = line.send(read);
        }
    });
    lines
}
