//! Runs suppression on boxes, for comparison with other programs.
//!
//! ```text
//! nms_raw < cases > kept
//! nms_raw --time < cases        median microseconds of each case
//! ```
//!
//! Little-endian. A case: u32 count, f32 threshold, then for each box 5 f32 (x1, y1, x2, y2, confidence) and u32 class. What is kept of
//! it: u32 count, then the boxes' u32 places, in the order of [`vidmill_infer::suppress`].

use std::error::Error;
use std::io::{Read, Write};
use std::time::Instant;

use vidmill_image::Rect;
use vidmill_infer::{Candidate, suppress};

/// Bytes of a box.
const BOX: usize = 24;

fn main() -> Result<(), Box<dyn Error>> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let is_timed = std::env::args().any(|argument| argument == "--time");
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut rest = &input[..];
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(8).ok_or("a case is cut off")?;
        let count = u32::from_le_bytes(word(head, 0)) as usize;
        let (boxes, after) = after.split_at_checked(count * BOX).ok_or("a case is cut off")?;
        rest = after;
        let candidates: Vec<_> =
            (0..).zip(boxes.chunks_exact(BOX)).map(|(index, bytes)| candidate(index, bytes)).collect();
        let threshold = f32::from_le_bytes(word(head, 1));
        if is_timed {
            writeln!(out, "{:.1}", microseconds(&candidates, threshold))?;
            continue;
        }
        let kept = suppress(candidates, threshold, usize::MAX);
        out.write_all(&u32::try_from(kept.len())?.to_le_bytes())?;
        for candidate in kept {
            out.write_all(&candidate.index.to_le_bytes())?;
        }
    }
    Ok(out.flush()?)
}

/// With at most 300 kept, as is usual.
fn microseconds(candidates: &[Candidate], threshold: f32) -> f64 {
    let once = |_| {
        let candidates = candidates.to_vec();
        let begin = Instant::now();
        std::hint::black_box(suppress(candidates, threshold, 300));
        begin.elapsed().as_secs_f64() * 1e6
    };
    let mut times: Vec<f64> = (0..101).map(once).collect();
    times.sort_by(f64::total_cmp);
    times[50]
}

fn candidate(index: u32, bytes: &[u8]) -> Candidate {
    let number = |place| f32::from_le_bytes(word(bytes, place));
    let rect = Rect { x1: number(0), y1: number(1), x2: number(2), y2: number(3) };
    Candidate { rect, confidence: number(4), class_id: u32::from_le_bytes(word(bytes, 5)), index }
}

fn word(bytes: &[u8], place: usize) -> [u8; 4] {
    [0, 1, 2, 3].map(|byte| bytes[4 * place + byte])
}
