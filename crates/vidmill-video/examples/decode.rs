//! Decodes a file from its beginning to its end and looks at nothing: for measuring the decoder alone, beside `ffmpeg -f null`.
//! Prints how many frames there were.
//!
//! ```text
//! cargo run --release -p vidmill-video --example decode -- clip.mp4 [THREADS]
//! ```
//!
//! Without THREADS, as many as FFmpeg likes.
#![allow(clippy::print_stdout, reason = "an example prints")]

use vidmill_video::{DecodeOptions, Decoder, Step};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: decode FILE [THREADS]")?;
    let threads = arguments.next().map_or(Ok(0), |n| n.parse())?;
    let mut decoder = Decoder::open(&path, &DecodeOptions { threads, ..DecodeOptions::default() })?;
    let mut frames = 0;
    while !matches!(decoder.next(&mut |_| true)?, Step::End) {
        frames += 1;
    }
    println!("{frames}");
    Ok(())
}
