//! Whole groups of pictures among the packets ahead: which begin where, and what of them must be decoded.

use super::lanes::Pace;
use super::{Ahead, Fate, Group, PROOF, Role, Selector, State};

/// Packets are looked at together at least: short groups say little of how many frames are wanted.
const LEAST: usize = 32;

/// Decided on whether few are wanted at the earliest.
const EARLY: usize = 16;

/// Few frames are wanted where it is no more than one of so many.
const FEW: usize = 4;

/// Compressed bytes held of whole groups at most.
const MAX_BYTES: usize = 32 << 20;

/// Packets of whole groups held at most.
const MAX_PACKETS: usize = 1024;

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More packets must be read.
    Unknown,
    /// They go through one decoder in a stream: many are wanted, or groups cannot be told apart.
    Stream,
    /// This many packets are whole groups, to be decoded apart.
    Apart(usize, Pace),
}

impl Selector {
    /// What the packets ahead are; the first is the first of a group.
    pub(super) fn next_groups(&self) -> Next {
        let count = self.ahead.len();
        let Some(first) = self.ahead.front() else { return Next::Unknown };
        if !first.role.begins() || !self.inspector.is_certain() || self.state == State::Closing {
            return Next::Stream;
        }
        if self.state == State::Ended {
            return self.way_of(count);
        }
        if count >= EARLY && count.is_power_of_two() && self.way_of(count) == Next::Stream {
            return Next::Stream;
        }
        let end = (LEAST..count).find(|&at| self.ahead[at].role.begins() && self.is_boundary(at));
        match end {
            Some(end) => self.way_of(end),
            None if count >= MAX_PACKETS => Next::Stream,
            None if count.is_multiple_of(64) && self.bytes() > MAX_BYTES => Next::Stream,
            None => Next::Unknown,
        }
    }

    fn bytes(&self) -> usize {
        self.ahead.iter().map(|ahead| ahead.packet.data().len()).sum()
    }

    /// How to decode the first `count` packets, if they are whole groups, by what is decided of their frames.
    fn way_of(&self, count: usize) -> Next {
        let fates = self.ahead.range(..count).filter_map(|ahead| self.fate(ahead));
        let (mut decided, mut wanted) = (0, 0);
        for fate in fates.filter(|&fate| fate != Fate::Open) {
            decided += 1;
            wanted += usize::from(fate == Fate::Wanted);
        }
        if !self.is_independent(0, count) {
            Next::Stream
        } else if wanted * FEW <= decided {
            Next::Apart(count, Pace::Abreast)
        } else if self.balance.prefers_one_thread() {
            Next::Apart(count, Pace::InTurn)
        } else {
            Next::Stream
        }
    }

    fn fate(&self, ahead: &Ahead) -> Option<Fate> {
        self.schedule.fate(ahead.pts?)
    }

    /// Whether a group ends before the packet `at`, as far as that is known by now.
    fn is_boundary(&self, at: usize) -> bool {
        let Some(pts) = self.ahead[at].pts else { return false };
        self.schedule.is_decided(pts) && self.is_independent(at, self.ahead.len()) && self.is_apart(at)
    }

    /// Whether nothing wanted of what follows the packet `at`, up to `end`, refers to anything before it.
    fn is_independent(&self, at: usize, end: usize) -> bool {
        let first = &self.ahead[at];
        match first.role {
            Role::Refresh => true,
            Role::Entry => self
                .ahead
                .range(at + 1..end)
                .filter(|ahead| ahead.pts < first.pts)
                .all(|ahead| self.fate(ahead) == Some(Fate::Unwanted)),
            _ => false,
        }
    }

    /// Whether all before the packet `at` is shown before it and all after it, but for what an entry leaves out.
    fn is_apart(&self, at: usize) -> bool {
        let before = self.ahead.range(..at).map(|ahead| ahead.pts).max();
        let entry = self.ahead[at].role == Role::Entry;
        let least = self.ahead[at].pts.filter(|_| entry);
        let after = self.ahead.range(at..).map(|ahead| ahead.pts).filter(|pts| *pts >= least).min();
        before < after
    }

    /// Takes the first `count` packets, drops what nobody wants of them, and returns the groups that must be decoded.
    pub(super) fn take_groups(&mut self, count: usize, pace: Pace) -> Vec<Group> {
        let behind = self.ahead.split_off(count);
        let mut unit: Vec<Ahead> = std::mem::replace(&mut self.ahead, behind).into();
        let mut groups = Vec::new();
        while !unit.is_empty() {
            let end = (1..unit.len()).find(|&at| unit[at].role == Role::Refresh && is_apart(&unit, at));
            let rest = unit.split_off(end.unwrap_or(unit.len()));
            let group = std::mem::replace(&mut unit, rest);
            groups.extend(self.group(group, pace));
        }
        let mut behind: Vec<Ahead> = std::mem::take(&mut self.ahead).into();
        self.drop_leading(&mut behind);
        self.ahead = behind.into();
        groups
    }

    /// Drops what is shown before the entry that `packets` begin with: nobody wants it, and it may refer to what is before.
    fn drop_leading(&mut self, packets: &mut Vec<Ahead>) {
        let Some(Ahead { role: Role::Entry, pts: entry, .. }) = packets.first() else { return };
        let entry = *entry;
        let leading = packets.extract_if(.., |ahead| ahead.pts < entry);
        for ahead in leading.collect::<Vec<_>>() {
            self.leave_out(ahead);
        }
    }

    fn leave_out(&mut self, Ahead { packet, pts, .. }: Ahead) {
        if let Some(pts) = pts {
            self.schedule.drop_frame(pts);
        }
        self.spare.push(packet);
    }

    /// What must be decoded of a group: all up to the last wanted frame, but for what nothing refers to.
    fn group(&mut self, mut packets: Vec<Ahead>, pace: Pace) -> Option<Group> {
        self.drop_leading(&mut packets);
        let wanted = |ahead: &Ahead| self.fate(ahead) == Some(Fate::Wanted);
        let last = packets.iter().rposition(wanted).map_or(0, |last| last + 1);
        let proof = PROOF.saturating_sub(self.proven).min(packets.len());
        for ahead in packets.split_off(last.max(proof)) {
            self.leave_out(ahead);
        }
        let mut group = Group { packets: Vec::new(), frames: Vec::new(), pace };
        for (at, ahead) in packets.into_iter().enumerate() {
            let wanted = self.fate(&ahead) == Some(Fate::Wanted);
            let (Some(pts), true) = (ahead.pts, wanted || at < proof || ahead.role != Role::Disposable)
            else {
                self.leave_out(ahead);
                continue;
            };
            let deliver = wanted || at < proof;
            if deliver {
                self.schedule.set_apart(pts, wanted);
            } else {
                self.schedule.drop_frame(pts);
            }
            group.frames.push((pts, deliver));
            group.packets.push(ahead.packet);
        }
        self.proven += proof;
        group.frames.sort_unstable();
        (!group.packets.is_empty()).then_some(group)
    }
}

/// Whether all before the packet `at` is shown before all from it on.
fn is_apart(packets: &[Ahead], at: usize) -> bool {
    let last = packets[..at].iter().map(|ahead| ahead.pts).max();
    let first = packets[at..].iter().map(|ahead| ahead.pts).min();
    last < first
}
