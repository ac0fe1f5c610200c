//! Groups of pictures that need nothing of one another, each decoded on one thread, several at once.
//!
//! Where few frames are wanted this beats a decoder of several threads, which are in each other's way when pictures refer to the one
//! right before. Where many are wanted, one group after the other goes through here while the cores have other work: that costs less
//! than several threads, and the next frames are decoded while one is being used.
//!
//! What is held in memory is bounded: a lane waits while as many of its frames have not been taken as there is room for.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::ffi::{FfmpegError, Packet, RawDecoder, RawFrame};
use crate::pump::Pump;

/// More lanes hold more frames in memory.
const MOST_LANES: usize = 8;

/// More groups than can be scheduled: each holds a scheduled frame.
const MOST_GROUPS: usize = 4096;

/// Frames of one group that may wait to be taken: enough to go on while the kernel has others run.
const MOST_WAITING: usize = 8;

/// Bytes of decoded frames that may wait to be taken, of all lanes together; at least one frame a lane.
const WAITING_BYTES: u64 = 64 << 20;

/// One group: packets to decode, from one at which a decoder may begin on.
pub(super) struct Group {
    pub packets: Vec<Packet>,
    /// The frames that these must give, in display order, and which of them are to be delivered.
    pub frames: Vec<(i64, bool)>,
    pub pace: Pace,
}

/// How groups follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Side by side, on all lanes.
    Abreast,
    /// One after the other, on one lane.
    InTurn,
}

/// Anything but what was promised: damage, another timestamp, a frame too few.
pub(super) struct Broken;

struct Job {
    group: Group,
    out: SyncSender<Result<RawFrame, Broken>>,
}

/// Frames of a group that are still to come.
struct Pending {
    frames: Receiver<Result<RawFrame, Broken>>,
    left: usize,
}

pub(super) struct Lanes {
    /// `None` only while ending.
    jobs: Option<SyncSender<Job>>,
    queue: Arc<Mutex<Receiver<Job>>>,
    threads: Vec<JoinHandle<()>>,
    pending: VecDeque<Pending>,
    /// Most lanes.
    most: usize,
    /// Bytes of a frame, at least 1.
    frame: u64,
}

impl Lanes {
    /// At most as many lanes as `pump` has threads.
    pub fn new(pump: &Pump) -> Self {
        let (jobs, queue) = sync_channel(MOST_GROUPS);
        let side = |length: i32| u64::try_from(length).unwrap_or(0).max(1);
        Self {
            jobs: Some(jobs),
            queue: Arc::new(Mutex::new(queue)),
            threads: Vec::new(),
            pending: VecDeque::new(),
            most: pump.threads().clamp(1, MOST_LANES),
            frame: side(pump.demuxer.stream.width) * side(pump.demuxer.stream.height) * 3 / 2 + 1,
        }
    }

    /// Whether no lane would be idle for want of another group.
    pub fn are_busy(&self, pace: Pace) -> bool {
        match pace {
            Pace::Abreast => self.pending.len() > self.most,
            Pace::InTurn => self.pending.len() > 1,
        }
    }

    /// Frames of one group that may wait.
    fn room(&self, pace: Pace) -> usize {
        let groups = if pace == Pace::InTurn { 2 } else { self.most };
        usize::try_from(WAITING_BYTES / groups as u64 / self.frame).unwrap_or(1).clamp(1, MOST_WAITING)
    }

    /// Decodes a group, of which at least one frame is to be delivered.
    pub fn submit(&mut self, group: Group, pump: &Pump) -> Result<(), FfmpegError> {
        let most = if group.pace == Pace::InTurn { 1 } else { self.most };
        if self.threads.len() < most && self.threads.len() <= self.pending.len() {
            self.add_lane(pump)?;
        }
        let (out, frames) = sync_channel(self.room(group.pace));
        let left = group.frames.iter().filter(|(_, deliver)| *deliver).count();
        self.pending.push_back(Pending { frames, left });
        if let Some(jobs) = &self.jobs {
            // If no lane is left, its frames are found missing.
            let _ = jobs.send(Job { group, out });
        }
        Ok(())
    }

    fn add_lane(&mut self, pump: &Pump) -> Result<(), FfmpegError> {
        let (decoder, queue) = (pump.single()?, Arc::clone(&self.queue));
        let thread = std::thread::Builder::new().name(format!("decode-{}", self.threads.len()));
        let thread = thread.spawn(move || serve(decoder, &queue)).map_err(|_| FfmpegError::OUT_OF_MEMORY)?;
        self.threads.push(thread);
        Ok(())
    }

    /// The next frame that is to be delivered, of all that were submitted, in order. Waits for it.
    pub fn next(&mut self) -> Result<RawFrame, Broken> {
        let group = self.pending.front_mut().ok_or(Broken)?;
        let frame = group.frames.recv().unwrap_or(Err(Broken));
        group.left -= 1;
        if group.left == 0 {
            self.pending.pop_front();
        }
        frame
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        // Who waits for room, or for a group, sees that there will be none.
        (self.jobs, self.pending) = (None, VecDeque::new());
        for thread in self.threads.drain(..) {
            // One that panicked has been reported by its panic.
            let _ = thread.join();
        }
    }
}

fn serve(mut decoder: RawDecoder, queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { group, out }) = job else { return };
        if let Err(broken) = decode(&mut decoder, group, &out) {
            let _ = out.send(Err(broken));
        }
        decoder.flush();
    }
}

/// Decodes a group to its end, or until nobody wants the rest.
fn decode(
    decoder: &mut RawDecoder,
    group: Group,
    out: &SyncSender<Result<RawFrame, Broken>>,
) -> Result<(), Broken> {
    let mut promised = group.frames.into_iter();
    for packet in group.packets.into_iter().map(Some).chain([None]) {
        decoder.send(packet.as_ref()).map_err(|_| Broken)?;
        loop {
            let frame = match decoder.receive() {
                Ok(frame) => frame,
                Err(FfmpegError::AGAIN | FfmpegError::EOF) => break,
                Err(_) => return Err(Broken),
            };
            let (pts, deliver) = promised.next().ok_or(Broken)?;
            if frame.is_damaged() || decoder.has_concealed() || frame.pts() != Some(pts) {
                return Err(Broken);
            }
            if deliver && out.send(Ok(frame)).is_err() {
                return Ok(());
            }
        }
    }
    promised.next().map_or(Ok(()), |_| Err(Broken))
}
