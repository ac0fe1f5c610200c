//! COCO results: `[{"image_id": 7, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}, ...]`, as
//! pycocotools' `loadRes` reads them. The format has a place for detections only: frames without any, and frames that
//! failed or were dropped, leave no trace in it (the other formats and the manifest have them). A model that gives no detections at
//! all is refused; what a result has beside them is left out, with one warning.
//!
//! - `image_id` is the frame number; for a picture whose file name is a number (`000000000139.jpg`, as in COCO itself),
//!   that number. It must be unique in the file, so a file takes one video, or any number of pictures.
//! - `category_id` is COCO's own (1 to 90, with gaps) where the model's class names are the 80 of COCO, in their order;
//!   otherwise it is the model's class number.
//! - `segmentation` is the mask, run-length encoded; of an oriented box it is the polygon of its corners.
//! - `keypoints` are x, y, confidence of each, end to end; the confidence is 1 where the model gives none.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use vidmill_image::Mask;

use super::categories::CategoryIds;
use super::output::Output;
use super::{Sink, SinkError, check_finite};
use crate::record::{Detection, Found, Outcome, Record};

const HEAD: &str = "[";
const TAIL: &str = "\n]\n";

/// A file without results.
pub(crate) const EMPTY: &str = "[\n]\n";

/// Writes one JSON array, valid after every flush.
#[derive(Debug)]
pub struct CocoSink {
    output: Output,
    categories: CategoryIds,
    images: Option<Images>,
    /// What stands between the last entry and the next.
    separator: &'static [u8],
    /// Whether it was told that something is left out.
    told: bool,
}

impl CocoSink {
    /// To a file, which must be able to seek. `class_names` in the order of the model's class numbers.
    pub fn create(path: &Path, class_names: &[impl AsRef<str>]) -> Result<Self, SinkError> {
        let output = Output::create(path, HEAD, TAIL)?;
        Ok(Self::new(output, class_names, b"\n"))
    }

    /// To a file that holds results of a video already, of which the first `bytes` bytes are kept.
    pub fn go_on(path: &Path, class_names: &[impl AsRef<str>], bytes: u64) -> Result<Self, SinkError> {
        let output = Output::go_on(path, bytes, TAIL)?;
        let separator: &[u8] = if bytes > HEAD.len() as u64 { b",\n" } else { b"\n" };
        Ok(Self::new(output, class_names, separator))
    }

    fn new(output: Output, class_names: &[impl AsRef<str>], separator: &'static [u8]) -> Self {
        Self { output, categories: CategoryIds::of(class_names), images: None, separator, told: false }
    }

    /// Refuses a result that would leave no trace, and tells once of one that leaves not all.
    fn check_place(&mut self, record: &Record, found: &Found) -> Result<(), SinkError> {
        let without = left_out(found);
        if found.detections.is_none() {
            return Err(SinkError::NoPlace {
                path: self.output.name().to_owned(),
                origin: record.source.to_string(),
                frame: record.frame,
                found: without.join(", "),
            });
        }
        if !without.is_empty() && !std::mem::replace(&mut self.told, true) {
            let (path, without) = (self.output.name(), without.join(", "));
            tracing::warn!("{path} is without {without}: COCO results have no place for them");
        }
        Ok(())
    }

    /// The record's `image_id`, or an error when another frame has it.
    fn image_id(&mut self, record: &Record) -> Result<u64, SinkError> {
        let id = image_id(record);
        let images = self.images.get_or_insert_with(|| Images::of(record));
        if images.take(id, record) { Ok(id) } else { Err(images.taken(id, record, self.output.name())) }
    }

    fn result<'a>(
        &self,
        image_id: u64,
        record: &Record,
        detection: &'a Detection,
    ) -> Result<CocoResult<'a>, SinkError> {
        let [x1, y1, x2, y2] = detection.xyxy;
        let bbox = [x1, y1, x2 - x1, y2 - y1];
        if let Some(&side) = bbox.iter().find(|side| !side.is_finite()) {
            return Err(SinkError::NonFinite {
                path: self.output.name().to_owned(),
                origin: record.source.to_string(),
                frame: record.frame,
                field: "bbox",
                value: side.into(),
            });
        }
        let mask = detection.mask.as_ref().map(Segmentation::Mask);
        let corners =
            || detection.corners.as_ref().map(|corners| Segmentation::Polygons([corners.as_flattened()]));
        let flat = |point: &crate::record::Keypoint| {
            let [x, y] = point.xy();
            [x, y, point.confidence().unwrap_or(1.0)]
        };
        Ok(CocoResult {
            image_id,
            category_id: self.categories.of_class(detection.class_id),
            bbox,
            score: detection.confidence,
            segmentation: mask.or_else(corners),
            track_id: detection.track_id,
            keypoints: detection.keypoints.as_ref().map(|all| all.iter().flat_map(flat).collect()),
        })
    }
}

/// The keys of a result that the format has no place for.
fn left_out(found: &Found) -> Vec<&'static str> {
    let all = found.detections();
    let any = |has: fn(&Detection) -> bool| all.iter().any(has);
    let keys = [
        ("classes", found.classes.is_some() || any(|d| d.classes.is_some())),
        ("masks", found.masks.is_some() || any(|d| d.masks.is_some())),
        ("text", found.text.is_some() || any(|d| d.text.is_some())),
        ("embedding", found.embedding.is_some() || any(|d| d.embedding.is_some())),
        ("detections of detections", any(|d| d.detections.is_some())),
        ("outputs", found.outputs.is_some() || any(|d| d.outputs.is_some())),
    ];
    keys.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key).collect()
}

impl Sink for CocoSink {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        check_finite(record, self.output.name())?;
        let image_id = self.image_id(record)?;
        let Outcome::Ok(found) = &record.outcome else { return Ok(()) };
        self.check_place(record, found)?;
        let results: Vec<_> = found
            .detections()
            .iter()
            .map(|detection| self.result(image_id, record, detection))
            .collect::<Result<_, _>>()?;
        let separator = &mut self.separator;
        self.output.append(|entries| {
            for result in &results {
                entries.extend_from_slice(std::mem::replace(separator, b",\n"));
                serde_json::to_writer(&mut *entries, result)?;
            }
            Ok(())
        })
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.output.flush()
    }

    fn position(&self) -> Option<u64> {
        self.output.position()
    }

    fn finish(self: Box<Self>) -> Result<(), SinkError> {
        self.output.finish()
    }
}

/// <https://cocodataset.org/#format-results>
#[derive(Debug, Serialize)]
struct CocoResult<'a> {
    image_id: u64,
    category_id: u32,
    bbox: [f32; 4],
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation: Option<Segmentation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keypoints: Option<Vec<f32>>,
    /// Not COCO's own, but that of the sets of videos in its format (TAO); pycocotools leaves it in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    track_id: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Segmentation<'a> {
    Mask(&'a Mask),
    /// Each x, y, x, y, ...
    Polygons([&'a [f32]; 1]),
}

/// What the file holds, for telling whether another frame's `image_id` is free.
#[derive(Debug)]
enum Images {
    /// Its frames come in rising order.
    Video(Arc<str>),
    /// Their numbers: as many as there are files in the listing, which is in memory already.
    Pictures(HashSet<u64>),
}

impl Images {
    fn of(first: &Record) -> Self {
        match is_picture(first) {
            true => Self::Pictures(HashSet::new()),
            false => Self::Video(first.source.clone()),
        }
    }

    /// Whether the record's `image_id` was free; it is taken from now on.
    fn take(&mut self, id: u64, record: &Record) -> bool {
        match self {
            Self::Video(source) => *source == record.source,
            Self::Pictures(ids) => is_picture(record) && ids.insert(id),
        }
    }

    fn taken(&self, id: u64, record: &Record, path: &str) -> SinkError {
        let first = match self {
            Self::Video(source) => source.to_string(),
            Self::Pictures(_) => "another picture of that number".to_owned(),
        };
        let second = record.source.to_string();
        SinkError::ImageIdTaken { path: path.to_owned(), image_id: id, first, second }
    }
}

fn image_id(record: &Record) -> u64 {
    let stem = Path::new(&*record.source).file_stem().and_then(|stem| stem.to_str());
    stem.filter(|_| is_picture(record))
        .filter(|stem| stem.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|stem| stem.parse().ok())
        .unwrap_or(record.frame)
}

/// Pictures have no time, and a picture's ending.
fn is_picture(record: &Record) -> bool {
    let ending = Path::new(&*record.source).extension().and_then(|ending| ending.to_str());
    record.time.is_none()
        && ending.is_some_and(|ending| crate::source::IMAGES.iter().any(|it| it.eq_ignore_ascii_case(ending)))
}
