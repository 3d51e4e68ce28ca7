//! What a session keeps, over replies and over connections.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::*;
use crate::client::fake;

fn login(port: u16) -> Login {
    Login {
        endpoint: Endpoint::local(port),
        protocol: Protocol::Best,
        credentials: Credentials::default(),
        database: 0,
    }
}

/// A server that says OK to everything, QUEUED to SELECT in a transaction, an array to EXEC, and closes
/// the connection at CLOSE. Each command that it reads is reported with its connection's number.
fn server() -> (u16, Receiver<String>) {
    let (commands, heard) = channel();
    let port = fake::serve_resp(move |number, words| {
        commands.send(format!("{number} {}", words.join(" "))).unwrap();
        match words[0].as_str() {
            "HELLO" => b"%0\r\n".to_vec(),
            "EXEC" => b"*1\r\n+OK\r\n".to_vec(),
            "FAIL" => b"-ERR no\r\n".to_vec(),
            "UNSUBSCRIBE" => b">1\r\n:1\r\n".repeat(words.len() - 1),
            "PUSHING" => b">1\r\n+news\r\n+OK\r\n".to_vec(),
            "CLOSE" | "SHUTDOWN" => Vec::new(),
            _ => b"+OK\r\n".to_vec(),
        }
    });
    (port, heard)
}

fn open(port: u16) -> Session {
    Session::open(login(port), Interrupt::default()).unwrap()
}

fn run(session: &mut Session, line: &str) -> Result<Vec<Value>> {
    session.run(&words(&line.split(' ').collect::<Vec<_>>()))
}

fn ok() -> Vec<Value> {
    vec![Value::Simple(b"OK".to_vec())]
}

#[test]
fn the_prompt_shows_the_database_and_the_transaction() {
    let (port, _heard) = server();
    let mut session = open(port);
    let steps = [
        ("PING", ""),
        ("select 3", "[3]"),
        ("MULTI", "[3](TX)"),
        ("SELECT 4", "[3](TX)"),
        ("EXEC", "[4]"),
        ("MULTI", "[4](TX)"),
        ("SELECT 5", "[4](TX)"),
        ("DISCARD", "[4]"),
        ("FAIL", "[4]"),
        ("SELECT 0", ""),
        ("SELECT 7", "[7]"),
        ("RESET", ""),
    ];
    for (line, shown) in steps {
        run(&mut session, line).unwrap();
        assert_eq!(session.prompt(), format!("127.0.0.1:{port}{shown}> "), "{line}");
    }
}

#[test]
fn a_command_whose_connection_broke_is_not_sent_again_and_the_next_goes_to_the_same_database() {
    let (port, heard) = server();
    let mut session = open(port);
    for line in ["SELECT 2", "CLIENT SETNAME me", "AUTH pw", "HELLO 2"] {
        run(&mut session, line).unwrap();
    }
    let broken = run(&mut session, "CLOSE");
    assert!(matches!(broken, Err(Error::OutcomeUnknown { .. })), "{broken:?}");
    assert_eq!(session.prompt(), "not connected[2]> ");
    assert_eq!(run(&mut session, "SET k v").unwrap(), ok());
    let restored = "with database 2, client setname as before";
    assert_eq!(
        session.take_notices(),
        [format!("connected to 127.0.0.1:{port} again, {restored}")]
    );
    assert_eq!(session.prompt(), format!("127.0.0.1:{port}[2]> "), "the database is the same");
    let expected = ["1 AUTH pw", "1 SELECT 2", "1 CLIENT SETNAME me", "1 SET k v"];
    assert_eq!(heard.try_iter().filter(|line| line.starts_with('1')).collect::<Vec<_>>(), expected);
}

#[test]
fn what_belongs_to_a_lost_transaction_is_not_sent() {
    let (port, heard) = server();
    let mut session = open(port);
    run(&mut session, "SELECT 2").unwrap();
    run(&mut session, "MULTI").unwrap();
    let broken = run(&mut session, "CLOSE").unwrap_err();
    assert!(broken.to_string().contains("none of its commands was executed"), "{broken}");
    assert_eq!(session.prompt(), "not connected[2](TX lost)> ");
    for line in ["SET k v", "GET k", "MULTI"] {
        let refused = run(&mut session, line).unwrap_err();
        assert!(refused.is_unsent() && refused.to_string().contains("not sent"), "{refused}");
    }
    assert!(run(&mut session, "EXEC").unwrap_err().to_string().contains("EXEC was not sent"));
    assert_eq!(run(&mut session, "SET k v").unwrap(), ok());
    let sent: Vec<_> = heard.try_iter().filter(|line| line.starts_with('1')).collect();
    assert_eq!(sent, ["1 HELLO 3", "1 SELECT 2", "1 SET k v"]);
}

#[test]
fn a_command_that_gets_no_reply_is_not_waited_for() {
    let port = fake::serve_resp(|_, words| match words.join(" ").as_str() {
        "CLIENT REPLY OFF" | "SET k v" => b"\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    });
    let mut session =
        Session::open(Login { protocol: Protocol::Two, ..login(port) }, Interrupt::default())
            .unwrap();
    for line in ["CLIENT REPLY OFF", "SET k v"] {
        assert_eq!(run(&mut session, line).unwrap(), [], "{line}");
        assert_eq!(session.take_notices().len(), 1);
    }
    assert!(session.prompt().ends_with("(no replies)> "));
}

#[test]
fn a_shutdown_needs_no_reply() {
    let (port, _heard) = server();
    assert_eq!(run(&mut open(port), "SHUTDOWN").unwrap(), []);
}

#[test]
fn pushes_are_kept_apart_unless_they_confirm() {
    let (port, _heard) = server();
    let mut session = open(port);
    assert_eq!(run(&mut session, "PUSHING").unwrap(), ok());
    assert_eq!(session.take_pushed(), [Value::Push(vec![Value::Simple(b"news".to_vec())])]);
    assert_eq!(run(&mut session, "UNSUBSCRIBE a b c").unwrap().len(), 3);
    assert_eq!(run(&mut session, "PING").unwrap(), ok(), "nothing is left over");
}

#[test]
fn a_login_comes_first_and_a_wrong_database_is_no_connection() {
    let (commands, heard) = channel();
    let port = fake::serve_resp(move |_, words| {
        commands.send(words.join(" ")).unwrap();
        match words[0].as_str() {
            "SELECT" => b"-ERR DB index is out of range\r\n".to_vec(),
            _ => b"-ERR unknown command\r\n".to_vec(),
        }
    });
    let login = Login {
        credentials: Credentials { user: Some(b"eve".to_vec()), password: Some(b"pw".to_vec()) },
        database: 99,
        ..login(port)
    };
    let error = Session::open(login, Interrupt::default()).unwrap_err();
    assert_eq!(error.to_string(), "SELECT 99 failed: ERR DB index is out of range");
    assert!(error.is_unsent());
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["AUTH eve pw", "HELLO 3", "SELECT 99"]);
}

#[test]
fn the_protocol_is_what_was_asked_for() {
    let port = fake::serve_resp(|_, _| b"-ERR unknown command\r\n".to_vec());
    let open = |protocol| Session::open(Login { protocol, ..login(port) }, Interrupt::default());
    assert!(open(Protocol::Best).is_ok());
    assert!(open(Protocol::Two).is_ok());
    let error = open(Protocol::Three).unwrap_err();
    assert_eq!(error.to_string(), "HELLO 3 failed: ERR unknown command");
}

#[test]
fn silence_is_a_time_out_only_where_one_is_set() {
    let port = fake::serve(|_, stream| {
        thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let timeout = Some(Duration::from_millis(60));
    let endpoint = Endpoint { timeout, ..Endpoint::local(port) };
    let login = Login { endpoint, protocol: Protocol::Two, ..login(port) };
    let mut session = Session::open(login, Interrupt::default()).unwrap();
    let Err(Error::OutcomeUnknown { cause }) = run(&mut session, "PING") else { panic!() };
    assert!(matches!(*cause, Error::TimedOut { .. }), "{cause}");
}
