//! Which lines may hold a password, and are therefore never kept in the history.
//!
//! When in doubt a line is left out: a command that is not in the history costs a person some typing, a
//! password that is can cost everything. Both protocols, whatever the quoting, and command lines of
//! clients that were typed at the prompt by mistake.

use super::resp::words;

/// Commands that carry a password, by their first words and what must be among the others.
const COMMANDS: &[(&[&str], Option<&str>)] = &[
    (&["AUTH"], None),
    (&["HELLO"], Some("AUTH")),
    (&["ACL", "SETUSER"], None),
    (&["MIGRATE"], None),
];

/// What stands in the name of a setting or of a flag whose value is a password.
const SETTINGS: [&str; 7] = [
    "requirepass",
    "masterauth",
    "auth-pass",
    "sentinel-pass",
    "--pass",
    "password",
    "rediscli_auth",
];

/// Whether what was entered, which may be several lines, may hold a password.
pub(crate) fn are_in(entered: &str) -> bool {
    entered.split(['\n', '\r']).any(is_secretive)
}

fn is_secretive(line: &str) -> bool {
    let split = words::split(line.as_bytes()).map(|words| {
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>()
    });
    // Quotes that are not closed are left out, as if they were not there.
    let is_quote = |c: char| c == '"' || c == '\'';
    let bare =
        || line.split(|c: char| c.is_whitespace() || is_quote(c)).map(str::to_owned).collect();
    let words: Vec<String> = split.unwrap_or_else(bare);
    let is_count = |word: &&String| word.is_empty() || word.parse::<u64>().is_ok();
    let command: Vec<&String> = words.iter().skip_while(is_count).collect();
    COMMANDS.iter().any(|(names, among)| begins_with(&command, names) && holds(&command, *among))
        || words.iter().any(|word| is_telling(&word.to_lowercase()))
}

fn begins_with(command: &[&String], names: &[&str]) -> bool {
    names.len() < command.len()
        && names.iter().zip(command).all(|(name, word)| word.eq_ignore_ascii_case(name))
}

fn holds(command: &[&String], among: Option<&str>) -> bool {
    among.is_none_or(|name| command.iter().any(|word| word.eq_ignore_ascii_case(name)))
}

/// Whether a word, in small letters, is the name of something whose value is a password, or holds one.
fn is_telling(word: &str) -> bool {
    let is_flag = word.starts_with("-a");
    let is_uri = word.contains("://") && word.contains('@');
    is_flag || is_uri || SETTINGS.iter().any(|name| word.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_kept() {
        for line in [
            "auth secret",
            "  AUTH u p",
            "2 auth x",
            "\"auth\" secret",
            "'AUTH' \"se cret\"",
            "\"\\x41UTH\" secret",
            "AUTH \"secret",
            "\"AUTH secret",
            "HELLO 3 AUTH u p",
            "hello 3 setname x auth u p",
            "acl setuser eve >pw",
            "CONFIG SET requirepass secret",
            "config set maxmemory 1 \"RequirePass\" secret",
            "CONFIG SET masterauth secret",
            "MIGRATE h 1 k 0 9 AUTH pw",
            "PING\nAUTH secret",
            "PING\r\nAUTH secret\r\nPING",
            "redis-cli -a secret ping",
            "client -asecret",
            "client --pass secret",
            "chronos --requirepass secret",
            "redis-cli -u redis://eve:secret@host",
            "CHRONOS_PASSWORD=secret client",
            "REDISCLI_AUTH=secret client",
        ] {
            assert!(are_in(line), "{line}");
        }
        for line in [
            "get auth",
            "acl list",
            "config get x",
            "",
            "authors",
            "auth",
            "HELLO 3",
            "SET k v\nGET k",
        ] {
            assert!(!are_in(line), "{line}");
        }
    }
}
