//! Clips made by the `ffmpeg` command, and what it says of them.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use md5::{Digest, Md5};
use vidmill_image::{Layout, Planes};
use vidmill_video::{Damage, DecodeOptions, Decoder, Step};

/// A directory that is removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vidmill-video-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, file: &str) -> String {
        self.0.join(file).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a command line (split at spaces; `{}` becomes the path) and returns its standard output.
fn run(program: &str, line: &str, path: &str) -> String {
    let arguments = line.split_whitespace().map(|word| word.replace("{}", path));
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| {
        panic!("{program}: {e}: install FFmpeg's command line tools (apt install ffmpeg)")
    });
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {line}\n{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// `ffmpeg` with this command line.
pub fn ffmpeg(line: &str, path: &str) {
    run("ffmpeg", &format!("-nostdin -v error -y {line}"), path);
}

/// Makes a clip from a moving test picture: `size` as WxH, `options` before the output.
pub fn testsrc(path: &str, size: &str, frames: u32, options: &str) {
    // testsrc2 moves more, but makes even sizes only.
    let odd = size.split('x').any(|side| side.parse::<u32>().unwrap() % 2 == 1);
    let filter = if odd { "testsrc" } else { "testsrc2" };
    let source = format!("-f lavfi -i {filter}=size={size}:rate=25 -frames:v {frames}");
    ffmpeg(&format!("{source} {options} {{}}"), path);
}

/// Timestamps of all frames as `ffprobe` sees them.
pub fn probe_pts(path: &str) -> Vec<Option<i64>> {
    let entries = "-show_entries frame=best_effort_timestamp -of csv=p=0";
    run("ffprobe", &format!("-v error -select_streams v:0 {entries} {{}}"), path)
        .lines()
        .map(|line| line.trim_matches(','))
        .filter(|line| !line.is_empty())
        .map(|line| line.parse().ok())
        .collect()
}

/// MD5 of every frame as `ffmpeg` decodes it, after `filter` options (such as `-pix_fmt rgb24`).
pub fn frame_md5(path: &str, filter: &str) -> Vec<String> {
    let passthrough = "-map 0:v:0 -fps_mode passthrough";
    run(
        "ffmpeg",
        &format!("-nostdin -v error -noautorotate -i {{}} {passthrough} {filter} -f framemd5 -"),
        path,
    )
    .lines()
    .filter(|line| !line.starts_with('#'))
    .map(|line| line.rsplit(',').next().unwrap().trim().to_owned())
    .collect()
}

/// A decoded frame, boiled down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub index: u64,
    pub pts: Option<i64>,
    /// `None` for a frame that was skipped.
    pub md5: Option<String>,
}

/// Decodes every `every`th frame on `threads` threads, and nothing else that can be left out.
pub fn decode(path: &str, every: u64, threads: usize) -> (Vec<Seen>, Damage) {
    decode_with(path, &DecodeOptions { threads, ..DecodeOptions::default() }, |index| {
        index.is_multiple_of(every)
    })
}

/// Decodes the frames that `want` picks, and checks on the way that it is asked once for each frame, in order.
pub fn decode_with(path: &str, options: &DecodeOptions, want: impl Fn(u64) -> bool) -> (Vec<Seen>, Damage) {
    let mut decoder = Decoder::open(path, options).unwrap();
    let mut asked = Vec::new();
    let mut seen = Vec::new();
    loop {
        let step = decoder.next(&mut |head| {
            asked.push(head);
            want(head.index)
        });
        let (head, md5) = match step.unwrap() {
            Step::Frame(frame) => (frame.head(), Some(planes_md5(&frame.planes()))),
            Step::Skipped(head) => (head, None),
            Step::End => break,
        };
        assert_eq!(md5.is_some(), want(head.index), "frame {}", head.index);
        assert_eq!(head, asked[seen.len()], "asked about one frame, gave another");
        seen.push(Seen { index: head.index, pts: head.timestamp.map(|t| t.pts), md5 });
    }
    assert_eq!(asked.len(), seen.len(), "want() is asked once for each frame");
    assert!(matches!(decoder.next(&mut |_| true).unwrap(), Step::End), "the end stays the end");
    (seen, decoder.damage().clone())
}

/// As ffmpeg's framemd5: rows without padding, planes in FFmpeg's order.
pub fn planes_md5(planes: &Planes<'_>) -> String {
    planes.validate().unwrap();
    let order = if planes.format.layout == Layout::RgbPlanar { [1, 2, 0] } else { [0, 1, 2] };
    let mut hasher = Md5::new();
    for plane in order.into_iter().filter(|&plane| plane < planes.format.plane_count()) {
        let (rows, row_bytes) = planes.format.plane_shape(plane, planes.size);
        for row in planes.data[plane].chunks(planes.stride[plane]).take(rows) {
            hasher.update(&row[..row_bytes]);
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A small generator of pseudo-random numbers (SplitMix64), so that runs repeat.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

pub fn exists(path: &str) -> bool {
    Path::new(path).exists()
}
