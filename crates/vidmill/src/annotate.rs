//! Annotated video: the frames that were sampled, with what was found drawn on them, at their own timestamps.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vidmill_image::draw::{Annotation, Painter, PanelLine, class_color, track_color};
use vidmill_image::{ColorMatrix, ColorRange, ColorSpec, Picture, Rect, Size};
use vidmill_video::{EncodeOptions, Encoder, Frame, Rational, Timestamp};

use crate::record::{Detection, Outcome, Record};
use crate::sink::SinkError;

/// Draws the frames of one source and writes them.
pub(crate) struct Annotator {
    target: Target,
    picture: Picture,
    painter: Painter,
    /// Keypoints that are joined by lines.
    bones: Arc<[[usize; 2]]>,
}

enum Target {
    /// One video; opened with the first frame, whose size it takes.
    Video { path: PathBuf, rate: Option<Rational>, track: Option<Box<Track>> },
    /// One picture a frame, in this folder, under the image's own name.
    Folder(PathBuf),
    /// One picture.
    Image(PathBuf),
}

/// A video being written.
struct Track {
    encoder: Encoder,
    last_pts: i64,
    /// Whether the user knows that timestamps do not rise.
    told: bool,
}

impl Annotator {
    /// A video at `path`; `rate` is the source's declared frame rate, which decides only where frames have no timestamps.
    ///
    /// # Errors
    /// When the file cannot be created: that is to be known before the first frame, and an old video must not pass for this.
    pub fn video(path: PathBuf, rate: Option<Rational>) -> Result<Self, SinkError> {
        std::fs::File::create(&path).map_err(|error| SinkError::of(path.display().to_string(), error))?;
        Ok(Self::new(Target::Video { path, rate, track: None }))
    }

    /// Pictures in `folder`.
    pub fn folder(folder: PathBuf) -> Self {
        Self::new(Target::Folder(folder))
    }

    /// One picture at `path`.
    pub fn image(path: PathBuf) -> Self {
        Self::new(Target::Image(path))
    }

    /// With lines drawn between these pairs of a detection's keypoints.
    pub fn with_bones(self, bones: Arc<[[usize; 2]]>) -> Self {
        Self { bones, ..self }
    }

    fn new(target: Target) -> Self {
        let color = ColorSpec::new(ColorMatrix::Bt601, ColorRange::Limited);
        // Takes each frame's own size and colour before anything is drawn.
        let picture = Picture::new(Size::new(2, 2), color);
        Self { target, picture, painter: Painter::new(), bones: Arc::default() }
    }

    /// Draws `record` on `frame` and writes it.
    pub fn write(&mut self, record: &Record, frame: &Frame) -> Result<(), vidmill_video::Error> {
        frame.to_picture(&mut self.picture);
        draw(&mut self.painter, &mut self.picture, &self.bones, &record.outcome);
        match &mut self.target {
            Target::Image(path) => vidmill_video::write_image(&path.to_string_lossy(), &self.picture),
            Target::Folder(folder) => {
                let path = picture_path(folder, Path::new(record.source.as_ref()));
                vidmill_video::write_image(&path.to_string_lossy(), &self.picture)
            }
            Target::Video { path, rate, track } => {
                let timestamp = frame.timestamp();
                match track {
                    Some(track) => track.write(&self.picture, timestamp.map(|t| t.pts)),
                    None => {
                        let first = timestamp.unwrap_or_else(|| counted(record.frame, *rate));
                        let new = Track::begin(path, &self.picture, first, *rate)?;
                        track.insert(Box::new(new)).write(&self.picture, Some(first.pts))
                    }
                }
            }
        }
    }

    /// Closes the video validly.
    pub fn finish(self) -> Result<(), vidmill_video::Error> {
        match self.target {
            Target::Video { track: Some(track), .. } => track.encoder.finish(),
            Target::Video { path, track: None, .. } => {
                // Without a frame there is no video; the empty file that held its place is of no use to anyone.
                let _ =
                    std::fs::metadata(&path).is_ok_and(|m| m.is_file()).then(|| std::fs::remove_file(&path));
                Ok(())
            }
            Target::Folder(_) | Target::Image(_) => Ok(()),
        }
    }
}

impl Track {
    fn begin(
        path: &Path,
        picture: &Picture,
        first: Timestamp,
        rate: Option<Rational>,
    ) -> Result<Self, vidmill_video::Error> {
        let options = EncodeOptions {
            frame_rate: rate,
            ..EncodeOptions::new(picture.size(), first.time_base, picture.color())
        };
        let encoder = Encoder::create(&path.to_string_lossy(), &options)?;
        Ok(Self { encoder, last_pts: first.pts.saturating_sub(1), told: false })
    }

    /// Damaged files repeat timestamps, go back, or leave them out; a video cannot. Such a frame is shown right after the
    /// one before it.
    fn write(&mut self, picture: &Picture, pts: Option<i64>) -> Result<(), vidmill_video::Error> {
        let next = self.last_pts.saturating_add(1);
        if pts.is_some_and(|pts| pts < next) && !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                ?pts,
                next,
                "timestamps do not rise; such frames are shown right after the one before"
            );
        }
        self.last_pts = pts.map_or(next, |pts| pts.max(next));
        self.encoder.write(picture, self.last_pts)
    }
}

/// The timestamp of a frame whose container gives none: its index at the declared rate, 25 a second if there is none.
fn counted(frame: u64, rate: Option<Rational>) -> Timestamp {
    let rate = rate.unwrap_or(Rational { num: 25, den: 1 });
    let time_base = Rational { num: rate.den, den: rate.num };
    Timestamp { pts: i64::try_from(frame).unwrap_or(i64::MAX), time_base }
}

/// The path of an annotated picture: under the image's own name, with an ending that can be written.
pub(crate) fn picture_path(folder: &Path, image: &Path) -> PathBuf {
    let is_written =
        |ending: &std::ffi::OsStr| ["jpg", "jpeg", "png"].iter().any(|e| ending.eq_ignore_ascii_case(e));
    let mut name = image.file_name().unwrap_or(image.as_os_str()).to_owned();
    if !image.extension().is_some_and(is_written) {
        name.push(".png");
    }
    folder.join(name)
}

/// Draws what became of a frame: what it is as a whole at the top left, its regions, and its objects over them.
fn draw(painter: &mut Painter, picture: &mut Picture, bones: &[[usize; 2]], outcome: &Outcome) {
    let found = match outcome {
        Outcome::Failed { error, .. } => return painter.banner(picture, &format!("failed: {error}")),
        Outcome::Dropped { reason } => return painter.banner(picture, &format!("dropped: {reason}")),
        Outcome::Ok(found) => found,
    };
    let regions = found.masks.as_deref().unwrap_or_default();
    let masks: Vec<_> = regions.iter().map(|r| (&r.mask, class_color(r.class_id))).collect();
    painter.regions(picture, &masks);
    let objects: Vec<Object<'_>> = found.detections().iter().flat_map(|d| Object::all_of(d, bones)).collect();
    let annotations: Vec<Annotation<'_>> = objects.iter().map(Object::annotation).collect();
    painter.annotate(picture, &annotations);
    let (classes, text) = (found.classes.as_deref().unwrap_or_default(), found.text.as_deref());
    let classes =
        classes.iter().map(|c| (format!("{} {:.2}", c.class, c.confidence), Some(c.confidence), c.class_id));
    let legend = regions.iter().map(|r| (r.class.to_string(), None, r.class_id));
    let text = text.map(|text| (text.to_owned(), found.text_confidence, 0));
    let lines: Vec<_> = classes.chain(legend).chain(text).collect();
    let lines: Vec<PanelLine<'_>> = lines
        .iter()
        .map(|(text, share, class_id)| PanelLine { text, share: *share, color: class_color(*class_id) })
        .collect();
    if !lines.is_empty() {
        painter.panel(picture, &lines);
    }
}

/// A detection with what is written beside it.
struct Object<'a> {
    detection: &'a Detection,
    text: String,
    keypoints: Vec<[f32; 3]>,
    bones: &'a [[usize; 2]],
}

impl<'a> Object<'a> {
    /// A detection, and all that were found within it, whose skeletons nobody knows.
    fn all_of(detection: &'a Detection, bones: &'a [[usize; 2]]) -> Vec<Self> {
        let keypoints = detection.keypoints.as_deref().unwrap_or_default().iter();
        // Where no confidence is given, there is no doubt.
        let keypoints = keypoints.map(|point| {
            let [x, y] = point.xy();
            [x, y, point.confidence().unwrap_or(1.0)]
        });
        let own = Self { detection, text: label(detection), keypoints: keypoints.collect(), bones };
        let inside = detection.detections.as_deref().unwrap_or_default().iter();
        std::iter::once(own).chain(inside.flat_map(|inner| Self::all_of(inner, &[]))).collect()
    }

    fn annotation(&self) -> Annotation<'_> {
        let Detection { xyxy: [x1, y1, x2, y2], class_id, track_id, corners, mask, .. } = self.detection;
        Annotation {
            rect: Rect { x1: *x1, y1: *y1, x2: *x2, y2: *y2 },
            color: track_id.map_or_else(|| class_color(*class_id), track_color),
            text: &self.text,
            corners: *corners,
            mask: mask.as_ref(),
            keypoints: &self.keypoints,
            bones: self.bones,
        }
    }
}

/// What a detection is called: its text where it was read, else its class with its track's number, its confidence, and the class
/// that the next model gives it.
fn label(detection: &Detection) -> String {
    if let Some(text) = &detection.text {
        return text.clone();
    }
    let track = detection.track_id.map_or_else(String::new, |id| format!(" #{id}"));
    let finer = detection.classes.iter().flatten().next();
    let finer = finer.map_or_else(String::new, |best| format!(" · {} {:.2}", best.class, best.confidence));
    format!("{}{track} {:.2}{finer}", detection.class, detection.confidence)
}
