//! The program: its flags, its first line, its signals and its refusals.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::harness::{Client, PATIENCE};

/// A running program; killed when dropped.
struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronos"));
    command.arg("--data-dir").arg(data_dir).args(["--memory-bytes", "16m"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Program {
    fn start(data_dir: &Path) -> Self {
        Self::spawn(command(data_dir).args(["--listen", "127.0.0.1:0"]))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("🚀 CHRONOS SERVER LISTO Y ESCUCHANDO EN TCP ")
            .and_then(|rest| rest.strip_suffix('\n'));
        let address = address.unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Program { child, stdout, address }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address.parse().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end; returns the exit code and what was logged.
    fn wait(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "stdout has one line");
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn signals_stop_it_in_order_and_the_data_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    for (n, signal) in [Signal::INT, Signal::TERM].into_iter().enumerate() {
        let program = Program::start(&data_dir);
        let mut client = program.connect();
        client.ask(&format!("SET key{n} {n}"), "OK");
        if n > 0 {
            client.ask("GET key0", "0");
        }
        program.signal(signal);
        client.expect_end();
        let (code, log) = program.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("everything is saved"), "{log}");
        assert!(!log.contains('\x1b'), "no colours outside a terminal");
    }
}

#[test]
fn a_killed_program_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path());
    let mut client = program.connect();
    (0..100).for_each(|n| client.ask(&format!("SET key{n} {n}"), "OK"));
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    let program = Program::start(dir.path());
    let mut client = program.connect();
    (0..100).for_each(|n| client.ask(&format!("GET key{n}"), &n.to_string()));
}

#[test]
fn two_signals_end_it_at_once_with_success() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    program.connect().ask("SET k v", "OK");
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().0, Some(0));
    Program::start(dir.path()).connect().ask("GET k", "v");
}

#[test]
fn a_taken_port_is_told_and_nothing_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = refused(&command(&data_dir).args(["--listen", &address]).output().unwrap());
    assert!(error.contains(&address) && error.contains("choose another --listen"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!data_dir.exists());
}

#[test]
fn a_locked_directory_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Program::start(dir.path());
    let second = command(dir.path()).args(["--listen", "127.0.0.1:0"]).output().unwrap();
    let error = refused(&second);
    assert!(error.contains("in use by another process"), "{error}");
    assert!(error.contains("choose another --data-dir"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_one_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let error = refused(&command(&file).args(["--listen", "127.0.0.1:0"]).output().unwrap());
    assert!(error.contains("cannot open the data in"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a directory");
}

#[test]
fn several_listeners_serve_the_same_data() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(dir.path());
    let mut program =
        Program::spawn(command.args(["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]));
    let mut line = String::new();
    program.stdout.read_line(&mut line).unwrap();
    let second = line.trim_end().rsplit(' ').next().unwrap();
    program.connect().ask("SET k v", "OK");
    Client::connect(second.parse().unwrap()).ask("GET k", "v");
}

/// User and system time of a process's main thread, which is the reactor, in clock ticks (100 a
/// second). The other threads may be at work on the log's next segment.
fn cpu_ticks(pid: Pid) -> u64 {
    let pid = pid.as_raw_nonzero();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn running_out_of_descriptors_turns_clients_away_without_spinning() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let mut client = program.connect();
    client.ask("PING", "PONG");
    let open = std::fs::read_dir(format!("/proc/{}/fd", program.pid().as_raw_nonzero())).unwrap();
    let limit = Some(open.count() as u64 + 2);
    let limits = Rlimit { current: limit, maximum: limit };
    prlimit(Some(program.pid()), Resource::Nofile, limits).unwrap();

    let mut others: Vec<Client> = (0..20).map(|_| program.connect()).collect();
    let served = others.iter_mut().map(serves).filter(|&served| served).count();
    assert!((1..=4).contains(&served), "{served}");
    let (before, start) = (cpu_ticks(program.pid()), Instant::now());
    std::thread::sleep(Duration::from_millis(500));
    let spent = cpu_ticks(program.pid()) - before;
    assert!(spent < 10, "{spent} ticks in {:?}", start.elapsed());
    client.ask("PING", "PONG");

    drop(others);
    let start = Instant::now();
    while !serves(&mut program.connect()) {
        assert!(start.elapsed() < PATIENCE, "there is room again");
    }
}

/// Whether a client is served rather than closed.
fn serves(client: &mut Client) -> bool {
    use std::io::Write;
    let mut reply = [0; 5];
    client.socket.write_all(b"PING\n").is_ok()
        && client.socket.read_exact(&mut reply).is_ok()
        && &reply == b"PONG\n"
}

#[test]
fn flags_are_explained() {
    let output = Command::new(env!("CARGO_BIN_EXE_chronos")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in
        ["--listen", "--data-dir", "--durability", "--memory-bytes", "--log-level", "--workers"]
    {
        assert!(help.contains(flag), "{flag}");
    }
    for default in ["127.0.0.1:8080", "./chronos.db", "always", "256m", "info"] {
        assert!(help.contains(&format!("[default: {default}]")), "{default}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronos"));
    let output = command.args(["--memory-bytes", "1k"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("at least 8m"), "{error}");
}
