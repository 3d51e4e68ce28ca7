//! RESP at the prompt: where commands go is shown before the cursor, and the server's own
//! documentation is the vocabulary.

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;

use super::docs::Docs;
use super::print::Format;
use super::runner::Runner;
use super::session::{Session, words};
use crate::client::app::{Exit, Output};
use crate::client::repl::{Dialect, Vocabulary, end_reply};

/// Clears the screen and goes to its first line.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// RESP behind the line editor.
pub(crate) struct RespDialect {
    session: Session,
    format: Format,
    /// Shared with the line editor.
    docs: Rc<RefCell<Docs>>,
}

impl RespDialect {
    pub(crate) fn new(session: Session, format: Format) -> Self {
        Self { session, format, docs: Rc::default() }
    }

    /// Runs one line, or does what the prompt itself understands.
    fn line(&mut self, line: &str, output: &mut Output<'_>) -> io::Result<ControlFlow<()>> {
        let typed: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match typed.split_first() {
            Some((word, [])) if word.eq_ignore_ascii_case("clear") => {
                return output.out.write_all(CLEAR).map(ControlFlow::Continue);
            }
            Some((word, topic)) if word.eq_ignore_ascii_case("help") => {
                let help = self.docs.borrow().help(topic);
                return output
                    .out_paint
                    .text(output.out, help.as_bytes())
                    .map(ControlFlow::Continue);
            }
            _ => {}
        }
        self.session.interrupt().clear();
        let mut runner = Runner { session: &mut self.session, format: self.format, output };
        let flow = runner.line(line.as_bytes())?;
        if flow == ControlFlow::Continue(None) {
            output.complain(&"the quotes are not balanced")?;
        }
        if flow == ControlFlow::Continue(Some(Exit::Fine)) {
            end_reply(self.session.interrupt(), output)?;
        }
        if flow == ControlFlow::Continue(Some(Exit::Fine))
            && typed.first().is_some_and(|word| word.eq_ignore_ascii_case("auth"))
        {
            // Before the login the server may have kept them to itself.
            self.load_docs();
        }
        Ok(flow.map_continue(|_| ()))
    }

    /// Asks what there is to offer. Without an answer that is nothing, which is no reason to bother
    /// anybody.
    fn load_docs(&mut self) {
        if let Ok(replies) = self.session.ask(&[words(&["COMMAND", "DOCS"])]) {
            *self.docs.borrow_mut() = replies.first().map(Docs::of).unwrap_or_default();
        }
    }
}

impl Dialect for RespDialect {
    fn vocabulary(&mut self) -> Rc<dyn Vocabulary> {
        self.load_docs();
        Rc::<RefCell<Docs>>::clone(&self.docs)
    }

    fn prompt(&self) -> String {
        self.session.prompt()
    }

    fn greeting(&self) -> String {
        "Connected. help says what there is; exit leaves.".to_owned()
    }

    fn answer(&mut self, entered: &str, output: &mut Output<'_>) -> io::Result<ControlFlow<()>> {
        for line in entered.split('\n') {
            if self.line(line, output)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::session::{Login, Protocol};
    use super::*;
    use crate::client::connection::Endpoint;
    use crate::client::fake;
    use crate::client::interrupt::Interrupt;
    use crate::client::paint::Paint;

    #[test]
    fn what_a_login_opens_is_offered() {
        let open = AtomicBool::new(false);
        let port = fake::serve_resp(move |_, words| match words[0].as_str() {
            "AUTH" => {
                open.store(true, Ordering::Relaxed);
                b"+OK\r\n".to_vec()
            }
            _ if open.load(Ordering::Relaxed) => b"*2\r\n+get\r\n*0\r\n".to_vec(),
            _ => b"-NOAUTH Authentication required.\r\n".to_vec(),
        });
        let mut dialect = dialect(port);
        let vocabulary = dialect.vocabulary();
        assert!(vocabulary.candidates("ge", 2).1.is_empty());
        with_output(|output| assert!(dialect.answer("AUTH pw", output).unwrap().is_continue()));
        assert_eq!(vocabulary.candidates("ge", 2).1, ["GET"]);
    }

    fn dialect(port: u16) -> RespDialect {
        let login = Login {
            endpoint: Endpoint::local(port),
            protocol: Protocol::Two,
            credentials: crate::client::state::Credentials::default(),
            database: 0,
        };
        let session = Session::open(login, Interrupt::default()).unwrap();
        RespDialect::new(session, Format::Standard)
    }

    /// What is written for a person, to each output.
    fn with_output(write: impl FnOnce(&mut Output<'_>)) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        write(&mut Output {
            out: &mut out,
            out_paint: Paint::PERSON,
            err: &mut err,
            err_paint: Paint::PERSON,
        });
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    /// What a person sees at the prompt: replies and, apart, what is said besides.
    fn seen(entered: &str) -> (String, String, bool) {
        let port = fake::serve_resp(|_, words| match words[0].to_uppercase().as_str() {
            "COMMAND" => b"*2\r\n+get\r\n*2\r\n+summary\r\n+Gets.\r\n".to_vec(),
            "INFO" => b"$10\r\n# A\r\nb:\x1b\r\n\r\n".to_vec(),
            "GET" => b">1\r\n+news\r\n$2\r\n\x1b\"\r\n".to_vec(),
            "FAIL" => b"-ERR \x1b[2J\r\n".to_vec(),
            _ => b":1\r\n".to_vec(),
        });
        let mut dialect = dialect(port);
        assert_eq!(dialect.vocabulary().candidates("ge", 2).1, ["GET"]);
        let mut left = false;
        let (out, err) = with_output(|output| {
            left = dialect.answer(entered, output).unwrap().is_break();
        });
        (out, err, left)
    }

    #[test]
    fn replies_are_shown_and_can_do_no_harm() {
        let cases = [
            ("incr x", "(integer) 1\n", "", false),
            ("2 incr x\nincr y", "(integer) 1\n(integer) 1\n(integer) 1\n", "", false),
            ("get k", "1) news\n\"\\x1b\\\"\"\n", "", false),
            ("info", "# A\nb:\\x1b\n", "", false),
            ("FAIL", "(error) ERR \\x1b[2J\n", "", false),
            ("get \"k", "", "the quotes are not balanced\n", false),
            ("help get", "\n  GET\n  summary: Gets.\n\n", "", false),
            ("clear", "\x1b[H\x1b[2J", "", false),
            ("", "", "", false),
            ("Quit\nincr x", "", "", true),
            (" exit ", "", "", true),
        ];
        for (entered, out, err, left) in cases {
            assert_eq!(seen(entered), (out.to_owned(), err.to_owned(), left), "{entered}");
        }
    }
}
