//! Prints one line for every decoded frame: index, pts (or `none`), width, height, pixel format as lent, CRC-32 of its
//! planes (rows without padding). With a second argument N, only every Nth frame is asked for; the others print
//! `skipped` and, unless `all` is given, are decoded only if others need them. The last line tells what was lost.
//!
//! ```text
//! cargo run -p vidmill-video --example frames -- clip.mp4 [N] [THREADS] [all]
//! ```
#![allow(clippy::print_stdout, reason = "an example prints")]

use vidmill_image::Planes;
use vidmill_video::{DecodeOptions, Decoder, Skipping, Step};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: frames FILE [EVERY] [THREADS] [all]")?;
    let every: u64 = arguments.next().map_or(Ok(1), |n| n.parse())?;
    let threads = arguments.next().map_or(Ok(0), |n| n.parse())?;
    let skipping = if arguments.next().is_some() { Skipping::Nothing } else { Skipping::Disposable };
    let options = DecodeOptions { threads, skipping, ..DecodeOptions::default() };
    let mut decoder = Decoder::open(&path, &options)?;
    loop {
        match decoder.next(&mut |head| head.index.is_multiple_of(every))? {
            Step::Frame(frame) => {
                let planes = frame.planes();
                let pts = frame.timestamp().map_or("none".to_owned(), |t| t.pts.to_string());
                let (size, index) = (planes.size, frame.index());
                println!(
                    "{index} {pts} {} {} {} {:08x}",
                    size.width,
                    size.height,
                    name(&planes),
                    crc(&planes)
                );
            }
            Step::Skipped(head) => {
                println!(
                    "{} {} skipped",
                    head.index,
                    head.timestamp.map_or("none".to_owned(), |t| t.pts.to_string())
                );
            }
            Step::End => break,
        }
    }
    println!("{:?}", decoder.damage());
    Ok(())
}

/// The format without spaces, so that lines split at them.
fn name(planes: &Planes<'_>) -> String {
    format!("{:?}/{}>>{}", planes.format.layout, planes.format.bits, planes.format.shift).replace(' ', "")
}

fn crc(planes: &Planes<'_>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for plane in 0..planes.format.plane_count() {
        let (rows, row_bytes) = planes.format.plane_shape(plane, planes.size);
        for row in planes.data[plane].chunks(planes.stride[plane]).take(rows) {
            hasher.update(&row[..row_bytes]);
        }
    }
    hasher.finalize()
}
