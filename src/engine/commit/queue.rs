//! The queue in front of the log: what is pending, and the segments that it may go to.
//!
//! A write is admitted only if the prepared segments are sure to hold it, whatever becomes of what
//! waits before it. Everything here is arithmetic and bookkeeping behind the queue's lock; nothing
//! touches a file.

use std::collections::VecDeque;

use super::sizing::Sizing;
use crate::engine::error::{Error, Result};
use crate::engine::journal::GroupBuffer;
use crate::engine::journal::format::group_bytes;
use crate::engine::key::Seq;
use crate::engine::wal::{Room, Spare};

use super::Segment;

/// Submitted bytes beyond which further writes wait for the group in flight.
pub(super) const GROUP_SOFT_LIMIT_BYTES: usize = 4 << 20;
/// Complete segments of the greatest length whose bytes are reason enough for a flush.
const MANY_SEGMENTS: usize = 8;

/// What may be added to the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    /// Payload bytes that wait already.
    pub(super) pending_bytes: usize,
    /// The longest payload that the prepared segments are sure to hold beside those, in the same
    /// group or in one of its own.
    pub(super) payload_limit: usize,
}

impl Capacity {
    /// Whether `bytes` more fit, given `staged` that were not submitted yet.
    pub(crate) fn admits(&self, staged: usize, bytes: usize) -> bool {
        let waiting = self.pending_bytes + staged;
        let small = waiting == 0 || waiting + bytes <= GROUP_SOFT_LIMIT_BYTES;
        small && staged + bytes <= self.payload_limit
    }

    /// Whether it is for want of a prepared segment that they do not.
    pub(crate) fn lacks_segment(&self, staged: usize, bytes: usize) -> bool {
        staged + bytes > self.payload_limit
    }
}

/// What somebody waits for, of what is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// Nothing: it may wait for more.
    Nothing,
    /// That it is committed.
    Commit,
    /// That it is committed and synced.
    Sync,
}

/// What the log thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// It works, and looks at the queue before it sleeps.
    Awake,
    /// It sleeps for as long as lazy writes may wait for more.
    Gathering,
    /// It sleeps until it is woken, or there is something to tidy up.
    Asleep,
}

/// See the module.
pub(super) struct Queue {
    pub(super) pending: GroupBuffer,
    /// What is to become of it.
    pub(super) wanted: Wanted,
    pub(super) pending_first: Seq,
    /// An empty buffer to swap in.
    pub(super) spare_buffer: GroupBuffer,
    pub(super) last_submitted: Seq,
    pub(super) room: Room,
    pub(super) active_id: u64,
    pub(super) active_bytes: usize,
    pub(super) spare: Option<Spare>,
    pub(super) complete: VecDeque<Segment>,
    pub(super) complete_bytes: usize,
    /// How long the next segment is to be.
    pub(super) sizing: Sizing,
    pub(super) stopping: bool,
    /// What the log thread does; set to awake by whoever wakes it, so that it is woken once.
    pub(super) rest: Rest,
    /// Whether lazy writes came since it last slept for them and found nothing.
    pub(super) lazy_lately: bool,
    pub(super) groups: u64,
    pub(super) bytes: u64,
    pub(super) written_bytes: u64,
}

/// A group on its way to the log.
pub(super) struct Taken {
    pub(super) buffer: GroupBuffer,
    pub(super) first_seq: Seq,
    pub(super) last_seq: Seq,
    pub(super) sync: bool,
    pub(super) rotate_to: Option<Spare>,
}

impl Queue {
    /// Nothing pending in front of the fresh segment `active_id`, which has so many bytes.
    pub(super) fn new(active_id: u64, active_bytes: usize, last_seq: Seq, sizing: Sizing) -> Self {
        Queue {
            pending: GroupBuffer::new(),
            wanted: Wanted::Nothing,
            pending_first: last_seq + 1,
            spare_buffer: GroupBuffer::new(),
            last_submitted: last_seq,
            room: Room::fresh(active_bytes),
            active_id,
            active_bytes,
            spare: None,
            complete: VecDeque::new(),
            complete_bytes: 0,
            sizing,
            stopping: false,
            rest: Rest::Awake,
            lazy_lately: false,
            groups: 0,
            bytes: 0,
            written_bytes: 0,
        }
    }

    /// What may be added now.
    pub(super) fn capacity(&self) -> Capacity {
        Capacity { pending_bytes: self.pending.len(), payload_limit: self.payload_limit() }
    }

    /// The longest payload that the active segment or the spare is sure to hold beside what is
    /// pending: that may be a group of its own by the time that more is submitted, and may have
    /// taken the spare. Either may be the larger one.
    fn payload_limit(&self) -> usize {
        let limit = |room: Room| match self.pending.len() {
            0 => room.max_fitting(),
            pending => room.beside(pending).max_fitting(),
        };
        let spare = self.spare.as_ref().map_or(0, |spare| limit(Room::fresh(spare.bytes)));
        spare.max(limit(self.room))
    }

    /// Has the next spare hold a write of so many bytes beside what is pending.
    pub(super) fn want(&mut self, payload_bytes: usize) {
        let pending = if self.pending.is_empty() { 0 } else { group_bytes(self.pending.len()) };
        let needed = Room::segment_for(payload_bytes) + pending;
        // More may be pending by the time that it is there.
        self.sizing.want(needed + needed.min(GROUP_SOFT_LIMIT_BYTES));
    }

    /// How long a segment should be prepared, if one should.
    pub(super) fn wanted_spare(&self) -> Option<usize> {
        match &self.spare {
            None => Some(self.sizing.next(self.complete_bytes)),
            Some(spare) => self.sizing.wanted().filter(|wanted| spare.bytes < *wanted),
        }
    }

    /// Adds a prepared segment; returns the one whose place it takes.
    pub(super) fn add_spare(&mut self, spare: Spare) -> Option<Spare> {
        self.sizing.prepared(spare.bytes);
        self.spare.replace(spare)
    }

    pub(super) fn pending_first_or_next(&self) -> Seq {
        if self.pending.is_empty() { self.last_submitted + 1 } else { self.pending_first }
    }

    /// Takes what is pending, with the segment to go on in if the active one is too full.
    pub(super) fn take(&mut self) -> Result<Option<Taken>> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let payload_bytes = self.pending.len();
        let rotate_to = if self.room.fits(payload_bytes) { None } else { Some(self.take_spare()?) };
        self.room.take(payload_bytes);
        let free = std::mem::replace(&mut self.spare_buffer, GroupBuffer::new());
        let buffer = std::mem::replace(&mut self.pending, free);
        self.groups += 1;
        self.bytes += payload_bytes as u64;
        self.written_bytes += group_bytes(payload_bytes) as u64;
        let (first_seq, last_seq) = (self.pending_first, self.last_submitted);
        let sync = std::mem::replace(&mut self.wanted, Wanted::Nothing) == Wanted::Sync;
        Ok(Some(Taken { buffer, first_seq, last_seq, sync, rotate_to }))
    }

    /// Takes a segment to change to. There is one, for what is pending was admitted.
    fn take_spare(&mut self) -> Result<Spare> {
        let spare = self.spare.take();
        debug_assert!(spare.is_some(), "a group was admitted that no segment holds");
        let spare = spare.ok_or(Error::NoSpace)?;
        self.room = Room::fresh(spare.bytes);
        Ok(spare)
    }

    /// Takes note of a change to segment `next`. Not before its header is durable: until then a
    /// recovery has to begin at the one before, and nobody may recycle that.
    pub(super) fn rotated(&mut self, next: u64, next_bytes: usize, last_seq: Seq, now_ms: u64) {
        let id = std::mem::replace(&mut self.active_id, next);
        let bytes = std::mem::replace(&mut self.active_bytes, next_bytes);
        self.complete.push_back(Segment { id, last_seq, bytes });
        self.complete_bytes += bytes;
        self.sizing.filled(bytes, now_ms);
    }

    /// Takes out a segment that is complete and older than `needed`.
    pub(super) fn retire(&mut self, needed: u64) -> Option<Segment> {
        let segment = self.complete.pop_front_if(|segment| segment.id < needed)?;
        self.complete_bytes -= segment.bytes;
        Some(segment)
    }

    /// Whether so much of the log waits for a flush that it should not wait for a full memtable: small
    /// groups take up more log than memory, and recovery reads all of the log.
    pub(super) fn is_long(&self) -> bool {
        self.complete_bytes >= MANY_SEGMENTS * self.sizing.most()
    }
}
