//! The real client and the real load tester beside the real server: connections that are lost, passwords.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use crate::client::Client;
use crate::program::{Program, command_anywhere};

fn program(binary: &str, address: SocketAddr) -> Command {
    let mut command = Command::new(binary);
    command.args(["-h", "127.0.0.1", "-p", &address.port().to_string()]).stdin(Stdio::null());
    command.env_remove("CHRONOS_PASSWORD").env_remove("REDISCLI_AUTH");
    command
}

fn client(address: SocketAddr) -> Command {
    program(env!("CARGO_BIN_EXE_client"), address)
}

fn bench(address: SocketAddr) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_bench"), address);
    command.args(["-n", "200", "-c", "2", "-P", "4", "-q"]);
    command
}

fn said(output: &Output) -> (Option<i32>, String) {
    let (out, err) = (&output.stdout, &output.stderr);
    let text = [String::from_utf8_lossy(out), String::from_utf8_lossy(err)].concat();
    (output.status.code(), text)
}

/// A client that is given one line after the other.
struct Script {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Script { child, input, output: BufReader::new(output) }
    }

    #[track_caller]
    fn ask(&mut self, line: &str, expected: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut reply = String::new();
        self.output.read_line(&mut reply).unwrap();
        assert_eq!(reply, format!("{expected}\n"), "{line}");
    }

    /// Sends the last lines; returns the exit code and what was said on stderr.
    fn end(mut self, lines: &str) -> (Option<i32>, String) {
        self.input.write_all(lines.as_bytes()).unwrap();
        drop(self.input);
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// Ends the other connection, and waits until it has been closed: the answer may come before that, and
/// what the other client sends between is lost with it, so that it may not send it again.
fn kill_others(operator: &mut Client) {
    operator.ask("CLIENT KILL TYPE normal SKIPME yes", "1");
    while operator.figure("connected_clients") > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn after_a_lost_connection_writes_go_to_the_same_database() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path());
    let mut operator = server.connect();
    let mut command = client(server.address);
    command.arg("--resp");
    let mut script = Script::start(command);
    script.ask("SELECT 2", "OK");
    script.ask("CLIENT SETNAME me", "OK");
    kill_others(&mut operator);
    script.ask("SET key value", "OK");
    script.ask("CLIENT GETNAME", "me");
    let (code, err) = script.end("");
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("again, with database 2, client setname as before"), "{err}");
    operator.ask("GET key", "NULL");
    operator.ask("SELECT 2", "OK");
    operator.ask("GET key", "value");
    server.interrupt();
}

#[test]
fn what_belongs_to_a_lost_transaction_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path());
    let mut operator = server.connect();
    let mut command = client(server.address);
    command.arg("--resp");
    let mut script = Script::start(command);
    script.ask("MULTI", "OK");
    script.ask("SET one 1", "QUEUED");
    kill_others(&mut operator);
    let (code, err) = script.end("SET two 2\nEXEC\nSET three 3\n");
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("none of its commands was executed"), "{err}");
    assert!(err.contains("not sent") && err.contains("the script ends at line 3"), "{err}");
    operator.ask("DBSIZE", "0");
    server.interrupt();
}

#[test]
fn passwords_reach_the_server_in_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command_anywhere(dir.path());
    command.env("CHRONOS_PASSWORD", "se-cret");
    let server = Program::spawn(&mut command);
    let address = server.address;
    for flags in [&["PING"][..], &["--resp", "PING"]] {
        let (code, text) = said(&client(address).args(flags).output().unwrap());
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("NOAUTH"), "{text}");
        for variable in ["CHRONOS_PASSWORD", "REDISCLI_AUTH"] {
            let output = client(address).args(flags).env(variable, "se-cret").output().unwrap();
            assert_eq!(said(&output), (Some(0), "PONG\n".to_owned()));
        }
        let output =
            client(address).args(["--no-auth-warning", "-a", "se-cret"]).args(flags).output();
        assert_eq!(said(&output.unwrap()), (Some(0), "PONG\n".to_owned()));
    }
    for protocol in ["text", "resp"] {
        let with = |flags: &[&str]| {
            let mut command = bench(address);
            said(&command.args(["--protocol", protocol]).args(flags).output().unwrap())
        };
        let (code, text) = with(&["-a", "se-cret", "--no-auth-warning"]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(text.matches(" requests per second, p50=").count(), 3, "{text}");
        let (code, text) = with(&[]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("NOAUTH") && !text.contains("per second"), "{text}");
    }
    server.interrupt();
}

#[test]
fn a_load_for_which_descriptors_do_not_suffice_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path());
    let shell = format!(
        "ulimit -n 64; exec {} -p {} -c 100 -n 1000",
        env!("CARGO_BIN_EXE_bench"),
        server.address.port()
    );
    let output = Command::new("sh").args(["-c", &shell]).output().unwrap();
    let (code, text) = said(&output);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("ulimit -n 116"), "{text}");
    server.interrupt();
}
