//! What the program's flags for Redis clients do.

use std::process::Command;
use std::time::Instant;

use crate::client::{Client, PATIENCE};
use crate::program::{Program, command_anywhere};

fn start(command: &mut Command) -> (Program, Client) {
    let mut program = Program::spawn(command.args(["--redis-listen", "127.0.0.1:0"]));
    let client = Client::connect(program.next_address());
    (program, client)
}

/// Sends an inline command, which only a listener for Redis clients answers in RESP.
#[track_caller]
fn say(client: &mut Client, line: &str, reply: &str) {
    client.send(format!("{line}\r\n"));
    client.expect(format!("{reply}\r\n"));
}

#[test]
fn flags_for_redis_clients() {
    let room = tempfile::tempdir().unwrap();
    let data = room.path().join("data");
    let mut command = command_anywhere(&data);
    command.args(["--requirepass", "secret", "--databases", "3", "--enable-debug-command"]);
    command.arg("--checkpoint-dir").arg(room.path().join("copy"));
    let (_program, mut client) = start(&mut command);
    say(&mut client, "PING", "-NOAUTH Authentication required.");
    say(&mut client, "AUTH secret", "+OK");
    say(&mut client, "PING", "+PONG");
    say(&mut client, "SELECT 2", "+OK");
    say(&mut client, "SELECT 3", "-ERR DB index is out of range");
    say(&mut client, "DEBUG SLEEP 0", "+OK");
    say(&mut client, "CONFIG GET databases", "*2\r\n$9\r\ndatabases\r\n$1\r\n3");
    let dir = data.display().to_string();
    let reply = format!("*2\r\n$3\r\ndir\r\n${}\r\n{dir}", dir.len());
    say(&mut client, "CONFIG GET dir", &reply);
    say(&mut client, "SET k v", "+OK");
    say(&mut client, "SAVE", "+OK");
    assert!(room.path().join("copy/CURRENT").exists());
}

#[test]
fn a_password_from_the_environment_and_a_checkpoint_beside_the_data() {
    let room = tempfile::tempdir().unwrap();
    let mut command = command_anywhere(&room.path().join("data"));
    let (_program, mut client) = start(command.env("CHRONOS_PASSWORD", "secret"));
    say(&mut client, "PING", "-NOAUTH Authentication required.");
    say(&mut client, "AUTH secret", "+OK");
    say(&mut client, "SAVE", "+OK");
    assert!(room.path().join("data.checkpoint/CURRENT").exists());
}

#[test]
fn databases_types_and_expiries_survive_a_kill() {
    let room = tempfile::tempdir().unwrap();
    let data = room.path().join("data");
    let (program, mut client) = start(&mut command_anywhere(&data));
    say(&mut client, "SET stays v EXAT 4102444800", "+OK");
    say(&mut client, "SET goes v PX 300", "+OK");
    say(&mut client, "SELECT 1", "+OK");
    say(&mut client, "SET other 1", "+OK");
    say(&mut client, "SWAPDB 0 1", "+OK");
    say(&mut client, "SELECT 2", "+OK");
    say(&mut client, "SET flushed 1", "+OK");
    say(&mut client, "FLUSHDB", "+OK");
    program.kill();
    let (program, mut client) = start(&mut command_anywhere(&data));
    say(&mut client, "GET other", "$1\r\n1");
    say(&mut client, "SELECT 2", "+OK");
    say(&mut client, "DBSIZE", ":0");
    say(&mut client, "SELECT 1", "+OK");
    say(&mut client, "EXPIRETIME stays", ":4102444800");
    let begun = Instant::now();
    loop {
        client.send("EXISTS goes\r\n");
        if client.line() == ":0\r" {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it expires");
    }
    say(&mut client, "TTL goes", ":-2");
    say(&mut client, "KEYS *", "*1\r\n$5\r\nstays");
    program.kill();
}

#[test]
fn a_key_that_expired_while_the_server_was_killed_is_told_of() {
    let room = tempfile::tempdir().unwrap();
    let data = room.path().join("data");
    let (program, mut client) = start(&mut command_anywhere(&data));
    say(&mut client, "SET session v PX 50", "+OK");
    say(&mut client, "SET timer v PX 60", "+OK");
    program.kill();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let hears = |client: &mut Client, key: &str| {
        let channel = "__keyevent@0__:expired";
        let (length, bytes) = (channel.len(), key.len());
        client.expect(format!("*3\r\n$7\r\nmessage\r\n${length}\r\n{channel}\r\n"));
        client.expect(format!("${bytes}\r\n{key}\r\n"));
    };
    let subscribed = "*3\r\n$9\r\nsubscribe\r\n$22\r\n__keyevent@0__:expired\r\n:1";
    let mut command = command_anywhere(&data);
    let (program, mut client) = start(command.args(["--notify-keyspace-events", "Ex"]));
    say(
        &mut client,
        "CONFIG GET notify-keyspace-events",
        "*2\r\n$22\r\nnotify-keyspace-events\r\n$2\r\nxE",
    );
    say(&mut client, "SUBSCRIBE __keyevent@0__:expired", subscribed);
    hears(&mut client, "session");
    hears(&mut client, "timer");
    program.kill();
    let (program, mut client) =
        start(command_anywhere(&data).env("CHRONOS_NOTIFY_KEYSPACE_EVENTS", "Ex"));
    say(&mut client, "SET another v PX 50", "+OK");
    say(&mut client, "SUBSCRIBE __keyevent@0__:expired", subscribed);
    hears(&mut client, "another");
    program.kill();
}
