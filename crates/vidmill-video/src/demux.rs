//! A file's video packets, in decoding order, and what was lost on the way to them.

use std::borrow::Cow;

use crate::ffi::{ContainerFacts, FfmpegError, IndexEntry, Input, Options, Packet, StreamFacts};
use crate::{Damage, Error, ffi};

/// Largest width or height that is decoded.
pub(crate) const MAX_SIDE: u32 = 32768;

/// Read errors in a row after which a file is taken to be over.
const MAX_READ_ERRORS: u32 = 256;

/// A file may end this much before its declared duration without being called truncated: seconds, and parts of it.
const DURATION_SLACK: (f64, f64) = (0.5, 0.01);

/// An open file, narrowed down to its main video stream.
pub(crate) struct Demuxer {
    input: Input,
    pub container: ContainerFacts,
    pub stream: StreamFacts,
    pub is_image: bool,
    is_path: bool,
    packets: u64,
    /// Packets that the index lists before the place where reading began.
    passed: u64,
    /// Where the last packet in time ends, in the stream's time base.
    end: Option<i64>,
    previous_dts: Option<i64>,
    longest_gap: i64,
    last_corrupt: bool,
    errors_in_a_row: u32,
    last_error: Option<FfmpegError>,
}

impl Demuxer {
    pub fn open(path: &str, max_pixels: u64) -> Result<Self, Error> {
        ffi::route_log();
        let mut options = Options::new();
        // A file called 100%.png is that file, and no pattern.
        let internal = |cause| Error::Internal { path: path.to_owned(), what: "options", cause };
        options.set("pattern_type", "none").map_err(internal)?;
        let mut input =
            Input::open(&url(path), &mut options).map_err(|cause| open_error(path.to_owned(), cause))?;
        input
            .find_stream_info(max_pixels)
            .map_err(|cause| Error::NotMedia { path: path.to_owned(), cause })?;
        let container = input.container();
        let stream =
            input.best_video().and_then(|index| input.stream_facts(index)).ok_or_else(|| Error::NoVideo {
                path: path.to_owned(),
                format: container.format.clone(),
                streams: container.streams,
            })?;
        check_size(path, &stream, max_pixels)?;
        input.only(stream.index);
        let is_image = is_image_format(&container.format) && !is_motion_jpeg(path);
        Ok(Self {
            input,
            container,
            stream,
            is_image,
            is_path: path != "-" && !path.contains("://"),
            packets: 0,
            passed: 0,
            end: None,
            previous_dts: None,
            longest_gap: 0,
            last_corrupt: false,
            errors_in_a_row: 0,
            last_error: None,
        })
    }

    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Whether opening it again gives the same once more.
    pub fn can_start_over(&self) -> bool {
        self.is_path && self.container.seekable
    }

    /// Packets read so far.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Goes to the key frame at or before `timestamp`. What is told of the file from there on is as if it had been read
    /// from its beginning, but for the packets in between.
    pub fn seek(&mut self, timestamp: i64) -> Result<(), FfmpegError> {
        self.input.seek(self.stream.index, timestamp)?;
        self.packets = 0;
        self.passed = 0;
        (self.end, self.previous_dts, self.longest_gap) = (None, None, 0);
        (self.last_corrupt, self.errors_in_a_row, self.last_error) = (false, 0, None);
        Ok(())
    }

    /// Reading goes on at the byte `position`: the packets that the index lists before it are passed over.
    pub fn pass(&mut self, position: i64) {
        self.passed = self.index().filter(|entry| entry.position < position).count() as u64;
    }

    /// Whether the index, as far as it is known by now, goes through the file once, from front to back: then a time in it
    /// leads to one place.
    pub fn index_is_orderly(&self) -> bool {
        let mut last = None;
        let in_order = self.index().all(|entry| {
            let now = (entry.position, entry.timestamp);
            let before = last.replace(now).unwrap_or(now);
            before.0 <= now.0 && before.1 <= now.1
        });
        in_order && last.is_some()
    }

    fn index(&self) -> impl Iterator<Item = IndexEntry> {
        let stream = self.stream.index;
        (0..self.input.index_entries(stream)).filter_map(move |number| self.input.index_entry(stream, number))
    }

    /// Reads the next packet; `false` at the end. Goes on after read errors, and writes down what was lost.
    pub fn read(&mut self, packet: &mut Packet, damage: &mut Damage) -> bool {
        loop {
            match self.input.read(packet) {
                Ok(()) if packet.stream() == self.stream.index => {
                    self.note(packet, damage);
                    return true;
                }
                Ok(()) => {}
                Err(FfmpegError::EOF) => {
                    self.finish(damage);
                    return false;
                }
                Err(error) => {
                    damage.read_errors += 1;
                    self.errors_in_a_row += 1;
                    self.last_error = Some(error);
                    if self.errors_in_a_row >= MAX_READ_ERRORS {
                        self.finish(damage);
                        return false;
                    }
                }
            }
        }
    }

    fn note(&mut self, packet: &Packet, damage: &mut Damage) {
        self.packets += 1;
        self.errors_in_a_row = 0;
        self.last_error = None;
        self.last_corrupt = packet.is_corrupt();
        damage.corrupt_packets += u64::from(self.last_corrupt);
        if let Some(time) = packet.pts().or(packet.dts()) {
            let end = time.saturating_add(packet.duration().max(0));
            self.end = Some(self.end.map_or(end, |last| last.max(end)));
        }
        if let (Some(previous), Some(dts)) = (self.previous_dts, packet.dts()) {
            self.longest_gap = self.longest_gap.max(dts.saturating_sub(previous));
        }
        self.previous_dts = packet.dts();
    }

    /// At the end: was it where the file itself says the end is?
    fn finish(&self, damage: &mut Damage) {
        if self.is_image || damage.truncated.is_some() {
            return;
        }
        damage.truncated = self
            .ended_by_error()
            .or_else(|| self.short_of_index())
            .or_else(|| self.short_of_duration())
            .or_else(|| {
                let text = || format!("the last packet, {}, is incomplete", self.packets.saturating_sub(1));
                self.last_corrupt.then(text)
            });
    }

    fn ended_by_error(&self) -> Option<String> {
        let error = self.last_error?;
        Some(format!("reading ended after packet {} with an error: {error}", self.packets))
    }

    /// MP4 and MOV list every packet in advance (or fragment by fragment).
    fn short_of_index(&self) -> Option<String> {
        let listed = self.input.index_entries(self.stream.index);
        let complete_index = self.container.format.contains("mov");
        let packets = self.passed + self.packets;
        (complete_index && packets < listed)
            .then(|| format!("{packets} of the {listed} packets in the index can be read"))
    }

    fn short_of_duration(&self) -> Option<String> {
        let (num, den) = self.stream.time_base;
        if num <= 0 || den <= 0 {
            return None;
        }
        let seconds = |ticks: i64| ticks as f64 * f64::from(num) / f64::from(den);
        // The container's duration is that of its longest stream, so it counts only where there is but one.
        let declared = match (self.stream.duration, self.container.duration_us) {
            (Some(ticks), _) => seconds(ticks),
            (None, Some(us)) if self.container.streams == 1 => us as f64 / 1e6,
            _ => return None,
        };
        let found = seconds(self.end?.saturating_sub(self.stream.start.unwrap_or(0)));
        // The last packet may not say how long it lasts, and nothing forbids it to last as long as any before it.
        let slack = DURATION_SLACK
            .0
            .max(declared * DURATION_SLACK.1)
            .max(seconds(self.longest_gap.saturating_add(1)));
        (found + slack < declared)
            .then(|| format!("packets end at {found:.3} s of the declared {declared:.3} s"))
    }
}

/// FFmpeg reads a scheme out of anything before a colon; a path is a path.
fn url(path: &str) -> Cow<'_, str> {
    match path {
        "-" => "pipe:0".into(),
        _ if path.contains("://") => path.into(),
        _ => format!("file:{path}").into(),
    }
}

fn open_error(path: String, cause: FfmpegError) -> Error {
    match cause {
        FfmpegError::NOT_FOUND => Error::NotFound { path },
        FfmpegError::INVALID_DATA | FfmpegError::EOF => Error::NotMedia { path, cause },
        _ => Error::Open { path, cause },
    }
}

fn check_size(path: &str, stream: &StreamFacts, max_pixels: u64) -> Result<(), Error> {
    let (width, height) =
        (u32::try_from(stream.width).unwrap_or(0), u32::try_from(stream.height).unwrap_or(0));
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > max_pixels {
        return Err(Error::TooLarge { path: path.to_owned(), width, height, max_side: MAX_SIDE, max_pixels });
    }
    Ok(())
}

/// FFmpeg's demuxers for single images: image2 (by file name) and those that look at the content.
fn is_image_format(format: &str) -> bool {
    format == "image2" || format.ends_with("_pipe")
}

/// JPEG after JPEG in one file, which looks like one JPEG.
fn is_motion_jpeg(path: &str) -> bool {
    let ending = std::path::Path::new(path).extension();
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case("mjpeg") || ending.eq_ignore_ascii_case("mjpg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_never_taken_for_protocols() {
        assert_eq!(url("concat:a|b"), "file:concat:a|b");
        assert_eq!(url("C:clip.mp4"), "file:C:clip.mp4");
        assert_eq!(url("rtsp://camera/1"), "rtsp://camera/1");
        assert_eq!(url("-"), "pipe:0");
    }

    #[test]
    fn image_formats() {
        assert!(is_image_format("png_pipe") && is_image_format("image2"));
        assert!(!is_image_format("mov,mp4,m4a,3gp,3g2,mj2") && !is_image_format("gif"));
    }
}
