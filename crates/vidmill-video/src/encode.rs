//! Pictures to an H.264 file.

use vidmill_image::{ColorSpec, Picture, Size};

use crate::ffi::{self, EncoderSetup, FfmpegError, Options, Output, Packet, RawEncoder, RawFrame};
use crate::time::Rational;
use crate::{Error, color};

const ENCODER: &str = "libx264";

/// A fragment begins at each key frame, so these bound what a kill can lose: frames, and seconds.
const KEY_FRAMES: i32 = 60;
const KEY_SECONDS: i64 = 2;

/// How to encode.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeOptions {
    /// Size of every picture, in pixels. Odd sides are padded to even ones by repeating the last column or row.
    pub size: Size,
    /// Seconds per unit of the pts that are written: the source's own time base.
    pub time_base: Rational,
    /// What the pictures' values mean; written as tags.
    pub color: ColorSpec,
    /// A hint for players and for rate control; timing does not depend on it.
    pub frame_rate: Option<Rational>,
    /// libx264's constant rate factor, 0 (lossless) to 51.
    pub crf: u8,
    /// libx264's preset, `ultrafast` to `placebo`.
    pub preset: String,
    /// Threads of the encoder; 0 for as many as it likes.
    pub threads: usize,
}

impl EncodeOptions {
    /// The defaults for pictures of that size, time base and colour: crf 20, preset `veryfast`.
    pub fn new(size: Size, time_base: Rational, color: ColorSpec) -> Self {
        Self { size, time_base, color, frame_rate: None, crf: 20, preset: "veryfast".to_owned(), threads: 0 }
    }
}

/// Writes H.264 (libx264, 8-bit 4:2:0) into fragmented MP4.
///
/// Each fragment holds at most 60 frames or 2 seconds and is flushed when the next begins, so that a process that is
/// killed leaves a file that plays up to its last whole fragment.
///
/// Timestamps come out exactly as they go in: same integers, same time base, any spacing. Two exceptions: a time base of
/// `n/d` with `n` other than 1 is written as `1/d` with all pts multiplied by `n`, since MP4 has no others; and if the
/// first pts is negative, all are shifted by the same amount to start at 0 ([`Encoder::shift`]), since MP4 shows nothing
/// before that.
pub struct Encoder {
    path: String,
    options: EncodeOptions,
    encoder: RawEncoder,
    output: Output,
    frame: RawFrame,
    packet: Packet,
    /// What pts are counted in from the encoder on.
    time_base: (i32, i32),
    shift: Option<i64>,
    previous: Option<i64>,
    last_key: Option<i64>,
    last_duration: i64,
}

impl Encoder {
    /// Creates (or overwrites) the file at `path`.
    ///
    /// # Errors
    /// When libx264 is missing, an option makes no sense, or the file cannot be created.
    pub fn create(path: &str, options: &EncodeOptions) -> Result<Self, Error> {
        ffi::route_log();
        check_options(path, options)?;
        if !ffi::has_encoder(ENCODER) {
            return Err(Error::NoEncoder { path: path.to_owned(), encoder: ENCODER });
        }
        let setup = setup(options)?;
        let internal =
            |cause| Error::Internal { path: path.to_owned(), what: "setting up the encoder", cause };
        let encoder = RawEncoder::open(ENCODER, &setup, codec_options(options).map_err(internal)?).map_err(
            |cause| {
                let (width, height) = (options.size.width, options.size.height);
                Error::EncoderOpen { path: path.to_owned(), encoder: ENCODER, width, height, cause }
            },
        )?;
        let frame = RawFrame::with_buffer(setup.pixel_format, setup.width, setup.height).map_err(internal)?;
        let packet = Packet::new().map_err(internal)?;
        let create = |cause| Error::Create { path: path.to_owned(), cause };
        let mut output = Output::create(&format!("file:{path}"), "mp4").map_err(create)?;
        let container = container_options(options).map_err(internal)?;
        let time_base = output.start(&encoder, setup.frame_rate, container).map_err(create)?;
        Ok(Self {
            path: path.to_owned(),
            options: options.clone(),
            encoder,
            output,
            frame,
            packet,
            time_base,
            shift: None,
            previous: None,
            last_key: None,
            last_duration: nominal_duration(options),
        })
    }

    /// Writes a picture that is shown at `pts` (in the options' time base), which must come after the one before it.
    ///
    /// # Errors
    /// When the picture's size or pts do not fit, or the disk is full. After a failed write the file ends where it is.
    pub fn write(&mut self, picture: &Picture, pts: i64) -> Result<(), Error> {
        self.check_size(picture)?;
        self.check_order(pts)?;
        let shift = *self.shift.get_or_insert(pts.min(0).saturating_neg());
        let shown = pts.saturating_add(shift);
        self.frame.make_writable().map_err(|cause| self.internal(cause))?;
        self.fill(picture)?;
        self.frame.set_pts(shown.saturating_mul(i64::from(self.options.time_base.num)));
        let key = self.last_key.is_none_or(|last| self.seconds_reach(shown - last, KEY_SECONDS));
        if key {
            self.last_key = Some(shown);
        }
        self.frame.set_key(key);
        self.encoder.send(Some(&self.frame)).map_err(|cause| self.failed(cause))?;
        self.drain()
    }

    /// Writes what the encoder still holds, and the container's end.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> Result<(), Error> {
        self.encoder.send(None).map_err(|cause| self.failed(cause))?;
        self.drain()?;
        let Self { output, path, .. } = self;
        output.finish().map_err(|cause| Error::Write { path, cause })
    }

    /// What was added to every pts: 0, unless the first was negative.
    pub fn shift(&self) -> i64 {
        self.shift.unwrap_or(0)
    }

    fn drain(&mut self) -> Result<(), Error> {
        loop {
            match self.encoder.receive(&mut self.packet) {
                Ok(()) => {}
                Err(FfmpegError::AGAIN | FfmpegError::EOF) => return Ok(()),
                Err(cause) => return Err(self.failed(cause)),
            }
            // Only the last packet's counts: MP4 takes all others from the next packet.
            self.packet.set_duration(self.last_duration);
            self.packet.rescale((1, self.options.time_base.den), self.time_base);
            if let Err(cause) = self.output.write(&mut self.packet) {
                return Err(self.failed(cause));
            }
        }
    }

    fn fill(&mut self, picture: &Picture) -> Result<(), Error> {
        let planes = picture.planes();
        let (width, height) = (self.frame.width() as usize, self.frame.height() as usize);
        for plane in 0..3 {
            let (width, rows) = if plane == 0 { (width, height) } else { (width / 2, height / 2) };
            let stride = self.frame.stride(plane).unsigned_abs() as usize;
            let Some(target) = self.frame.plane_mut(plane, rows, width) else {
                return Err(self.internal(FfmpegError::INVALID_ARGUMENT));
            };
            let (source_width, source_rows) = picture.plane_size(plane);
            for (y, row) in target.chunks_mut(stride).enumerate() {
                let from = y.min(source_rows - 1) * planes.stride[plane];
                let source = &planes.data[plane][from..from + source_width];
                extend_row(source, &mut row[..width]);
            }
        }
        Ok(())
    }

    fn check_size(&self, picture: &Picture) -> Result<(), Error> {
        let (found, expected) = (picture.size(), self.options.size);
        if found == expected {
            return Ok(());
        }
        Err(Error::PictureSize {
            path: self.path.clone(),
            width: found.width,
            height: found.height,
            expected_width: expected.width,
            expected_height: expected.height,
        })
    }

    fn check_order(&mut self, pts: i64) -> Result<(), Error> {
        if let Some(previous) = self.previous {
            if pts <= previous {
                return Err(Error::PtsOrder { path: self.path.clone(), pts, previous });
            }
            if self.options.frame_rate.is_none() {
                self.last_duration = (pts - previous).saturating_mul(i64::from(self.options.time_base.num));
            }
        }
        self.previous = Some(pts);
        Ok(())
    }

    /// Whether `ticks` of the time base are at least `seconds`.
    fn seconds_reach(&self, ticks: i64, seconds: i64) -> bool {
        let Rational { num, den } = self.options.time_base;
        i128::from(ticks) * i128::from(num) >= i128::from(seconds) * i128::from(den)
    }

    fn failed(&self, cause: FfmpegError) -> Error {
        Error::Write { path: self.path.clone(), cause }
    }

    fn internal(&self, cause: FfmpegError) -> Error {
        Error::Internal { path: self.path.clone(), what: "filling a frame", cause }
    }
}

/// Copies a row and repeats its last sample to the end.
fn extend_row(source: &[u8], target: &mut [u8]) {
    let (copied, rest) = target.split_at_mut(source.len());
    copied.copy_from_slice(source);
    if let Some(last) = source.last() {
        rest.fill(*last);
    }
}

fn check_options(path: &str, options: &EncodeOptions) -> Result<(), Error> {
    let bad = |what: String| Err(Error::EncodeOptions { path: path.to_owned(), what });
    let Rational { num, den } = options.time_base;
    if num <= 0 || den <= 0 {
        return bad(format!("time base {num}/{den} is not positive"));
    }
    if options.crf > 51 {
        return bad(format!("crf {} is not in 0..=51", options.crf));
    }
    let Size { width, height } = options.size;
    if width == 0 || height == 0 || width > 16384 || height > 16384 {
        return bad(format!("H.264 pictures have sides of 1 to 16384 pixels, not {width}x{height}"));
    }
    Ok(())
}

fn setup(options: &EncodeOptions) -> Result<EncoderSetup, Error> {
    let even = |side: u32| side.next_multiple_of(2) as i32;
    let rate = options.frame_rate.and_then(|rate| Rational::positive((rate.num, rate.den)));
    Ok(EncoderSetup {
        width: even(options.size.width),
        height: even(options.size.height),
        pixel_format: ffi::by_name("yuv420p").unwrap_or(0),
        time_base: (1, options.time_base.den),
        frame_rate: rate.map_or((0, 1), |rate| (rate.num, rate.den)),
        color: color::raw(options.color),
        key_interval: KEY_FRAMES,
        global_header: true,
        quantiser: 0,
    })
}

fn codec_options(options: &EncodeOptions) -> Result<Options, FfmpegError> {
    let mut codec = Options::new();
    codec.set("crf", &options.crf.to_string())?;
    codec.set("preset", &options.preset)?;
    codec.set("threads", &options.threads.min(64).to_string())?;
    // x264's assembly for it reads memory that was never written when pictures are narrow: the same frames would give other
    // bytes each time. Files grow by some percent without it.
    codec.set("mbtree", "0")?;
    Ok(codec)
}

/// `delay_moov` writes the head with the first fragment: only then is it known by how much B-frames delay the decoding,
/// which the edit list takes back to keep pts as they are.
fn container_options(options: &EncodeOptions) -> Result<Options, FfmpegError> {
    let mut container = Options::new();
    let scale = options.time_base.den.to_string();
    container.set("movflags", "frag_keyframe+delay_moov+default_base_moof")?;
    container.set("video_track_timescale", &scale)?;
    // The edit list counts in this one.
    container.set("movie_timescale", &scale)?;
    Ok(container)
}

/// How long a frame lasts by the frame rate hint, in units of `1 / time_base.den`; 0 if unknown.
fn nominal_duration(options: &EncodeOptions) -> i64 {
    options
        .frame_rate
        .and_then(|rate| Rational::positive((rate.num, rate.den)))
        .map_or(0, |rate| i64::from(rate.den) * i64::from(options.time_base.den) / i64::from(rate.num))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_extended_by_their_last_sample() {
        let mut row = [0; 4];
        extend_row(&[1, 2, 3], &mut row);
        assert_eq!(row, [1, 2, 3, 3]);
    }
}
