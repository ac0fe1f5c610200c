//! Runs a tracker over detections, for comparison with other programs.
//!
//! ```text
//! track_raw bytetrack|sort|FILE.toml < frames > tracks
//! track_raw --time ...                              median microseconds of a frame
//! ```
//!
//! Little-endian. A frame: u32 count, then for each detection 5 f32 (x1, y1, x2, y2, confidence); a count of 2^32 - 1 instead begins another
//! source. What is told of a frame: u32 count, then for each track u32 detection, u32 id and 4 f32 (its box).

use std::error::Error;
use std::io::{Read, Write};
use std::time::Instant;

use vidmill::track::{Observation, Settings, Tracker};

/// Bytes of a detection.
const DETECTION: usize = 20;
/// Instead of a count, where another source begins.
const NEXT: u32 = u32::MAX;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_timed = arguments.iter().any(|argument| argument == "--time");
    let name = arguments.iter().find(|argument| !argument.starts_with("--")).ok_or("which tracker?")?;
    let settings = Settings::of(name)?;
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut tracker = Tracker::new(&settings);
    let mut times = Vec::new();
    let mut rest = &input[..];
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(4).ok_or("a frame is cut off")?;
        rest = after;
        let count = u32::from_le_bytes(word(head, 0));
        if count == NEXT {
            tracker = Tracker::new(&settings);
            continue;
        }
        let (detections, after) =
            rest.split_at_checked(count as usize * DETECTION).ok_or("a frame is cut off")?;
        rest = after;
        let found: Vec<_> = detections.chunks_exact(DETECTION).map(observation).collect();
        let begin = Instant::now();
        let tracks = tracker.update(&found);
        times.push(begin.elapsed().as_secs_f64() * 1e6);
        if is_timed {
            continue;
        }
        out.write_all(&u32::try_from(tracks.len())?.to_le_bytes())?;
        for track in tracks {
            out.write_all(&u32::try_from(track.detection)?.to_le_bytes())?;
            out.write_all(&u32::try_from(track.id)?.to_le_bytes())?;
            for side in track.xyxy {
                out.write_all(&side.to_le_bytes())?;
            }
        }
    }
    if is_timed {
        times.sort_by(f64::total_cmp);
        writeln!(out, "{:.1}", times.get(times.len() / 2).ok_or("no frames")?)?;
    }
    Ok(out.flush()?)
}

fn observation(bytes: &[u8]) -> Observation {
    let number = |place| f32::from_le_bytes(word(bytes, place));
    Observation { xyxy: [0, 1, 2, 3].map(number), confidence: number(4) }
}

fn word(bytes: &[u8], place: usize) -> [u8; 4] {
    [0, 1, 2, 3].map(|byte| bytes[4 * place + byte])
}
