//! Encodes masks as COCO's compressed counts, for comparison with other programs.
//!
//! ```text
//! mask_raw < masks > lines
//! mask_raw --time < masks        median microseconds to encode, to write counts, to read them, and to fill rows
//! ```
//!
//! A mask: u32 width, u32 height (little-endian), then a byte for each pixel, row by row. A line: its counts, area, and bounds (left, top,
//! right, bottom; four zeros if nothing is set), apart by spaces. What is read back from the counts must be the mask, or the program fails.

use std::error::Error;
use std::io::{Read, Write};
use std::time::Instant;

use vidmill_image::{Mask, Rect, Size};

fn main() -> Result<(), Box<dyn Error>> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let is_timed = std::env::args().any(|argument| argument == "--time");
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut rest = &input[..];
    while !rest.is_empty() {
        let (head, after) = rest.split_first_chunk::<8>().ok_or("a mask is cut off")?;
        let [w0, w1, w2, w3, h0, h1, h2, h3] = *head;
        let size = Size::new(u32::from_le_bytes([w0, w1, w2, w3]), u32::from_le_bytes([h0, h1, h2, h3]));
        let count = size.width as usize * size.height as usize;
        let (rows, after) = after.split_at_checked(count).ok_or("a mask is cut off")?;
        rest = after;
        let mask = Mask::from_rows(size, rows)?;
        let counts = mask.to_counts();
        let back = Mask::from_counts(size, &counts)?;
        let is_same = back.to_rows().iter().zip(rows).all(|(bit, byte)| *bit == u8::from(*byte != 0));
        if back != mask || !is_same {
            return Err(format!("{counts} is not the mask").into());
        }
        if is_timed {
            let encode = microseconds(|| Mask::from_rows(size, rows));
            let write = microseconds(|| mask.to_counts());
            let read = microseconds(|| Mask::from_counts(size, &counts));
            let fill = microseconds(|| mask.to_rows());
            writeln!(out, "{encode:.1} {write:.1} {read:.1} {fill:.1}")?;
            continue;
        }
        let Rect { x1, y1, x2, y2 } = mask.bounds().unwrap_or(Rect::new(0.0, 0.0, 0.0, 0.0));
        writeln!(out, "{counts} {} {x1} {y1} {x2} {y2}", mask.area())?;
    }
    Ok(out.flush()?)
}

fn microseconds<T>(work: impl Fn() -> T) -> f64 {
    let once = |_| {
        let begin = Instant::now();
        std::hint::black_box(work());
        begin.elapsed().as_secs_f64() * 1e6
    };
    let mut times: Vec<f64> = (0..21).map(once).collect();
    times.sort_by(f64::total_cmp);
    times[10]
}
