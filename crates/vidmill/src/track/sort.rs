//! SORT: A. Bewley et al., "Simple online and realtime tracking" (ICIP 2016), as its authors' program has it, with its constants.
//!
//! A track is a box's centre, area and aspect ratio; the first three move at constant velocity. Each frame, the tracks' predicted boxes
//! and the detections are assigned by their overlap.

use serde::{Deserialize, Serialize};

use super::assignment::Assignment;
use super::kalman::{Coordinate, Noise};
use super::{Observation, Tracked, has_area, settings::SortSettings};

/// Variances of a new track: velocities are unknown.
const INITIAL: Noise = Noise { position: 10.0, velocity: 10_000.0 };
/// Variances that a frame adds; the area's velocity changes less.
const MOTION: Noise = Noise { position: 1.0, velocity: 0.01 };
const AREA_MOTION: Noise = Noise { position: 1.0, velocity: 0.0001 };
/// The aspect ratio has no velocity.
const RATIO_INITIAL: Noise = Noise { position: 10.0, velocity: 0.0 };
const RATIO_MOTION: Noise = Noise { position: 1.0, velocity: 0.0 };
/// Variances of what is measured: of the centre; of area and aspect ratio.
const CENTRE_NOISE: f64 = 1.0;
const SHAPE_NOISE: f64 = 10.0;

/// Tracks of one source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sort {
    settings: SortSettings,
    frame: u64,
    last_id: u64,
    tracks: Vec<Track>,
    #[serde(skip)]
    scratch: Scratch,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Track {
    id: u64,
    x: Coordinate,
    y: Coordinate,
    area: Coordinate,
    ratio: Coordinate,
    /// Frames since a detection was last assigned.
    unseen: u64,
    /// Frames in a row with one, after the first.
    streak: u64,
}

/// Memory that is kept from frame to frame.
#[derive(Debug, Default)]
struct Scratch {
    assignment: Assignment,
    predicted: Vec<[f64; 4]>,
    /// Of each detection with each track, row by row.
    overlaps: Vec<f64>,
    pairs: Vec<(usize, usize)>,
}

/// There is nothing in it that is worth copying.
impl Clone for Scratch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Sort {
    pub fn new(settings: SortSettings) -> Self {
        Self { settings, frame: 0, last_id: 0, tracks: Vec::new(), scratch: Scratch::default() }
    }

    pub fn update(&mut self, found: &[Observation]) -> Vec<Tracked> {
        self.frame += 1;
        self.predict();
        let boxes: Vec<(usize, [f64; 4])> = found
            .iter()
            .enumerate()
            .filter(|(_, observation)| has_area(observation.xyxy))
            .map(|(index, observation)| (index, observation.xyxy.map(f64::from)))
            .collect();
        let mut seen: Vec<Option<usize>> = vec![None; self.tracks.len()];
        for number in self.associate(&boxes) {
            self.last_id += 1;
            self.tracks.push(Track::begin(self.last_id, boxes[number].1));
            seen.push(Some(boxes[number].0));
        }
        for &(number, track) in &self.scratch.pairs {
            self.tracks[track].correct(boxes[number].1);
            seen[track] = Some(boxes[number].0);
        }
        let tracked = self.report(&seen);
        self.tracks.retain(|track| track.unseen <= self.settings.max_age);
        tracked
    }

    /// Moves all tracks one frame on. Those whose area has become negative end.
    fn predict(&mut self) {
        let predicted = &mut self.scratch.predicted;
        predicted.clear();
        self.tracks.retain_mut(|track| {
            track.predict();
            let xyxy = track.xyxy();
            let is_box = xyxy.iter().all(|side| side.is_finite());
            is_box.then(|| predicted.push(xyxy)).is_some()
        });
    }

    /// Puts the pairs of detections and tracks into `pairs`; returns the detections that are left, in the order in which they get ids.
    fn associate(&mut self, boxes: &[(usize, [f64; 4])]) -> Vec<usize> {
        let Scratch { assignment, predicted, overlaps, pairs } = &mut self.scratch;
        pairs.clear();
        let (rows, columns) = (boxes.len(), predicted.len());
        if rows == 0 || columns == 0 {
            return (0..rows).collect();
        }
        overlaps.clear();
        overlaps.extend(boxes.iter().flat_map(|(_, own)| predicted.iter().map(|other| iou(own, other))));
        let least = self.settings.iou_threshold;
        let is_over = |row: usize, column: usize| overlaps[row * columns + column] > least;
        let most_of_a_row =
            (0..rows).map(|row| (0..columns).filter(|column| is_over(row, *column)).count()).max();
        let most_of_a_column =
            (0..columns).map(|column| (0..rows).filter(|row| is_over(*row, column)).count()).max();
        let mut assigned = vec![None; rows];
        // Where every overlap is without rival there is nothing to choose.
        if (most_of_a_row, most_of_a_column) == (Some(1), Some(1)) {
            for (row, column) in assigned.iter_mut().enumerate() {
                *column = (0..columns).find(|column| is_over(row, *column));
            }
        } else {
            let cost = |row: usize, column: usize| -overlaps[row * columns + column];
            for (row, column) in assignment.solve(rows, columns, None, cost) {
                assigned[row] = column;
            }
        }
        let mut left: Vec<usize> = (0..rows).filter(|row| assigned[*row].is_none()).collect();
        for (row, column) in assigned.into_iter().enumerate() {
            match column {
                Some(column) if overlaps[row * columns + column] < least => left.push(row),
                Some(column) => pairs.push((row, column)),
                None => {}
            }
        }
        left
    }

    /// The tracks that have a detection in this frame and are old enough to be told of, the newest first.
    fn report(&self, seen: &[Option<usize>]) -> Vec<Tracked> {
        let is_told =
            |track: &Track| track.streak >= self.settings.min_hits || self.frame <= self.settings.min_hits;
        let told = self.tracks.iter().zip(seen).rev().filter(|(track, _)| is_told(track));
        told.filter_map(|(track, seen)| {
            seen.map(|detection| Tracked {
                detection,
                id: track.id,
                xyxy: track.xyxy().map(|side| side as f32),
            })
        })
        .collect()
    }
}

impl Track {
    fn begin(id: u64, xyxy: [f64; 4]) -> Self {
        let [x, y, area, ratio] = measurement(xyxy);
        Self {
            id,
            x: Coordinate::at(x, INITIAL),
            y: Coordinate::at(y, INITIAL),
            area: Coordinate::at(area, INITIAL),
            ratio: Coordinate::at(ratio, RATIO_INITIAL),
            unseen: 0,
            streak: 0,
        }
    }

    fn predict(&mut self) {
        if self.area.velocity + self.area.position <= 0.0 {
            self.area.velocity = 0.0;
        }
        self.x.predict(MOTION);
        self.y.predict(MOTION);
        self.area.predict(AREA_MOTION);
        self.ratio.predict(RATIO_MOTION);
        if self.unseen > 0 {
            self.streak = 0;
        }
        self.unseen += 1;
    }

    fn correct(&mut self, xyxy: [f64; 4]) {
        let [x, y, area, ratio] = measurement(xyxy);
        self.x.correct_in_josephs_form(x, CENTRE_NOISE);
        self.y.correct_in_josephs_form(y, CENTRE_NOISE);
        self.area.correct_in_josephs_form(area, SHAPE_NOISE);
        self.ratio.correct_in_josephs_form(ratio, SHAPE_NOISE);
        self.unseen = 0;
        self.streak += 1;
    }

    fn xyxy(&self) -> [f64; 4] {
        let width = (self.area.position * self.ratio.position).sqrt();
        let height = self.area.position / width;
        let (x, y) = (self.x.position, self.y.position);
        [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
    }
}

/// Centre, area and aspect ratio of a box.
fn measurement([x1, y1, x2, y2]: [f64; 4]) -> [f64; 4] {
    let (width, height) = (x2 - x1, y2 - y1);
    [x1 + width / 2.0, y1 + height / 2.0, width * height, width / height]
}

fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let both = width * height;
    both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
}
