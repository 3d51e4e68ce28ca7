//! Every bound of the server, with its unit. A number that limits something stands here or nowhere.

use std::time::Duration;

use crate::engine::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::parser::reply::MAX_REPLY_BYTES;

use super::bounds::{OutputBound, OutputBounds};

/// The longest key that a client may use: the engine's, less the namespace byte.
pub(crate) const USER_KEY_BYTES: usize = MAX_KEY_BYTES - 1;

/// The longest value that a client may store: the engine's, less the type byte.
pub(crate) const USER_VALUE_BYTES: usize = MAX_VALUE_BYTES - 1;

/// The buffer that all sockets are read into, and so what one connection may deliver per tick.
pub(crate) const READ_BUFFER_BYTES: usize = 64 << 10;

/// Requests of one connection that run before it is another one's turn.
pub(crate) const COMMANDS_PER_TURN: usize = 256;

/// The most words of a request.
pub(crate) const MAX_WORDS: u32 = 1 << 20;

/// The longest request, as far as it must be kept because it is not complete, in bytes.
pub(crate) const REQUEST_BYTES: usize = 128 << 20;

/// The longest transaction that may be queued, in bytes.
pub(crate) const TRANSACTION_BYTES: usize = 64 << 20;

/// A transaction with more commands than this waits while others' replies take much memory, and looks
/// again so often whether they still do.
pub(crate) const LONG_TRANSACTION_COMMANDS: usize = 1024;
pub(crate) const TRANSACTION_RETRY: Duration = Duration::from_millis(20);

/// What each queued word takes beside its bytes, and each queued command beside its words.
pub(crate) const QUEUED_WORD_BYTES: usize = 16;

/// What one command, or one transaction, may write, in bytes: more than the log takes at once.
pub(crate) const STAGED_BYTES: usize = TRANSACTION_BYTES;

/// What one command, or one transaction, may read, in bytes: the longest reply, each value of which
/// is looked up twice where there are several.
pub(crate) const LOOKUP_BYTES: usize = 2 * OUTPUT_HARD_BYTES;

/// What the subscriptions of a client may take, in bytes, and what each takes beside its name.
pub(crate) const SUBSCRIPTIONS_BYTES: usize = 64 << 20;
pub(crate) const SUBSCRIPTION_OVERHEAD_BYTES: usize = 200;

/// What each watched key takes beside its name, in bytes: all together count as a transaction does.
pub(crate) const WATCH_OVERHEAD_BYTES: usize = 200;

/// The longest name that a client may give itself, in bytes: CLIENT LIST shows those of all.
pub(crate) const CLIENT_NAME_BYTES: usize = 1024;

/// Commands that COMMAND DOCS and COMMAND INFO may be asked for at a time.
pub(crate) const DESCRIBED_COMMANDS: usize = 1024;

/// Unread messages of channels above which a client is closed, in bytes: at once, and if it stays there
/// for so many seconds.
pub(crate) const MESSAGES_HARD_BYTES: usize = 32 << 20;
pub(crate) const MESSAGES_SOFT_BYTES: usize = 8 << 20;
pub(crate) const MESSAGES_SOFT_SECONDS: u64 = 60;

/// Bytes of values that commands of one connection look at before it is another one's turn.
pub(crate) const BYTES_PER_TURN: usize = 4 << 20;

/// Databases, unless the configuration says otherwise.
pub(crate) const DATABASES: usize = 16;

/// Readiness events taken from the system per poll.
pub(crate) const EVENTS_PER_POLL: usize = 1024;

/// Connections accepted per tick.
pub(crate) const ACCEPTS_PER_TICK: usize = 64;

/// Unsent output above which a connection's requests are not executed any more, but read on: input is
/// mostly smaller than what answers it.
pub(crate) const OUTPUT_SOFT_BYTES: usize = 1 << 20;

/// Input that is read on while output waits; with so much of it requests are executed after all.
pub(crate) const BACKLOG_BYTES: usize = 64 << 20;

/// Unsent output above which a connection is closed unless the configuration says otherwise: more than
/// the longest reply and what may wait before it.
pub(crate) const OUTPUT_HARD_BYTES: usize = MAX_REPLY_BYTES + (64 << 20);

/// What clients may leave unread, by their class, unless the configuration says otherwise.
pub(crate) const OUTPUT_BOUNDS: OutputBounds = OutputBounds::new(
    OutputBound { hard_bytes: OUTPUT_HARD_BYTES, soft_bytes: 0, soft_seconds: 0 },
    OutputBound {
        hard_bytes: MESSAGES_HARD_BYTES,
        soft_bytes: MESSAGES_SOFT_BYTES,
        soft_seconds: MESSAGES_SOFT_SECONDS,
    },
);

/// What all clients together may make the server hold unless the configuration says otherwise, in
/// bytes: past it, the worst are closed.
pub(crate) const CLIENTS_BYTES: usize = 1 << 30;

/// The least that this may be set to, in bytes.
pub(crate) const LEAST_CLIENTS_BYTES: usize = 1 << 20;

/// Output is kept in pieces of about this length, each freed once it is sent.
pub(crate) const OUTPUT_PIECE_BYTES: usize = 128 << 10;

/// Bytes that are handed to one socket before it is another one's turn.
pub(crate) const WRITE_BYTES_PER_TURN: usize = 1 << 20;

/// Replies of one connection that may wait for the disk at the same time.
pub(crate) const PENDING_REPLIES: usize = 128;

/// How long a reply is taken to be until the first replies of its kind have been seen, in bytes. So
/// many reads may wait for the disk as would fill the soft bound.
pub(crate) const FIRST_REPLY_ESTIMATE_BYTES: usize = 64 << 10;

/// Reads that may wait for a worker.
pub(crate) const WORKER_QUEUE: usize = 1024;

/// Worker threads, unless the configuration says otherwise.
pub(crate) const WORKERS: usize = 2;

/// The most worker threads that the configuration may ask for.
pub(crate) const MAX_WORKERS: usize = 64;

/// Output buffers kept for reuse, and the largest that is worth keeping, in bytes.
pub(crate) const POOLED_BUFFERS: usize = 256;
pub(crate) const POOLED_BUFFER_BYTES: usize = 16 << 10;

/// A scratch buffer larger than this is given back after use, in bytes.
pub(crate) const SCRATCH_KEEP_BYTES: usize = 1 << 20;

/// How long output may wait without the client taking any of it, or sending anything.
pub(crate) const OUTPUT_STUCK: Duration = Duration::from_mins(1);

/// The same while others wait for the memory that it takes.
pub(crate) const STARVING_STUCK: Duration = Duration::from_secs(10);

/// How long a request may stand unfinished without another byte of it, unless the configuration says
/// otherwise: as long as a dead peer goes unnoticed.
pub(crate) const REQUEST_STUCK: Duration = Duration::from_mins(5);

/// How long a connection may be silent before its peer is asked whether it lives, in seconds, unless the
/// configuration says otherwise.
pub(crate) const KEEPALIVE_SECONDS: u32 = 300;

/// How often a peer that does not answer is asked, within as long again.
pub(crate) const KEEPALIVE_PROBES: u32 = 3;

/// How long a closed connection is still read, so that its last reply is not lost to a reset.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// How long clients may take to collect their replies when the server stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// A signal so soon after the first is its echo: `timeout` and terminals send to the process and to
/// its group.
pub(crate) const SIGNAL_ECHO: Duration = Duration::from_millis(100);

/// How often connections that wait for something are looked at. A tick without any costs nothing.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long accepting pauses when not even the spare descriptor helps.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The least time between two log lines of a kind that a client can cause.
pub(crate) const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Descriptors left to the engine's files: this share of the limit, within these bounds.
pub(crate) const RESERVED_SHARE: usize = 8;
pub(crate) const RESERVED_DESCRIPTORS: std::ops::RangeInclusive<usize> = 32..=1000;

/// The most connections, whatever the descriptor limit: a slot number must fit a token.
pub(crate) const MAX_CONNECTIONS: usize = 1 << 20;

/// The least memory that the engine can work with, in bytes.
pub(crate) const MIN_MEMORY_BYTES: usize = 1 << 20;

/// The least size of a log segment, in bytes.
pub(crate) const MIN_SEGMENT_BYTES: usize = 256 << 10;

/// What all transactions' walks over keys may hold together, in bytes.
pub(crate) const TRANSACTION_WALKS_BYTES: usize = 256 << 20;

/// Keys, and bytes of them, that such a walk looks at beyond its limit: some of those before may be gone.
pub(crate) const SPARE_KEYS: u64 = 1024;
pub(crate) const SPARE_BYTES: usize = 1 << 20;

/// What was written since such walks began, as far as it is kept, in bytes.
pub(crate) const CHANGES_BYTES: usize = 64 << 20;

/// Changes that the reactor looks at by itself to bring a walk up to date; more are a worker's.
pub(crate) const RECENT_CHANGES: u64 = 4096;

/// How often workers walk for one transaction.
pub(crate) const WALK_ROUNDS: u32 = 16;

/// Keys that DBSIZE counts one by one; beyond, it estimates.
pub(crate) const COUNTED_KEYS: u64 = 1_000_000;

/// The longest list of keys or values that a walk answers, in bytes: many of them may be in the making
/// at a time, beside all that clients have in their buffers.
pub(crate) const LIST_REPLY_BYTES: usize = 62 << 20;

/// A call of SCAN ends early once its reply has this many bytes.
pub(crate) const SCAN_REPLY_BYTES: usize = 16 << 20;

/// Positions of SCAN that are remembered, and the bytes of their keys.
pub(crate) const CURSORS: usize = 1 << 16;
pub(crate) const CURSOR_BYTES: usize = 16 << 20;

/// What the index of keys that expire may take, in bytes: the earliest stay.
pub(crate) const EXPIRY_INDEX_BYTES: usize = 64 << 20;

/// Keys that are deleted in a millisecond for they have expired, fewer where telling of them takes long;
/// how long the reactor works on them at a time; and how large their tombstones may be together, in bytes:
/// the smallest log segment takes them and one more.
pub(crate) const EXPIRED_PER_MS: std::ops::RangeInclusive<usize> = 8..=256;
pub(crate) const EXPIRING_SLICE: Duration = Duration::from_millis(1);
pub(crate) const EXPIRED_TOMBSTONES_BYTES: usize = MIN_SEGMENT_BYTES / 2;

/// Keys that workers look up at a time, for they may have expired.
pub(crate) const EXPIRY_READS: usize = 64;

/// Keys that expire which a worker finds before it hands them over.
pub(crate) const EXPIRIES_PER_SLICE: usize = 512;

/// The least time between two searches for keys that expire, and after one that failed.
pub(crate) const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// After this time keys that could not be looked up are searched for again; those of damaged tables are
/// not found then.
pub(crate) const SWEEP_AGAIN: Duration = Duration::from_secs(5);

/// How long after the start what has expired is kept though nobody wants to be told of it: programs
/// switch events on once they have connected.
pub(crate) const EXPIRED_KEPT: Duration = Duration::from_mins(1);

/// How many times in which nobody wanted to be told of expiries are remembered.
pub(crate) const UNATTENDED_TIMES: usize = 16;

/// Clients that the system keeps waiting for each listener to accept them, if it keeps so many.
pub(crate) const ACCEPT_BACKLOG: i32 = 4096;

/// Lines of the log that wait to be written, in bytes: past it, they are lost.
pub(crate) const LOG_QUEUE_BYTES: usize = 256 << 10;

/// The longest line of the log, in bytes.
pub(crate) const LOG_LINE_BYTES: usize = 16 << 10;

/// How long the end of the program waits for its last lines to be written.
pub(crate) const LOG_FLUSH: Duration = Duration::from_secs(1);

/// How long a server that starts waits for its log to have room for writes, or to turn out to have none.
pub(crate) const ROOM_WAIT: Duration = Duration::from_secs(10);

/// How long a worker works on one job before it is another one's turn.
pub(crate) const WORK_SLICE: Duration = Duration::from_millis(2);
