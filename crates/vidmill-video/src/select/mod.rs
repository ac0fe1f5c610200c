//! Not decoding what nobody wants.
//!
//! To know that a frame is not wanted, its index must be known before it is decoded; [`schedule`] finds it from the packets'
//! times, [`nal`] finds what refers to nothing, and what nothing refers to. There are two ways:
//!
//! - Everything goes through one decoder in a stream, but for frames that are not wanted and that no other refers to. Packets
//!   are read ahead only as far as that takes, and at most [`MAX_AHEAD`].
//! - Where few frames are wanted, whole groups of pictures are read ahead ([`groups`]). Those without a wanted frame are not decoded
//!   at all, the others up to the last wanted one, several groups at once ([`lanes`]). So are groups of which many are wanted, one
//!   after the other, while whoever uses the frames has more need of the cores ([`balance`]).
//!
//! The frames that come out are the very same as those of decoding everything. Where that is not certain, this says so
//! ([`Outcome::DecodeAll`]), and where what was announced may be wrong, that too ([`Outcome::StartOver`]).

mod balance;
mod groups;
mod lanes;
mod nal;
mod parameters;
mod schedule;

use std::collections::VecDeque;

use crate::Damage;
use crate::decode::Cores;
use crate::demux::Demuxer;
use crate::ffi::{Packet, RawFrame};
use crate::pump::{Pump, Received};
use balance::Balance;
use groups::Next;
use lanes::{Broken, Group, Lanes, Pace};
use nal::{Inspector, Role};
use schedule::{Doubt, Fate, Schedule};

/// Packets read ahead at most while decoding in a stream. H.264 and HEVC reorder by no more than 16 frames.
const MAX_AHEAD: usize = 64;

/// Packets of whole groups read ahead at most.
const MAX_SCHEDULED: usize = 2048;

/// Frames at the beginning that are decoded in any case: what a stream's packets promise is believed once it was seen to be kept.
const PROOF: usize = 16;

/// Key frames that are tried before giving up: one whose display comes too late, and a few that are no refresh.
const MAX_SEEKS: usize = 8;

pub(crate) struct Selector {
    inspector: Inspector,
    schedule: Schedule,
    /// Read and not yet sent, in decoding order.
    ahead: VecDeque<Ahead>,
    /// Used packets, to be filled again.
    spare: Vec<Packet>,
    /// Given by the decoder, while frames that were left out go before it.
    ready: Option<RawFrame>,
    /// Where reading began at a random access point: what is shown before it is left out.
    entry: Option<i64>,
    state: State,
    way: Way,
    stream: Stream,
    lanes: Lanes,
    pace: Pace,
    balance: Balance,
    /// Frames that were decoded to see that promises are kept, or are about to be.
    proven: usize,
    /// Whether frames that others refer to were left out.
    left_out: bool,
}

struct Ahead {
    packet: Packet,
    /// `None` for packets that were not scheduled.
    pts: Option<i64>,
    role: Role,
}

/// What is done with the packets ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// They are read until it is known what of their group is wanted. The first begins a group.
    Groups,
    /// They go to the stream's decoder. `true` once the first of them did.
    Stream(bool),
}

/// The state of the stream's decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Fresh,
    Running,
    /// It gives out its last frames, and begins anew.
    Draining,
}

/// The packet that a seek led to.
struct Landing {
    role: Role,
    pts: i64,
    dts: i64,
    position: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// Times cannot be relied upon any more: what is announced is delivered, nothing else is announced.
    Closing,
    /// All packets are read.
    Ended,
    /// All packets are sent.
    Draining,
}

/// What to do next.
pub(crate) enum Outcome {
    /// A frame, and whether it is wanted.
    Frame(RawFrame, bool),
    /// A frame that was not decoded, shown at this pts.
    Skipped(i64),
    /// From here on every frame must be decoded; [`Selector::into_unsent`] has the packets to begin with.
    DecodeAll,
    /// What was announced may be wrong.
    StartOver,
    End,
}

impl Selector {
    /// Whether the stream is of a kind whose frames can be told apart before they are decoded.
    pub fn suits(demuxer: &Demuxer) -> bool {
        let format = &demuxer.container.format;
        let timed = format.contains("mov") || format.contains("matroska");
        let codec = matches!(demuxer.stream.codec_name.as_str(), "h264" | "hevc");
        timed && codec && demuxer.can_start_over()
    }

    /// `None` if [`Self::suits`] is false.
    pub fn new(pump: &Pump, cores: Cores) -> Option<Self> {
        let demuxer = &pump.demuxer;
        if !Self::suits(demuxer) {
            return None;
        }
        Some(Self {
            inspector: Inspector::new(&demuxer.stream.codec_name, pump.extradata())?,
            schedule: Schedule::default(),
            ahead: VecDeque::new(),
            spare: Vec::new(),
            ready: None,
            entry: None,
            state: State::Reading,
            way: Way::Groups,
            stream: Stream::Fresh,
            lanes: Lanes::new(pump),
            pace: Pace::Abreast,
            balance: Balance::new(cores, pump.threads()),
            proven: 0,
            left_out: false,
        })
    }

    /// Moves a file that has just been opened to a picture at or before the frame that is shown at `pts`, such that nothing
    /// shown after it depends on what was before. `false` where none can be relied on; the file must then be opened anew.
    pub fn seek(&mut self, pump: &mut Pump, pts: i64) -> bool {
        let mut target = pts;
        for _ in 0..MAX_SEEKS {
            let Some(landing) = self.land(&mut pump.demuxer, target) else { return false };
            if matches!(landing.role, Role::Refresh | Role::Entry) && landing.pts <= pts {
                self.entry = (landing.role == Role::Entry).then_some(landing.pts);
                // Looking at the packet has read it.
                let moved = pump.demuxer.seek(target).is_ok() && pump.demuxer.index_is_orderly();
                pump.demuxer.pass(landing.position);
                return moved;
            }
            // Key frames are found by decoding time, which is earlier than when they are shown; and some are no refresh.
            target = landing.pts.min(landing.dts).min(target).saturating_sub(1);
        }
        false
    }

    fn land(&self, demuxer: &mut Demuxer, target: i64) -> Option<Landing> {
        let mut packet = Packet::new().ok()?;
        demuxer.seek(target).ok()?;
        if !demuxer.read(&mut packet, &mut Damage::default()) {
            return None;
        }
        let (pts, position) = (packet.pts()?, packet.position()?);
        let dts = packet.dts().unwrap_or(pts);
        let role = self.inspector.clone().role(packet.data());
        Some(Landing { role, pts, dts, position })
    }

    /// The next frame. `ask` is asked about each frame once, by its pts, in display order.
    pub fn step(&mut self, pump: &mut Pump, ask: &mut dyn FnMut(i64) -> bool) -> Outcome {
        self.balance.begin();
        let outcome = loop {
            match self.try_step(pump, ask) {
                Ok(None) => {}
                Ok(Some(outcome)) | Err(outcome) => break outcome,
            }
        };
        self.balance.end();
        outcome
    }

    fn try_step(
        &mut self,
        pump: &mut Pump,
        ask: &mut dyn FnMut(i64) -> bool,
    ) -> Result<Option<Outcome>, Outcome> {
        if let Some(outcome) = self.give_dropped() {
            return Ok(Some(outcome));
        }
        self.plan(pump, ask)?;
        if let Some(outcome) = self.give()? {
            return Ok(Some(outcome));
        }
        match pump.receive() {
            Received::Frame(frame) => self.arrive(frame, pump, ask)?,
            Received::Hungry => self.feed(pump, ask)?,
            Received::Failed => return Err(Outcome::StartOver),
            Received::End if self.stream == Stream::Draining => {
                pump.restart();
                self.stream = Stream::Fresh;
            }
            Received::End if self.schedule.owes() => return Err(Outcome::StartOver),
            Received::End => return Err(Outcome::End),
        }
        Ok(None)
    }

    fn give_dropped(&mut self) -> Option<Outcome> {
        match self.schedule.first()? {
            (pts, Fate::Dropped) => {
                self.schedule.pop();
                Some(Outcome::Skipped(pts))
            }
            _ => None,
        }
    }

    /// Gives out the first frame in display order, if what became of it is known.
    fn give(&mut self) -> Result<Option<Outcome>, Outcome> {
        if self.state == State::Closing && !self.schedule.owes() && self.stream != Stream::Draining {
            return Ok(Some(Outcome::DecodeAll));
        }
        let (frame, wanted) = match self.schedule.first() {
            Some((_, Fate::Wanted)) => (self.ready.take(), true),
            Some((_, Fate::Unwanted)) => (self.ready.take(), false),
            Some((_, Fate::Apart(wanted))) => (Some(self.take_apart()?), wanted),
            Some((_, Fate::Dropped)) => return Ok(self.give_dropped()),
            Some((_, Fate::Open)) | None => return Ok(None),
        };
        Ok(frame.map(|frame| {
            self.schedule.pop();
            Outcome::Frame(frame, wanted)
        }))
    }

    fn take_apart(&mut self) -> Result<RawFrame, Outcome> {
        self.lanes.next().map_err(|Broken| Outcome::StartOver)
    }

    /// While whole groups are looked at: reads and hands out as many as keep the lanes busy.
    fn plan(&mut self, pump: &mut Pump, ask: &mut dyn FnMut(i64) -> bool) -> Result<(), Outcome> {
        while self.way == Way::Groups
            && self.schedule.len() < MAX_SCHEDULED
            && !self.lanes.are_busy(self.pace)
        {
            match self.next_groups() {
                Next::Unknown if self.state == State::Reading => self.read(pump, ask)?,
                Next::Unknown if self.ahead.is_empty() && self.state == State::Ended => break,
                Next::Unknown | Next::Stream => {
                    self.way = Way::Stream(false);
                    self.balance.review();
                }
                Next::Apart(count, pace) => {
                    self.decode_apart(count, pace, pump)?;
                    self.balance.review();
                }
            }
        }
        Ok(())
    }

    /// Decodes what is wanted of the first `count` packets, which are whole groups, apart from the stream.
    fn decode_apart(&mut self, count: usize, pace: Pace, pump: &mut Pump) -> Result<(), Outcome> {
        if self.stream == Stream::Running {
            self.stream = Stream::Draining;
            if !pump.drain() {
                return Err(Outcome::StartOver);
            }
        }
        (self.left_out, self.pace) = (true, pace);
        for group in self.take_groups(count, pace) {
            self.lanes.submit(group, pump).map_err(|_| Outcome::StartOver)?;
        }
        Ok(())
    }

    /// Whether frames that others refer to were left out: the decoder has not seen all that was before.
    pub fn has_left_out(&self) -> bool {
        self.left_out
    }

    /// What was read and not sent, for decoding everything from here on.
    pub fn into_unsent(self) -> impl Iterator<Item = Packet> {
        self.ahead.into_iter().map(|ahead| ahead.packet)
    }

    /// The decoder gave a frame: is it the one that the packets promised?
    fn arrive(
        &mut self,
        frame: RawFrame,
        pump: &mut Pump,
        ask: &mut dyn FnMut(i64) -> bool,
    ) -> Result<(), Outcome> {
        if frame.is_damaged() || pump.has_concealed() {
            return Err(Outcome::StartOver);
        }
        let pts = frame.pts();
        if pts.is_none() || pts != self.schedule.expected() {
            return Err(Outcome::StartOver);
        }
        self.ready = Some(frame);
        let Some(pts) = pts else { return Ok(()) };
        while self.schedule.fate(pts) == Some(Fate::Open) {
            if self.state == State::Closing || self.ahead.len() >= MAX_AHEAD {
                self.schedule.announce_through(pts, ask);
            } else {
                self.read(pump, ask)?;
            }
        }
        Ok(())
    }

    /// Sends the next packet, or leaves it out.
    fn feed(&mut self, pump: &mut Pump, ask: &mut dyn FnMut(i64) -> bool) -> Result<(), Outcome> {
        if self.way == Way::Groups {
            // All is planned, and what is planned is given.
            let ended = self.ahead.is_empty() && self.state != State::Reading;
            return if ended { self.nothing_ahead(pump) } else { Err(Outcome::StartOver) };
        }
        while self.ahead.is_empty() && self.state == State::Reading {
            self.read(pump, ask)?;
        }
        if self.way == Way::Stream(true) && self.ahead.front().is_some_and(|next| next.role.begins()) {
            self.way = Way::Groups;
            return Ok(());
        }
        while self.undecided() && self.state == State::Reading && self.ahead.len() < MAX_AHEAD {
            self.read(pump, ask)?;
        }
        let Some(Ahead { packet, pts, role }) = self.ahead.pop_front() else {
            return self.nothing_ahead(pump);
        };
        self.way = Way::Stream(true);
        let sent = match pts {
            Some(pts) if role == Role::Disposable && self.schedule.fate(pts) == Some(Fate::Unwanted) => {
                self.schedule.drop_frame(pts);
                true
            }
            _ => {
                self.stream = Stream::Running;
                pump.send(&packet)
            }
        };
        self.spare.push(packet);
        if sent { Ok(()) } else { Err(Outcome::StartOver) }
    }

    /// Whether the next packet might be left out if only it were known whether its frame is wanted.
    fn undecided(&self) -> bool {
        self.ahead.front().is_some_and(|next| {
            next.role == Role::Disposable
                && next.pts.is_some_and(|pts| self.schedule.fate(pts) == Some(Fate::Open))
        })
    }

    fn nothing_ahead(&mut self, pump: &mut Pump) -> Result<(), Outcome> {
        match self.state {
            State::Ended => {
                self.state = State::Draining;
                if pump.drain() { Ok(()) } else { Err(Outcome::StartOver) }
            }
            State::Closing => self.pass_on(pump),
            State::Reading | State::Draining => Ok(()),
        }
    }

    /// While closing: the decoder needs packets to give out the last frames that are owed.
    fn pass_on(&mut self, pump: &mut Pump) -> Result<(), Outcome> {
        let mut packet = self.blank()?;
        let sent = if pump.read(&mut packet) { pump.send(&packet) } else { pump.drain() };
        self.spare.push(packet);
        if sent { Ok(()) } else { Err(Outcome::StartOver) }
    }

    /// Reads one packet ahead and announces what is certain by it.
    fn read(&mut self, pump: &mut Pump, ask: &mut dyn FnMut(i64) -> bool) -> Result<(), Outcome> {
        let mut packet = self.blank()?;
        if !pump.read(&mut packet) {
            self.state = State::Ended;
            self.schedule.close();
            self.schedule.announce(ask);
            return Ok(());
        }
        let role = self.inspector.role(packet.data());
        if self.entry.is_some_and(|entry| packet.pts().is_some_and(|pts| pts < entry)) {
            self.spare.push(packet);
            return Ok(());
        }
        let unsure = packet.is_corrupt() || packet.is_discarded() || packet.has_new_parameters();
        // Pictures before the first refresh may refer to what is not there, and then give no frame.
        let first = pump.demuxer.packets() == 1 && role != Role::Refresh && self.entry.is_none();
        let admitted = if unsure || first {
            Err(Doubt::FromHere)
        } else {
            self.schedule.admit(packet.pts(), packet.dts())
        };
        match admitted {
            Ok(pts) => {
                self.ahead.push_back(Ahead { packet, pts: Some(pts), role });
                self.schedule.announce(ask);
            }
            Err(Doubt::FromHere) => {
                self.ahead.push_back(Ahead { packet, pts: None, role });
                self.state = State::Closing;
            }
            Err(Doubt::Announced) => return Err(Outcome::StartOver),
        }
        Ok(())
    }

    fn blank(&mut self) -> Result<Packet, Outcome> {
        // Out of memory: decoding everything needs less.
        self.spare.pop().map_or_else(|| Packet::new().map_err(|_| Outcome::StartOver), Ok)
    }
}
