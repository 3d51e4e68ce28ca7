//! Starts the real server, signals it, waits for its end.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, PATIENCE};

/// How the line begins with which it says that it is ready.
const READY: &str = "🚀 CHRONOS SERVER LISTO Y ESCUCHANDO EN TCP ";

/// The server's log so far.
type Log = Arc<Mutex<String>>;

/// A running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: Log,
    collector: Option<JoinHandle<()>>,
    pub(crate) address: SocketAddr,
}

/// The server with the least memory, so that it flushes and merges early.
pub(crate) fn command(data_dir: &Path) -> Command {
    let mut command = large_command(data_dir);
    command.args(["--memory-bytes", "8m"]);
    command
}

/// The server with as much memory as it takes by itself.
pub(crate) fn large_command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronos"));
    command.arg("--data-dir").arg(data_dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// [`command`], on any free port.
pub(crate) fn command_anywhere(data_dir: &Path) -> Command {
    let mut command = command(data_dir);
    command.args(["--listen", "127.0.0.1:0"]);
    command
}

/// The one sentence with which a server refused to start.
#[track_caller]
pub(crate) fn refused(output: &Output) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty());
    // Before it stands at most what the start had logged so far.
    let (log, sentence) = error.trim_end().rsplit_once('\n').unwrap_or(("", error.trim_end()));
    assert!(log.lines().all(|line| line.contains(" INFO starting")), "{error}");
    sentence.to_owned()
}

impl Program {
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::spawn(&mut command_anywhere(data_dir))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let log = Log::default();
        let collector = collector(&mut child, &log);
        let address = announced(&mut stdout);
        let address = address.unwrap_or_else(|line| panic!("{line:?}\n{}", log.lock().unwrap()));
        Program { child, stdout, log, collector, address }
    }

    /// The address on the next line of the program's output.
    pub(crate) fn next_address(&mut self) -> SocketAddr {
        announced(&mut self.stdout).unwrap()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log says something.
    pub(crate) fn wait_for_log(&self, words: &str) {
        let start = Instant::now();
        while !self.log().contains(words) {
            assert!(start.elapsed() < PATIENCE, "{words:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// `kill -9`, and nothing is left of it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end; returns the exit code and what was logged.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(rest.lines().all(|line| line.starts_with(READY)), "no more than that: {rest}");
        let code = self.child.wait().unwrap().code();
        if let Some(collector) = self.collector.take() {
            collector.join().unwrap();
        }
        (code, self.log())
    }

    /// Ctrl-C; whether everything went well, whatever became of the log.
    pub(crate) fn interrupt_quietly(self) -> bool {
        self.signal(Signal::INT);
        self.wait().0 == Some(0)
    }

    /// Ctrl-C, and everything went well.
    pub(crate) fn interrupt(self) -> String {
        self.signal(Signal::INT);
        let (code, log) = self.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopped: everything is saved"), "{log}");
        log
    }
}

/// A thread that collects the log, if it is not sent elsewhere.
fn collector(child: &mut Child, log: &Log) -> Option<JoinHandle<()>> {
    let (stderr, log) = (child.stderr.take()?, Arc::clone(log));
    Some(std::thread::spawn(move || collect(stderr, &log)))
}

fn collect(stderr: impl Read, log: &Log) {
    for line in BufReader::new(stderr).lines() {
        let mut log = log.lock().unwrap();
        log.push_str(&line.unwrap());
        log.push('\n');
    }
}

fn announced(stdout: &mut impl BufRead) -> Result<SocketAddr, String> {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let ready = line.strip_prefix(READY).and_then(|rest| rest.strip_suffix('\n'));
    // On a full disk it serves as well, and says that it is ready once there is room.
    let for_reads = line.strip_prefix("⚠️ CHRONOS SERVER ESCUCHANDO EN TCP ");
    let for_reads = for_reads.and_then(|rest| rest.split_once(',')).map(|(address, _)| address);
    let address = ready.or(for_reads).and_then(|address| address.parse().ok());
    address.ok_or(line)
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
