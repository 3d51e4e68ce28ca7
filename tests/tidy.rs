//! Keeps the house in order by reading the sources: the layers' directions (see
//! `docs/architecture.md`), an essay at the top of each file, short files, nothing left undone.
//!
//! Each rule is a function from a source to its offences, so that it can be shown to find some: a
//! rule that cannot fail protects nothing. Paths are resolved as the compiler does it, as far as
//! `use` declarations and paths from `crate` or `super` go; a module's tests at the end of its file
//! may cross the rooms of their layer, and are left out.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file.
const FILE_LINES: usize = 600;

/// A source file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

/// A module's path from the crate's root, or a foreign path.
type Route = Vec<String>;

/// Which modules a rule is about, and where they must not go.
struct Border {
    from: &'static [&'static str],
    /// Whether the offence is there, by the path that is used.
    crosses: fn(&str) -> bool,
}

const CLOCKS: &[&str] = &["std::time::Instant", "std::time::SystemTime", "engine::options::Clock"];

/// The parts of the engine that know nothing of the whole.
const FOUNDATIONS: &[&str] = &[
    "engine::cache",
    "engine::coding",
    "engine::commit",
    "engine::compaction",
    "engine::iter",
    "engine::journal",
    "engine::key",
    "engine::memtable",
    "engine::pacing",
    "engine::range",
    "engine::ranges",
    "engine::stalls",
    "engine::table",
    "engine::version",
    "engine::wal",
];

/// The whole, and what is held of it.
const UPPER_FLOORS: &[&str] = &[
    "engine::background",
    "engine::backup",
    "engine::batch",
    "engine::check",
    "engine::conditional",
    "engine::db",
    "engine::ingest",
    "engine::memory",
    "engine::offline",
    "engine::read",
    "engine::recovery",
    "engine::repair",
    "engine::scan",
    "engine::session",
    "engine::snapshot",
    "engine::stats",
    "engine::view",
];

const BORDERS: &[Border] = &[
    Border {
        from: &["parser"],
        crosses: |to| within(to, &["engine", "server", "client", "mio", "std::net", "std::fs"]),
    },
    Border { from: &["engine"], crosses: |to| within(to, &["server", "parser", "client", "mio"]) },
    Border {
        from: &["engine", "parser", "server", "client"],
        crosses: |to| within(to, &["tools"]),
    },
    Border {
        from: &["tools"],
        // The client is how a tool speaks to a running server.
        crosses: |to| within(to, &["server", "parser", "campaign", "mio"]),
    },
    Border { from: &["client"], crosses: |to| within(to, &["engine", "server"]) },
    Border { from: &["server"], crosses: |to| within(to, &["client"]) },
    Border {
        from: &["engine::wal", "engine::journal"],
        crosses: |to| within(to, &["engine::table"]),
    },
    Border {
        from: &["engine::table"],
        crosses: |to| within(to, &["engine::wal", "engine::journal"]),
    },
    Border {
        from: &["engine::memtable"],
        crosses: |to| within(to, &["engine::table", "engine::version", "engine::storage"]),
    },
    Border { from: &["engine::table"], crosses: |to| within(to, &["engine::memtable"]) },
    // What callers hold, and what pins a state for them, stands above what it is made of.
    Border { from: FOUNDATIONS, crosses: |to| within(to, UPPER_FLOORS) },
    Border {
        from: &["engine::compaction::picker"],
        crosses: |to| {
            within(to, &["engine::storage", "engine::options", "std::fs", "std::io", "rustix"])
                || within(to, CLOCKS)
        },
    },
    Border { from: &["engine::pacing"], crosses: |to| within(to, CLOCKS) },
    Border {
        from: &["engine", "server", "client", "parser"],
        crosses: |to| within(to, &["engine::internals", "campaign"]),
    },
    Border {
        from: &["engine::storage"],
        crosses: |to| within(to, &["engine"]) && !within(to, &["engine::storage"]),
    },
];

/// Whether a path is one of these modules or inside of one.
fn within(path: &str, modules: &[&str]) -> bool {
    modules.iter().any(|module| {
        path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// The module that a file is: `src/engine/wal.rs` is `engine::wal`.
fn module_of(path: &str) -> Route {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Route = inner.split('/').map(str::to_owned).collect();
    module.pop_if(|name| name == "mod" || name == "lib");
    module
}

/// A source without comments, strings and the tests at its end.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let mut code = String::new();
    let mut rest = &text[..tests];
    while let Some(at) = rest.find(['/', '"', '\'']) {
        code.push_str(&rest[..at]);
        rest = &rest[at..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with('"') {
            code.push_str("\"\"");
            string_bytes(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push_str(&rest[..1]);
            1
        };
        rest = &rest[skipped..];
    }
    code.push_str(rest);
    code
}

/// The length of the string literal at the start of `text`.
fn string_bytes(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Every path that a source uses, resolved from the crate's root; foreign ones as they are.
fn routes(source: &Source) -> Vec<String> {
    let module = module_of(&source.path);
    let code = code(&source.text);
    let words = words(&code);
    let mut routes = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let starts = matches!(words[at], "use" | "crate" | "super");
        if !starts {
            // A path that names a foreign crate where it is used.
            if words.get(at + 1) == Some(&"::") && (at == 0 || words[at - 1] != "::") {
                let path = words[at..].iter().take_while(|word| **word == "::" || is_name(word));
                let path = path.filter(|word| **word != "::").copied().collect();
                routes.push(resolve(&module, path));
            }
            at += 1;
            continue;
        }
        if words[at] == "use" {
            at += 1;
        }
        at = expand(&words, at, Vec::new(), &mut |path| routes.push(resolve(&module, path)));
    }
    routes
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// Splits code into names, `::` and single other characters.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let name = |c: char| c.is_alphanumeric() || c == '_';
        let length = match rest.find(|c| !name(c)) {
            _ if rest.starts_with("::") => 2,
            Some(0) => first.len_utf8(),
            Some(end) => end,
            None => rest.len(),
        };
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    words
}

/// Reports each path of the tree that starts at `at`, such as `a::{b, c::d}`; returns its end.
fn expand<'a>(
    words: &[&'a str],
    mut at: usize,
    mut path: Vec<&'a str>,
    report: &mut dyn FnMut(Vec<&'a str>),
) -> usize {
    while let Some(word) = words.get(at) {
        if *word == "{" {
            at += 1;
            while words.get(at).is_some_and(|word| *word != "}") {
                at = expand(words, at, path.clone(), report);
                if words.get(at) == Some(&",") {
                    at += 1;
                }
            }
            return at + 1;
        }
        if !is_name(word) {
            break;
        }
        path.push(word);
        at += 1;
        if words.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    report(path);
    // Past an alias, a glob.
    while words.get(at).is_some_and(|word| !matches!(*word, "," | "}" | ";" | "{" | "(" | ")")) {
        if matches!(words[at], "use" | "crate" | "super") {
            break;
        }
        at += 1;
    }
    at
}

/// A path from the crate's root.
fn resolve(module: &[String], path: Vec<&str>) -> String {
    let mut names = path.into_iter().peekable();
    let mut route: Vec<&str> = module.iter().map(String::as_str).collect();
    match names.peek() {
        Some(&"crate") => {
            names.next();
            route.clear();
        }
        Some(&"self") => {
            names.next();
        }
        Some(&"super") => {
            while names.next_if_eq(&"super").is_some() {
                route.pop();
            }
        }
        _ => route.clear(),
    }
    route.extend(names);
    route.join("::")
}

/// Paths that cross a border.
fn crossings(source: &Source) -> Vec<String> {
    let module = module_of(&source.path).join("::");
    let borders = BORDERS.iter().filter(|border| within(&module, border.from));
    let routes = routes(source);
    let crossed = borders.flat_map(|border| routes.iter().filter(|to| (border.crosses)(to)));
    crossed.map(|to| format!("{module} must not use {to}")).collect()
}

/// What is wrong with a file as a file.
fn untidy(source: &Source) -> Vec<String> {
    let mut offences = Vec::new();
    let mut require = |holds: bool, what: String| {
        if !holds {
            offences.push(what);
        }
    };
    let opens = source.text.starts_with("//! ");
    require(opens, "the file must open with a `//!` essay on what it is for".into());
    let lines = source.text.lines().count();
    require(lines <= FILE_LINES, format!("{lines} lines, more than {FILE_LINES}"));
    let code = code(&source.text);
    let marks = ["TODO", "FIXME", "XXX"].into_iter().filter(|mark| has_word(&source.text, mark));
    let macros = ["todo!", "unimplemented!"].into_iter().filter(|name| code.contains(name));
    for mark in marks.chain(macros) {
        require(false, format!("{mark}: do it, or write an issue"));
    }
    let prints = code.contains(concat!("print", "ln!")) || code.contains(concat!("print", "!("));
    let silent = source.path.starts_with("src/") && prints;
    require(!silent, "a library does not print: return it, or log it".into());
    offences
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every source file of the project but this one, which has to name what it forbids.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for room in ["src", "bin", "tests", "benches", "examples"] {
        collect(&root().join(room), &mut sources);
    }
    assert!(sources.len() > 80, "only {} sources found", sources.len());
    sources
}

/// What cargo writes for a package that lies in one of the rooms; nobody keeps that in order.
const BUILD_OUTPUT: &str = "target";

fn collect(dir: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != BUILD_OUTPUT) {
                collect(&path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if name != "tests/tidy.rs" {
                sources.push(Source { path: name, text: fs::read_to_string(path).unwrap() });
            }
        }
    }
}

/// Fails with every offence that `rule` finds.
fn enforce(sources: impl Iterator<Item = Source>, rule: fn(&Source) -> Vec<String>) {
    let mut offences = Vec::new();
    for source in sources {
        let found = rule(&source);
        offences.extend(found.into_iter().map(|what| format!("{}: {what}", source.path)));
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn layers_keep_their_directions() {
    let is_production =
        |source: &Source| source.path.starts_with("src/") && !source.path.ends_with("/tests.rs");
    enforce(sources().into_iter().filter(is_production), crossings);
}

#[test]
fn files_are_tidy() {
    enforce(sources().into_iter(), untidy);
}

#[test]
fn every_border_is_one_that_can_be_crossed() {
    let modules: Vec<String> =
        sources().iter().map(|source| module_of(&source.path).join("::")).collect();
    let from = BORDERS.iter().flat_map(|border| border.from);
    for room in from.chain(UPPER_FLOORS) {
        assert!(modules.iter().any(|module| within(module, &[room])), "there is no {room}");
    }
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.into(), text: text.into() }
}

#[test]
fn crossings_are_found() {
    let crossing = [
        ("src/parser/line.rs", "use crate::engine::Seq;"),
        ("src/parser/line.rs", "use std::{fmt, net::TcpStream};"),
        ("src/parser/mod.rs", "pub use super::server::Config;"),
        ("src/parser/deep/room.rs", "fn f() -> super::super::super::client::Reply {}"),
        ("src/parser/line.rs", "fn f(x: mio::Token) {}"),
        ("src/engine/db.rs", "use crate::{coding, parser::Reply};"),
        ("src/engine/db.rs", "use mio as waiting;"),
        ("src/engine/db.rs", "use super::super::server;"),
        ("src/client/app.rs", "use crate::{parser::{self, line}, engine};"),
        ("src/client/app.rs", "fn f() { let x = crate::server::listen(&[]); }"),
        ("src/server/mod.rs", "use crate::client::Reply;"),
        ("src/server/mod.rs", "use crate::tools::Tool;"),
        ("src/engine/db.rs", "use crate::tools::Tool;"),
        ("src/tools/mod.rs", "use crate::server::Config;"),
        ("src/tools/mod.rs", "use crate::parser::Request;"),
        ("src/engine/wal.rs", "use super::table::Table;"),
        ("src/engine/journal/reader.rs", "use crate::engine::{error, table::{Table}};"),
        ("src/engine/table/block.rs", "use super::super::wal;"),
        ("src/engine/table/mod.rs", "use super::journal::Header;"),
        ("src/engine/compaction/picker.rs", "fn f(s: &dyn crate::engine::storage::Storage) {}"),
        ("src/engine/compaction/picker.rs", "use std::fs::File;"),
        ("src/engine/compaction/picker/idle.rs", "use std::time::{Duration, Instant};"),
        ("src/engine/memtable/view.rs", "use crate::engine::table::Table;"),
        ("src/engine/table/scan.rs", "use crate::engine::memtable::Memtable;"),
        ("src/engine/table/scan.rs", "use crate::engine::{key::Seq, view::View};"),
        ("src/engine/version/mod.rs", "use super::snapshot::Snapshots;"),
        ("src/engine/iter/live.rs", "use crate::engine::scan;"),
        ("src/engine/commit.rs", "fn f(m: &super::memory::Memory) {}"),
        ("src/engine/pacing.rs", "use std::time::SystemTime;"),
        ("src/engine/db.rs", "use super::internals::Memtable;"),
        ("src/server/mod.rs", "use crate::engine::internals;"),
        ("src/engine/storage/disk.rs", "use crate::engine::error::Error;"),
        ("src/engine/storage/mod.rs", "use super::{key, storage::File};"),
        ("src/engine/storage/mod.rs", "use super::*;"),
    ];
    for (path, text) in crossing {
        assert_eq!(crossings(&source(path, text)).len(), 1, "{path}: {text}");
        let text =
            format!("//! Essay.\nuse std::fmt;\n\nfn g(a: &str) -> u8 {{ b'\"' }}\n{text}\n");
        assert_eq!(crossings(&source(path, &text)).len(), 1, "{path}: {text}");
    }
}

#[test]
fn what_may_be_used_is_no_crossing() {
    let fine = [
        ("src/parser/line.rs", "use super::{Limits, command::{find, Verb}};"),
        ("src/parser/line.rs", "//! As crate::engine does it.\nuse std::fmt; // crate::server"),
        ("src/parser/line.rs", "const A: &str = \"crate::engine \\\" mio::Poll\";"),
        ("src/parser/line.rs", "#[cfg(test)]\nmod tests {\n    use crate::engine::Seq;\n}"),
        ("src/server/dispatch.rs", "use crate::{engine::Seq, parser::Reply};\nuse mio::Poll;"),
        ("src/engine/db.rs", "use super::{journal, table::Table, wal};"),
        ("src/engine/db.rs", "fn f(parser: u8, engine: u8) -> u8 { parser + engine }"),
        ("src/engine/storage/disk.rs", "use super::{File, Storage};\nuse rustix::fs::flock;"),
        ("src/engine/storage/sim/state.rs", "use super::super::File; use std::io;"),
        ("src/engine/compaction/job.rs", "use crate::engine::storage::Storage;"),
        ("src/engine/view.rs", "use super::{memtable::MemtableView, table::TableScan};"),
        ("src/engine/pacing.rs", "use std::time::Duration;"),
        ("src/engine/internals.rs", "use super::{table::internals::count, wal};"),
        ("src/engine/compaction/picker.rs", "use crate::engine::{ranges, version::set};"),
        ("src/engine/tables.rs", "use super::walrus; use crate::engine::wal::Wal;"),
        ("src/client/app.rs", "use crate::parser::command; use super::engine_like;"),
    ];
    for (path, text) in fine {
        assert_eq!(crossings(&source(path, text)), [""; 0], "{path}: {text}");
    }
}

#[test]
fn untidy_files_are_found() {
    let long = format!("//! Essay.\n{}", "\n".repeat(FILE_LINES));
    let untidy_ones = [
        ("src/lib.rs", "fn f() {}"),
        ("tests/a.rs", "// Not an essay.\n"),
        ("src/lib.rs", long.as_str()),
        ("bin/server.rs", long.as_str()),
        ("examples/a.rs", "fn main() {}\n"),
        ("examples/a.rs", long.as_str()),
        ("tests/server/a.rs", long.as_str()),
        ("benches/a.rs", long.as_str()),
        ("src/lib.rs", "//! Essay.\n// TODO: later\n"),
        ("tests/a.rs", "//! Essay.\n/* FIXME */\n"),
        ("src/lib.rs", "//! Essay.\nfn f() { unimplemented!() }\n"),
        ("src/lib.rs", "//! Essay.\nfn f() { todo!(\"it\") }\n"),
        ("src/lib.rs", "//! Essay.\nfn f() { println!(\"x\") }\n"),
        ("src/lib.rs", "//! Essay.\nfn f() { eprint!(\"x\") }\n"),
    ];
    for (path, text) in untidy_ones {
        assert_eq!(untidy(&source(path, text)).len(), 1, "{path}: {text}");
    }
    let fine = [
        ("bin/server.rs", "//! Essay.\nfn f() { println!(\"x\") }\n"),
        ("tests/a.rs", "//! Essay.\nfn f() { eprintln!(\"x\") }\n"),
        ("examples/a.rs", "//! Essay.\nfn main() { println!(\"x\") }\n"),
        ("src/lib.rs", "//! Essay on println!, which is not TODOs.\nconst A: &str = \"todo!\";\n"),
        ("src/lib.rs", "//! Essay.\n#[cfg(test)]\nmod tests {\n    fn f() { println!() }\n}\n"),
    ];
    for (path, text) in fine {
        assert_eq!(untidy(&source(path, text)), [""; 0], "{path}: {text}");
    }
}
