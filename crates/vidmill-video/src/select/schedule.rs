//! From packets in decoding order to frames in display order, before any of them is decoded.
//!
//! Once a packet with decoding time `d` is there, every later one is shown after `d` (its pts is no less than its dts,
//! which is more than `d`): the frames up to `d` are known, all of them, and with them their indices.

use std::collections::VecDeque;

/// What is known of a frame that has not been given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its index is not yet certain.
    Open,
    Wanted,
    Unwanted,
    /// Unwanted, and its packet was left out.
    Dropped,
    /// Decoded apart from those around it; whether it is wanted.
    Apart(bool),
}

/// Why times cannot be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// From this packet on; what was announced stands.
    FromHere,
    /// Something that was announced is wrong.
    Announced,
}

/// Frames by their pts, from the next to be given out on.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// Rising: packets come nearly in this order, so what is new belongs near the end.
    frames: VecDeque<(i64, Fate)>,
    last_dts: Option<i64>,
    /// Frames up to here are known.
    horizon: Option<i64>,
    /// Frames up to here were announced.
    announced: Option<i64>,
}

impl Schedule {
    /// Takes note of the next packet in decoding order and returns its pts.
    pub fn admit(&mut self, pts: Option<i64>, dts: Option<i64>) -> Result<i64, Doubt> {
        let pts = pts.ok_or(Doubt::FromHere)?;
        if self.announced.is_some_and(|announced| pts <= announced) {
            return Err(Doubt::Announced);
        }
        if dts.is_some_and(|dts| dts > pts || self.last_dts.is_some_and(|last| dts <= last)) {
            return Err(Doubt::FromHere);
        }
        let Err(at) = self.place(pts) else { return Err(Doubt::FromHere) };
        self.frames.insert(at, (pts, Fate::Open));
        self.last_dts = dts.or(self.last_dts);
        self.horizon = self.horizon.max(dts);
        Ok(pts)
    }

    /// No more packets will come: every frame is known.
    pub fn close(&mut self) {
        self.horizon = Some(i64::MAX);
    }

    /// Asks about every frame that is known by now and was not asked about, in display order.
    pub fn announce(&mut self, ask: &mut dyn FnMut(i64) -> bool) {
        if let Some(horizon) = self.horizon {
            self.announce_through(horizon, ask);
        }
    }

    /// Asks about every frame up to `pts`, known or not: the decoder has just given that one out.
    pub fn announce_through(&mut self, pts: i64, ask: &mut dyn FnMut(i64) -> bool) {
        for (at, fate) in self.frames.iter_mut().take_while(|(at, _)| *at <= pts) {
            let at = *at;
            if *fate == Fate::Open {
                *fate = if ask(at) { Fate::Wanted } else { Fate::Unwanted };
                self.announced = Some(at);
            }
        }
    }

    pub fn fate(&self, pts: i64) -> Option<Fate> {
        self.place(pts).ok().map(|at| self.frames[at].1)
    }

    /// Whether every frame up to `pts` was asked about.
    pub fn is_decided(&self, pts: i64) -> bool {
        self.announced.is_some_and(|announced| pts <= announced)
    }

    /// The packet of an unwanted frame was left out.
    pub fn drop_frame(&mut self, pts: i64) {
        self.decide(pts, Fate::Dropped);
    }

    /// The frame is to come from another decoder.
    pub fn set_apart(&mut self, pts: i64, wanted: bool) {
        self.decide(pts, Fate::Apart(wanted));
    }

    fn decide(&mut self, pts: i64, now: Fate) {
        if let Ok(at) = self.place(pts) {
            self.frames[at].1 = now;
        }
    }

    /// Where the frame is, or where it would be.
    fn place(&self, pts: i64) -> Result<usize, usize> {
        self.frames.binary_search_by_key(&pts, |(at, _)| *at)
    }

    /// The next frame to give out.
    pub fn first(&self) -> Option<(i64, Fate)> {
        self.frames.front().copied()
    }

    /// The next frame that the decoder should give.
    pub fn expected(&self) -> Option<i64> {
        let comes = |fate: &Fate| !matches!(fate, Fate::Dropped | Fate::Apart(_));
        self.frames.iter().find(|(_, fate)| comes(fate)).map(|(pts, _)| *pts)
    }

    /// How many frames are to be given out.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// The first frame has been given out.
    pub fn pop(&mut self) {
        self.frames.pop_front();
    }

    /// Whether frames were announced and not given out.
    pub fn owes(&self) -> bool {
        self.frames.iter().any(|(_, fate)| *fate != Fate::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Admits (pts, dts) pairs and returns the pts asked about after each.
    fn asked(schedule: &mut Schedule, packets: &[(i64, i64)]) -> Vec<Vec<i64>> {
        let mut all = Vec::new();
        for &(pts, dts) in packets {
            assert_eq!(schedule.admit(Some(pts), Some(dts)), Ok(pts));
            let mut now = Vec::new();
            schedule.announce(&mut |pts| {
                now.push(pts);
                true
            });
            all.push(now);
        }
        all
    }

    #[test]
    fn frames_are_announced_in_display_order_as_soon_as_they_are_certain() {
        let mut schedule = Schedule::default();
        // I0 P4 B2 b1 b3 P8
        let asked = asked(&mut schedule, &[(0, -2), (4, -1), (2, 0), (1, 1), (3, 2), (8, 3)]);
        assert_eq!(asked, [vec![], vec![], vec![0], vec![1], vec![2], vec![3]]);
        let mut rest = Vec::new();
        schedule.close();
        schedule.announce(&mut |pts| {
            rest.push(pts);
            false
        });
        assert_eq!(rest, [4, 8]);
        assert_eq!((schedule.fate(8), schedule.fate(3)), (Some(Fate::Unwanted), Some(Fate::Wanted)));
    }

    #[test]
    fn dropped_frames_are_not_expected_of_the_decoder() {
        let mut schedule = Schedule::default();
        asked(&mut schedule, &[(0, 0), (1, 1), (2, 2)]);
        schedule.frames.push_back((0, Fate::Unwanted));
        schedule.drop_frame(0);
        assert_eq!((schedule.first(), schedule.expected()), (Some((0, Fate::Dropped)), Some(1)));
        schedule.pop();
        assert_eq!(schedule.first(), Some((1, Fate::Wanted)));
    }

    #[test]
    fn times_that_make_no_sense_are_doubted() {
        let doubt = |before: &[(i64, i64)], pts, dts| {
            let mut schedule = Schedule::default();
            asked(&mut schedule, before);
            schedule.admit(pts, dts).unwrap_err()
        };
        assert_eq!(doubt(&[], None, Some(0)), Doubt::FromHere);
        assert_eq!(doubt(&[], Some(0), Some(1)), Doubt::FromHere, "decoded after it is shown");
        assert_eq!(doubt(&[(9, 0)], Some(9), Some(1)), Doubt::FromHere, "two frames at one time");
        assert_eq!(doubt(&[(9, 5)], Some(10), Some(5)), Doubt::FromHere, "dts does not rise");
        assert_eq!(doubt(&[(0, 0), (1, 1)], Some(0), None), Doubt::Announced);
    }

    #[test]
    fn without_decoding_times_nothing_is_announced_before_the_end() {
        let mut schedule = Schedule::default();
        schedule.admit(Some(3), None).unwrap();
        schedule.announce(&mut |_| panic!("nothing is certain"));
        assert!(!schedule.owes());
        schedule.announce_through(3, &mut |_| true);
        assert!(schedule.owes());
    }
}
