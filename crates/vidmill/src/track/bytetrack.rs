//! ByteTrack: Y. Zhang et al., "ByteTrack: multi-object tracking by associating every detection box" (ECCV 2022), as Ultralytics has
//! it, with its constants and in its precision: boxes and costs in 32 bits, filters in 64.
//!
//! Confident detections are assigned to tracks first, then weak ones to the tracks that are left. A new track is told of when a second
//! frame confirms it, but in the first frame. Classes play no part.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::assignment::Assignment;
use super::kalman::{Coordinate, Noise};
use super::{Observation, Tracked, has_area, settings::ByteTrackSettings};

/// Standard deviations, as parts of the height: of a position and a velocity; those of the aspect ratio are absolute.
const POSITION: f64 = 1.0 / 20.0;
const VELOCITY: f64 = 1.0 / 160.0;
const RATIO: f64 = 1e-2;
const RATIO_VELOCITY: f64 = 1e-5;
const RATIO_MEASURED: f64 = 1e-1;
/// The highest cost at which a weak detection is a track's, and an unconfirmed track's a confident one.
const WEAK_LIMIT: f64 = 0.5;
const UNCONFIRMED_LIMIT: f64 = 0.7;
/// Tracks nearer than this are one object.
const DUPLICATE: f32 = 0.15;
/// So many removed tracks are remembered.
const REMEMBERED: usize = 1000;

/// Tracks of one source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ByteTrack {
    settings: ByteTrackSettings,
    frame: u64,
    last_id: u64,
    tracked: Vec<Track>,
    lost: Vec<Track>,
    /// Ids of removed tracks: when they come back and are lost again, that is the end.
    removed: VecDeque<u64>,
    #[serde(skip)]
    assignment: Assignment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Tracked,
    Lost,
    Removed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    id: u64,
    state: State,
    is_confirmed: bool,
    x: Coordinate,
    y: Coordinate,
    /// Width by height.
    ratio: Coordinate,
    height: Coordinate,
    first_frame: u64,
    last_frame: u64,
    /// Its detection in the last frame.
    detection: usize,
}

/// A detection as it is assigned.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    detection: usize,
    confidence: f32,
    /// Left, top, width, height.
    ltwh: [f32; 4],
}

/// Places in the frame's list of tracks.
type Places = Vec<usize>;

impl ByteTrack {
    pub fn new(settings: ByteTrackSettings) -> Self {
        Self {
            settings,
            frame: 0,
            last_id: 0,
            tracked: Vec::new(),
            lost: Vec::new(),
            removed: VecDeque::new(),
            assignment: Assignment::default(),
        }
    }

    pub fn update(&mut self, found: &[Observation]) -> Vec<Tracked> {
        self.frame += 1;
        let (strong, weak) = self.split(found);
        let count = self.tracked.len();
        let mut tracks = std::mem::take(&mut self.tracked);
        tracks.append(&mut self.lost);
        let (confirmed, unconfirmed): (Places, Places) = (0..count).partition(|at| tracks[*at].is_confirmed);
        let lost: Places = (count..tracks.len()).collect();

        let pool: Places = confirmed.into_iter().chain(lost.iter().copied()).collect();
        pool.iter().for_each(|at| tracks[*at].predict());

        // In the order in which they join the tracked ones.
        let (mut kept, mut found_again) = (Places::new(), Places::new());
        let limit = self.settings.match_thresh;
        let fused = self.settings.fuse_score;
        let (left, strong) = self.assign(&mut tracks, &pool, &strong, limit, fused, |at, was| match was {
            State::Tracked => kept.push(at),
            State::Lost | State::Removed => found_again.push(at),
        });

        let left: Places = left.into_iter().filter(|at| tracks[*at].state == State::Tracked).collect();
        let (newly_lost, _) =
            self.assign(&mut tracks, &left, &weak, WEAK_LIMIT, false, |at, _| kept.push(at));
        newly_lost.iter().for_each(|at| tracks[*at].state = State::Lost);

        let (dropped, strong) =
            self.assign(&mut tracks, &unconfirmed, &strong, UNCONFIRMED_LIMIT, fused, |at, _| kept.push(at));
        dropped.iter().for_each(|at| tracks[*at].state = State::Removed);

        let least = self.settings.new_track_thresh as f32;
        for candidate in strong.iter().filter(|candidate| candidate.confidence >= least) {
            self.last_id += 1;
            kept.push(tracks.len());
            tracks.push(Track::begin(self.last_id, candidate, self.frame));
        }

        let is_stale = |track: &Track| self.frame - track.last_frame > self.settings.track_buffer;
        let stale: Places = lost.iter().copied().filter(|at| is_stale(&tracks[*at])).collect();
        stale.iter().for_each(|at| tracks[*at].state = State::Removed);

        let mut is_tracked: Vec<bool> = vec![false; tracks.len()];
        let mut tracked = Places::new();
        let still = (0..count).filter(|at| tracks[*at].state == State::Tracked);
        for at in still.chain(kept).chain(found_again) {
            if !std::mem::replace(&mut is_tracked[at], true) {
                tracked.push(at);
            }
        }
        let lost = lost.into_iter().filter(|at| !is_tracked[*at]).chain(newly_lost);
        let mut lost: Places = lost.filter(|at| !self.removed.contains(&tracks[*at].id)).collect();
        remove_duplicates(&tracks, &mut tracked, &mut lost);
        self.removed.extend(dropped.iter().chain(&stale).map(|at| tracks[*at].id));
        self.removed.drain(..self.removed.len().saturating_sub(REMEMBERED));

        self.tracked = tracked.into_iter().map(|at| tracks[at].clone()).collect();
        self.lost = lost.into_iter().map(|at| tracks[at].clone()).collect();
        self.tracked.iter().filter(|track| track.is_confirmed).map(Track::told).collect()
    }

    /// Confident detections and weak ones. Others, and those without an area, play no part.
    fn split(&self, found: &[Observation]) -> (Vec<Candidate>, Vec<Candidate>) {
        let (high, low) = (self.settings.track_high_thresh as f32, self.settings.track_low_thresh as f32);
        let candidates = found.iter().enumerate().filter(|(_, observation)| has_area(observation.xyxy));
        let candidates = candidates.map(|(detection, observation)| Candidate::of(detection, observation));
        candidates
            .filter(|candidate| candidate.confidence >= high || candidate.confidence > low)
            .partition(|candidate| candidate.confidence >= high)
    }

    /// Assigns candidates to the tracks at `places`, which take them in. Tells of each track, with the state it had; returns the
    /// tracks and the candidates that are left.
    fn assign(
        &mut self,
        tracks: &mut [Track],
        places: &[usize],
        candidates: &[Candidate],
        limit: f64,
        fused: bool,
        mut matched: impl FnMut(usize, State),
    ) -> (Places, Vec<Candidate>) {
        if places.is_empty() || candidates.is_empty() {
            return (places.to_vec(), candidates.to_vec());
        }
        let theirs: Vec<[f32; 4]> = candidates.iter().map(Candidate::xyxy).collect();
        let own: Vec<[f32; 4]> = places.iter().map(|at| tracks[*at].xyxy()).collect();
        let cost = |row: usize, column: usize| {
            let distance = 1.0 - iou(&own[row], &theirs[column]);
            let weight = if fused { candidates[column].confidence } else { return f64::from(distance) };
            f64::from(1.0 - (1.0 - distance) * weight)
        };
        let mut is_left = vec![true; candidates.len()];
        let mut left = Places::new();
        for (row, column) in self.assignment.solve(places.len(), candidates.len(), Some(limit), cost) {
            let at = places[row];
            let Some(column) = column else {
                left.push(at);
                continue;
            };
            is_left[column] = false;
            let was = tracks[at].state;
            tracks[at].correct(&candidates[column], self.frame);
            matched(at, was);
        }
        let candidates = candidates.iter().zip(is_left).filter(|(_, is_left)| *is_left);
        (left, candidates.map(|(candidate, _)| *candidate).collect())
    }
}

/// Of a tracked and a lost track that are one object, the one that lived longer stays.
fn remove_duplicates(tracks: &[Track], tracked: &mut Places, lost: &mut Places) {
    let age = |at: usize| tracks[at].last_frame - tracks[at].first_frame;
    let lost_boxes: Vec<[f32; 4]> = lost.iter().map(|at| tracks[*at].xyxy()).collect();
    let mut is_double = vec![false; tracks.len()];
    for &at in tracked.iter() {
        let own = tracks[at].xyxy();
        for (&other, theirs) in lost.iter().zip(&lost_boxes) {
            if 1.0 - iou(&own, theirs) < DUPLICATE {
                is_double[if age(at) > age(other) { other } else { at }] = true;
            }
        }
    }
    tracked.retain(|at| !is_double[*at]);
    lost.retain(|at| !is_double[*at]);
}

impl Track {
    fn begin(id: u64, candidate: &Candidate, frame: u64) -> Self {
        let [x, y, ratio, height] = candidate.xyah();
        let noise =
            Noise { position: square(2.0 * POSITION * height), velocity: square(10.0 * VELOCITY * height) };
        let of_ratio = Noise { position: square(RATIO), velocity: square(RATIO_VELOCITY) };
        Self {
            id,
            state: State::Tracked,
            is_confirmed: frame == 1,
            x: Coordinate::at(x, noise),
            y: Coordinate::at(y, noise),
            ratio: Coordinate::at(ratio, of_ratio),
            height: Coordinate::at(height, noise),
            first_frame: frame,
            last_frame: frame,
            detection: candidate.detection,
        }
    }

    /// One frame on. A track that is not seen keeps its height.
    fn predict(&mut self) {
        if self.state != State::Tracked {
            self.height.velocity = 0.0;
        }
        let height = self.height.position;
        let noise = Noise { position: square(POSITION * height), velocity: square(VELOCITY * height) };
        self.x.predict(noise);
        self.y.predict(noise);
        self.ratio.predict(Noise { position: square(RATIO), velocity: square(RATIO_VELOCITY) });
        self.height.predict(noise);
    }

    fn correct(&mut self, candidate: &Candidate, frame: u64) {
        let [x, y, ratio, height] = candidate.xyah();
        let noise = square(POSITION * self.height.position);
        self.x.correct(x, noise);
        self.y.correct(y, noise);
        self.ratio.correct(ratio, square(RATIO_MEASURED));
        self.height.correct(height, noise);
        self.state = State::Tracked;
        self.is_confirmed = true;
        self.last_frame = frame;
        self.detection = candidate.detection;
    }

    fn xyxy(&self) -> [f32; 4] {
        let height = self.height.position;
        let width = self.ratio.position * height;
        let (left, top) = (self.x.position - width / 2.0, self.y.position - height / 2.0);
        [left, top, width + left, height + top].map(|side| side as f32)
    }

    fn told(&self) -> Tracked {
        Tracked { detection: self.detection, id: self.id, xyxy: self.xyxy() }
    }
}

impl Candidate {
    fn of(detection: usize, observation: &Observation) -> Self {
        let [x1, y1, x2, y2] = observation.xyxy;
        let (width, height) = (x2 - x1, y2 - y1);
        let corner = |centre: f32, size: f32| (f64::from(centre) - f64::from(size) / 2.0) as f32;
        let ltwh = [corner((x1 + x2) / 2.0, width), corner((y1 + y2) / 2.0, height), width, height];
        Self { detection, confidence: observation.confidence, ltwh }
    }

    fn xyxy(&self) -> [f32; 4] {
        let [left, top, width, height] = self.ltwh;
        [left, top, width + left, height + top]
    }

    /// Centre, aspect ratio, height.
    fn xyah(&self) -> [f64; 4] {
        let [left, top, width, height] = self.ltwh;
        [left + width / 2.0, top + height / 2.0, width / height, height].map(f64::from)
    }
}

fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let both = width * height;
    let either = (b[2] - b[0]) * (b[3] - b[1]) + (a[2] - a[0]) * (a[3] - a[1]) - both;
    both / (either + 1e-7)
}

fn square(value: f64) -> f64 {
    value * value
}
