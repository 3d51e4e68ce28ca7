//! The oracle finds what it must find, and nothing else.

use super::*;

/// What step `serial` leaves on an own key.
fn content(serial: u64) -> Option<Content> {
    let bytes = serial.to_string().into_bytes().into();
    (serial > 0).then_some(Content { bytes, expires_ms: None })
}

/// Client 0's steps, in order; `-key` deletes, `hN` is a hot key, `a+b` are written together. Sent
/// at 10, 20, ...
fn journal(steps: &str, acked: usize) -> Journal {
    let parse = |(n, words): (usize, &str)| {
        let serial = n as u64 + 1;
        let tag = Tag { client: 0, serial };
        let mut step = Step { tag, own: Vec::new(), hot: None, sent: 10 * serial };
        for word in words.split('+') {
            let (deletes, word) = (word.starts_with('-'), word.trim_start_matches('-'));
            if let Some(number) = word.strip_prefix('h') {
                step.hot = Some((number.parse().unwrap(), deletes));
            } else {
                let left = content(serial).filter(|_| !deletes);
                step.own.push((word.parse().unwrap(), left));
            }
        }
        step
    };
    let acked = (0..acked as u64).map(|n| 10 * (n + 1) + 5).collect();
    let steps = steps.split_whitespace().enumerate().map(parse).collect();
    Journal { steps, acked, ..Journal::default() }
}

fn tag(serial: u64) -> Option<Tag> {
    (serial > 0).then_some(Tag { client: 0, serial })
}

/// Judges what is on the own keys 0 to 2 and the hot keys 0 and 1, by serial, 0 for nothing.
fn judge(journals: Vec<Journal>, own: [u64; 3], hot: [u64; 2]) -> Result<(), String> {
    let mut journals = journals;
    journals.resize_with(CLIENTS, Journal::default);
    let mut found = Oracle::default();
    own.iter().enumerate().for_each(|(key, serial)| found.own[0][key] = content(*serial));
    hot.iter().enumerate().for_each(|(key, serial)| found.hot[key] = tag(*serial));
    Oracle::default().judge(&journals, found.own, found.hot)
}

#[test]
fn prefixes_from_the_acknowledged_on_are_right() {
    for own in [[3, 2, 0], [3, 0, 0], [3, 0, 5]] {
        assert_eq!(judge(vec![journal("0 1 0 -1 2", 3)], own, [0, 0]), Ok(()), "{own:?}");
    }
}

#[test]
fn lost_torn_and_reordered_writes_are_found() {
    // Nothing; all but the last acknowledged one; one without its predecessor; a stale one.
    for own in [[0, 0, 0], [1, 2, 0], [3, 2, 5], [1, 0, 5]] {
        let verdict = judge(vec![journal("0 1 0 -1 2", 3)], own, [0, 0]);
        assert!(verdict.is_err_and(|reason| reason.contains("client 0")), "{own:?}");
    }
}

#[test]
fn what_belongs_together_survives_as_a_whole() {
    for (own, hot) in [([1, 0, 0], [0, 0]), ([2, 2, 0], [2, 0]), ([0, 3, 3], [2, 0])] {
        assert_eq!(judge(vec![journal("0 0+1+h0 -0+1+2", 1)], own, hot), Ok(()), "{own:?}");
    }
    for (own, hot) in [([2, 0, 0], [2, 0]), ([2, 2, 0], [0, 0]), ([0, 3, 0], [2, 0])] {
        assert!(judge(vec![journal("0 0+1+h0 -0+1+2", 1)], own, hot).is_err(), "{own:?}");
    }
}

#[test]
fn an_expiry_is_part_of_what_survives() {
    let expiring = content(1).map(|content| Content { expires_ms: Some(7), ..content });
    let mut journals = vec![journal("0", 1)];
    journals[0].steps[0].own[0].1.clone_from(&expiring);
    journals.resize_with(CLIENTS, Journal::default);
    for (found, is_right) in [(expiring, true), (content(1), false), (None, false)] {
        let mut state = Oracle::default();
        state.own[0][0] = found;
        let verdict = Oracle::default().judge(&journals, state.own, state.hot);
        assert_eq!(verdict.is_ok(), is_right, "{verdict:?}");
    }
}

#[test]
fn hot_keys_take_part_in_the_prefix() {
    assert_eq!(judge(vec![journal("0 h0 0", 1)], [3, 0, 0], [2, 0]), Ok(()));
    assert_eq!(judge(vec![journal("0 h0 0", 1)], [1, 0, 0], [2, 0]), Ok(()));
    assert_eq!(judge(vec![journal("0 h0 0", 1)], [1, 0, 0], [0, 0]), Ok(()));
    assert!(judge(vec![journal("0 h0 0", 1)], [3, 0, 0], [0, 0]).is_err());
    assert!(judge(vec![journal("h0 h0 0", 1)], [0, 0, 3], [1, 0]).is_err());
    assert!(judge(vec![journal("h0 -h0", 2)], [0, 0, 0], [1, 0]).is_err());
    assert_eq!(judge(vec![journal("h0 -h0", 1)], [0, 0, 0], [1, 0]), Ok(()));
    assert_eq!(judge(vec![journal("h0 -h0", 1)], [0, 0, 0], [0, 0]), Ok(()));
}

#[test]
fn what_was_shown_must_survive() {
    let with = |serial, sent, done| {
        let other = Shown { key: 0, tag: tag(serial), sent, done };
        vec![journal("0 h0 0", 1), Journal { shown: vec![other], ..Journal::default() }]
    };
    assert_eq!(judge(with(0, 1, 2), [1, 0, 0], [0, 0]), Ok(()));
    assert_eq!(judge(with(2, 21, 22), [1, 0, 0], [2, 0]), Ok(()));
    assert!(judge(with(2, 21, 22), [1, 0, 0], [0, 0]).is_err(), "shown and lost");
    // A miss was shown after the value was there: a delete, which is lost.
    let mut journals = with(0, 40, 41);
    journals[0].acked = vec![15, 25, 35];
    assert!(judge(journals, [3, 0, 0], [2, 0]).is_err());
}

#[test]
fn of_two_clients_the_later_write_wins() {
    let two = |first: (u64, u64), second: (u64, u64)| {
        let step = |client, sent| {
            let tag = Tag { client, serial: 1 };
            Step { tag, own: Vec::new(), hot: Some((0, false)), sent }
        };
        let journal = |client, (sent, done)| Journal {
            steps: vec![step(client, sent)],
            acked: vec![done],
            ..Journal::default()
        };
        vec![journal(0, first), journal(1, second)]
    };
    assert_eq!(judge(two((10, 30), (20, 40)), [0; 3], [1, 0]), Ok(()), "at the same time");
    assert_eq!(judge(two((30, 40), (10, 20)), [0; 3], [1, 0]), Ok(()));
    assert!(judge(two((10, 20), (30, 40)), [0; 3], [1, 0]).is_err());
}
