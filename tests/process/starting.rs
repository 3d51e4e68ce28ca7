//! The start: when clients are let in, what is created, for whom, and what is refused.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::directory::copy;
use crate::program::{Program, command_anywhere, large_command, refused};

/// A server that was stopped (SIGSTOP) while it recovers.
struct Recovering {
    child: Child,
    address: SocketAddr,
    _room: TempDir,
}

impl Recovering {
    /// Starts servers on copies of `dir`, whose log takes a while to read, until one is stopped in time.
    fn start(dir: &Path) -> Self {
        for _ in 0..20 {
            let room = tempfile::tempdir().unwrap();
            copy(dir, &room.path().join("data"));
            if let Some(server) = Self::try_start(room) {
                return server;
            }
        }
        panic!("it is ready before it has said that it starts");
    }

    fn try_start(room: TempDir) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = large_command(&room.path().join("data"));
        command.args(["--listen", &address.to_string()]);
        let mut server = Recovering { child: command.spawn().unwrap(), address, _room: room };
        let stderr = server.child.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines();
        assert!(lines.next().unwrap().unwrap().contains("starting: recovering"));
        server.signal(Signal::STOP);
        // What it said before it stopped, if it said more.
        let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<String>());
        std::thread::sleep(Duration::from_millis(50));
        if TcpStream::connect(address).is_ok() {
            server.signal(Signal::KILL);
            assert!(
                rest.join().unwrap().contains("recovered"),
                "it listens before it has recovered"
            );
            return None;
        }
        Some(server)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Recovering {
    fn drop(&mut self) {
        // It has ended already if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A database whose log takes a while to read.
fn with_a_long_log(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    let mut command = large_command(&data);
    command.args(["--listen", "127.0.0.1:0", "--durability", "os"]);
    let program = Program::spawn(&mut command);
    let mut client = program.connect();
    let value = "x".repeat(1 << 20);
    for n in 0..32 {
        client.ask(&format!("SET key{n} {value}"), "OK");
    }
    program.kill();
    data
}

#[test]
fn clients_are_let_in_once_it_has_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Recovering::start(&with_a_long_log(dir.path()));
    let refused = TcpStream::connect(server.address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.signal(Signal::CONT);
    let mut line = String::new();
    BufReader::new(server.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("LISTO"), "{line}");
    Client::connect(server.address).ask("EXISTS key31", "1");
}

#[test]
fn a_recovery_is_ended_by_sigterm_at_once_and_by_nothing_stray() {
    let dir = tempfile::tempdir().unwrap();
    let data = with_a_long_log(dir.path());
    let mut server = Recovering::start(&data);
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::ALARM, Signal::CONT] {
        server.signal(signal);
    }
    let mut line = String::new();
    BufReader::new(server.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("LISTO"), "{line}");
    drop(server);
    let mut server = Recovering::start(&data);
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    let status = server.child.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status}");
}

#[test]
fn stray_signals_do_not_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let mut client = program.connect();
    client.ask("SET k v", "OK");
    let stray = [
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
        Signal::PIPE,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::POWER,
        Signal::TTOU,
        Signal::XFSZ,
        Signal::HUP,
    ];
    for signal in stray {
        program.signal(signal);
        client.ask("GET k", "v");
    }
    program.wait_for_log("SIGHUP received: there is nothing to load anew; going on");
    client.ask("PING", "PONG");
    program.interrupt();
}

/// The permissions of a file or directory.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[track_caller]
fn assert_private(dir: &Path) {
    assert_eq!(mode(dir), 0o700, "{}", dir.display());
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// The program with everything allowed to everybody, as far as its caller has a say.
fn generous(arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = "umask 000; exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_chronos")]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn what_it_creates_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let data = text("above/data");
    let listen = ["--data-dir", &data, "--memory-bytes", "8m", "--listen", "127.0.0.1:0"];
    let program = Program::spawn(&mut generous(&listen));
    let mut client = program.connect();
    client.ask("SET k v", "OK");
    client.ask("SAVE", "OK");
    client.ask("COMPACT", "OK_COMPACTED");
    program.interrupt();
    assert_private(&path("above/data"));
    assert_private(&path("above/data.checkpoint"));
    let run = |arguments: &[&str]| {
        let output = generous(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["dump", &data, "--output", &text("dump")]);
    assert_eq!(mode(&path("dump")), 0o600);
    run(&["load", &text("loaded"), "--input", &text("dump")]);
    run(&["backup", &data, &text("backup")]);
    run(&["restore", &text("backup"), &text("restored")]);
    for name in ["loaded", "backup", "restored"] {
        assert_private(&path(name));
    }
}

#[test]
fn a_directory_that_is_open_to_others_is_left_so_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let told = |mode| {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        Program::start(dir.path()).interrupt().contains("other users of this machine")
    };
    assert!(told(0o750) && told(0o711) && !told(0o700));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Program::start(dir.path()).interrupt();
    assert_eq!(mode(dir.path()), 0o755);
}

#[test]
fn a_database_that_must_exist_is_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let refused = || refused(&command_anywhere(&path).arg("--must-exist").output().unwrap());
    let error = refused();
    assert!(error.contains("there is no database") && error.contains("--must-exist"), "{error}");
    assert!(!path.exists(), "nothing was created");
    fs::create_dir(&path).unwrap();
    refused();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    Program::start(&path).interrupt();
    let log = Program::spawn(command_anywhere(&path).arg("--must-exist")).interrupt();
    assert!(!log.contains("created a new database"), "{log}");
}

#[test]
fn a_password_may_stand_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let mut command = command_anywhere(&dir.path().join("data"));
    command.arg("--requirepass-file").arg(&file);
    let error = refused(&command.output().unwrap());
    assert!(error.contains("cannot read the password in"), "{error}");
    assert!(!dir.path().join("data").exists());
    fs::write(&file, "secret\n").unwrap();
    let program = Program::spawn(&mut command);
    let mut client = program.connect();
    client.send("GET k\n");
    let line = client.line();
    assert!(line.contains("NOAUTH"), "{line}");
    client.ask("AUTH secret", "OK");
    client.ask("SET k v", "OK");
}
