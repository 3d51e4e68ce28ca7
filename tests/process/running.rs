//! The program at work: its flags, its listeners, and what it does when descriptors run out.

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::client::{Client, PATIENCE};
use crate::program::{Program, command_anywhere};

#[test]
fn several_listeners_serve_the_same_data() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command_anywhere(dir.path());
    let mut program = Program::spawn(command.args(["--listen", "127.0.0.1:0"]));
    let second = program.next_address();
    program.connect().ask("SET k v", "OK");
    Client::connect(second).ask("GET k", "v");
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

/// Sends the line until it is answered so: the engine looks for room again each second.
fn ask_until(client: &mut Client, line: &str, begins: &str) {
    let start = Instant::now();
    loop {
        client.send(format!("{line}\n"));
        let reply = client.line();
        if reply.starts_with(begins) {
            return;
        }
        assert!(reply.starts_with("ERR NOSPACE") && start.elapsed() < PATIENCE, "{reply}");
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_want_of_room_and_passes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path());
    let mut client = program.connect();
    client.ask("SET before 1", "OK");
    let limit = |bytes| {
        let limits = Rlimit { current: bytes, maximum: None };
        prlimit(Some(program.pid()), Resource::Fsize, limits).unwrap();
    };
    limit(Some(5 << 18));
    let large = format!("SET large {}", "l".repeat(7 << 18));
    ask_until(&mut client, &large, "ERR NOSPACE");
    client.ask("GET before", "1");
    ask_until(&mut client, "SET small 1", "OK");
    limit(None);
    ask_until(&mut client, &large, "OK");
}

/// Whether a client is served rather than closed.
fn serves(client: &mut Client) -> bool {
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
    assert!(error.contains("at least 1m"), "{error}");
}
