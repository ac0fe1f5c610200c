//! Tracking: which detections of successive frames are one object. In: the detections of each frame of a source, in frame order. Out:
//! the ids of those that belong to a track.
//!
//! Two trackers, each frame by frame as its reference implementation has it, ids included:
//!
//! - [SORT](https://arxiv.org/abs/1602.00763), as its authors published it.
//! - [ByteTrack](https://arxiv.org/abs/2110.06864), as Ultralytics ships it: it takes in weak detections, too, and finds objects again.

mod assignment;
mod bytetrack;
mod following;
mod kalman;
mod settings;
mod sort;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use bytetrack::ByteTrack;
pub(crate) use following::Following;
pub use settings::{ByteTrackSettings, Settings, SettingsError, SortSettings};
use sort::Sort;

/// A detection as a tracker sees it: classes play no part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Left, top, right, bottom in pixels; finite.
    pub xyxy: [f32; 4],
    /// 0 to 1.
    pub confidence: f32,
}

/// A detection that belongs to a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tracked {
    /// Its place among the frame's detections.
    pub detection: usize,
    /// The track's id, from 1.
    pub id: u64,
    /// Where the track's filter has the object: near the detection's own box, and smoother. Left, top, right, bottom.
    pub xyxy: [f32; 4],
}

/// Follows the objects of one source. Its state can be written down, as text, and a tracker that is read back goes on exactly as this one would.
#[derive(Clone, Debug)]
pub struct Tracker(Algorithm);

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Algorithm {
    ByteTrack(ByteTrack),
    Sort(Sort),
}

impl Tracker {
    /// One that has seen nothing.
    pub fn new(settings: &Settings) -> Self {
        Self(match settings {
            Settings::ByteTrack(settings) => Algorithm::ByteTrack(ByteTrack::new(settings.clone())),
            Settings::Sort(settings) => Algorithm::Sort(Sort::new(settings.clone())),
        })
    }

    /// Takes the next frame's detections; a frame that gave none, for whatever reason, has an empty list. Detections without an area play
    /// no part.
    pub fn update(&mut self, found: &[Observation]) -> Vec<Tracked> {
        match &mut self.0 {
            Algorithm::ByteTrack(tracker) => tracker.update(found),
            Algorithm::Sort(tracker) => tracker.update(found),
        }
    }
}

/// Its bytes in hexadecimal digits: bits and all, and small.
impl Serialize for Tracker {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = postcard::to_stdvec(&self.0).map_err(serde::ser::Error::custom)?;
        let digit = |four: u8| char::from(DIGITS[usize::from(four)]);
        let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Tracker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |byte: &u8| DIGITS.iter().position(|digit| digit == byte);
        let byte = |pair: &[u8]| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        let state = bytes.and_then(|bytes| postcard::from_bytes(&bytes).ok());
        state.map(Self).ok_or_else(|| serde::de::Error::custom("the tracker's state cannot be read"))
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn has_area([x1, y1, x2, y2]: [f32; 4]) -> bool {
    x2 - x1 > 0.0 && y2 - y1 > 0.0
}

#[cfg(test)]
mod tests;
