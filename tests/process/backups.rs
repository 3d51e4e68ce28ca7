//! `chronos backup --from` beside a real server: the backup holds what was acknowledged before it began,
//! whatever checkpoints others make meanwhile.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::program::{Program, command_anywhere};
use crate::tools::{ends, text, tool};

/// The keys in a backup.
fn dump(backup: &Path) -> String {
    String::from_utf8(tool(&["dump", text(backup)]).stdout).unwrap()
}

#[test]
fn a_running_server_is_backed_up_as_it_is_now_and_not_as_it_was() {
    let room = tempfile::tempdir().unwrap();
    let (data, first, second) =
        (room.path().join("data"), room.path().join("first"), room.path().join("second"));
    let server = Program::start(&data);
    let address = server.address.to_string();
    let mut client = server.connect();
    client.ask("SET one 1", "OK");
    client.ask("SAVE", "OK");
    client.ask("SET two 2", "OK");
    let said = ends(0, &["backup", "--from", &address, text(&first), "--max-age", "1h"]);
    assert!(said.contains("verified backup") && said.contains("up to sequence 2"), "{said}");
    assert!(dump(&first).contains("two"));
    client.ask("SET three 3", "OK");
    ends(0, &["backup", text(&second), "--from", &address]);
    assert!(dump(&second).contains("three") && !dump(&first).contains("three"));
    let names = fs::read_dir(room.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["data", "data.checkpoint", "first", "second"], "nothing else is left");
    server.interrupt();
}

#[test]
fn backups_at_once_do_not_mix() {
    let room = tempfile::tempdir().unwrap();
    let server = Program::start(&room.path().join("data"));
    let address = server.address.to_string();
    let mut client = server.connect();
    for round in 0..4_u32 {
        client.ask(&format!("SET round {round}"), "OK");
        client.ask(&format!("SET key{round} {round}"), "OK");
        let runs: Vec<_> = (0..3)
            .map(|number| {
                let target = room.path().join(format!("backup-{round}-{number}"));
                let address = address.clone();
                std::thread::spawn(move || {
                    ends(0, &["backup", "--from", &address, text(&target)]);
                    dump(&target)
                })
            })
            .collect();
        for run in runs {
            let dump = run.join().unwrap();
            let expected = format!("round\t\\x00{round}");
            assert!(dump.contains(&expected) && dump.contains(&format!("key{round}\t")), "{dump}");
        }
    }
    server.interrupt();
}

#[test]
fn what_cannot_be_the_checkpoint_is_refused_with_a_reason() {
    let room = tempfile::tempdir().unwrap();
    let (data, target) = (room.path().join("data"), room.path().join("target"));
    let mut command = command_anywhere(&data);
    command.env("CHRONOS_PASSWORD", "secret");
    let server = Program::spawn(&mut command);
    let address = server.address.to_string();
    let backup = |flags: &[&str], password: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chronos"));
        command.args(["backup", "--from", &address, text(&target)]).args(flags);
        let output = command.env("CHRONOS_PASSWORD", password).output().unwrap();
        assert!(!target.join("BACKUP").exists() || output.status.success());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = backup(&[], "");
    assert!(code == Some(2) && said.contains("NOAUTH"), "{said}");
    let (code, said) = backup(&[], "wrong");
    assert!(code == Some(2) && said.contains("WRONGPASS"), "{said}");
    let elsewhere = room.path().join("elsewhere");
    let (code, said) = backup(&["--checkpoint", text(&elsewhere)], "secret");
    assert!(code == Some(2) && said.contains("on the server's machine"), "{said}");
    let (code, said) = backup(&[], "secret");
    assert_eq!(code, Some(0), "{said}");
    // A checkpoint of before, where this one should be.
    let stale = room.path().join("data.checkpoint");
    fs::rename(&stale, &elsewhere).unwrap();
    fs::remove_dir_all(&target).unwrap();
    let (code, said) = backup(&["--checkpoint", text(&elsewhere)], "secret");
    assert!(code == Some(2) && said.contains("is not the checkpoint"), "{said}");
    server.interrupt();
    let said = ends(2, &["backup", "--from", &address, text(&target)]);
    assert!(said.contains("nothing listens there"), "{said}");
    ends(2, &["backup", "--from", "nowhere", text(&target)]);
    ends(2, &["backup", "--from", &address, text(&data), text(&target)]);
    ends(2, &["backup", text(&target)]);
}
