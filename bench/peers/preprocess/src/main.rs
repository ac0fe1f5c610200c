//! The crate fast_image_resize, from a picture of packed 8-bit BGR to the tensor that vidmill makes; prints one JSON line.
//!
//! `preprocess-peer --size 1920x1080 --target 640x640 --repeat N < frame.bgr`
//!
//! The picture is resized as OpenCV's INTER_LINEAR does it (two by two neighbours, no antialiasing). The crate makes no tensors: padding and
//! the way to planes of floats are a plain loop here, and are told apart.

use std::error::Error;
use std::io::Read;
use std::time::Instant;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

const PAD: u8 = 114;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut size, mut target, mut repeat) = ((0, 0), (0, 0), 1);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--size" => size = sides(&value)?,
            "--target" => target = sides(&value)?,
            "--repeat" => repeat = value.parse()?,
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    let picture = ImageRef::new(size.0, size.1, &bytes, PixelType::U8x3)?;
    let scale = (f64::from(target.0) / f64::from(size.0)).min(f64::from(target.1) / f64::from(size.1));
    let fitted = [size.0, size.1].map(|side| (f64::from(side) * scale).round() as u32);
    let mut small = Image::new(fitted[0], fitted[1], PixelType::U8x3);
    let mut tensor = vec![0f32; (3 * target.0 * target.1) as usize];
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Interpolation(FilterType::Bilinear));
    let mut resizer = Resizer::new();
    let (mut resize, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..repeat {
        let begin = Instant::now();
        resizer.resize(&picture, &mut small, &options)?;
        resize.push(begin.elapsed().as_secs_f64() * 1e3);
        fill(small.buffer(), fitted, target, &mut tensor);
        whole.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let sum: f32 = tensor.iter().sum();
    println!(
        "{{\"resize_ms\": {:.4}, \"tensor_ms\": {:.4}, \"sum\": {sum}}}",
        median(&mut resize),
        median(&mut whole)
    );
    Ok(())
}

/// Pads, swaps B and R, and turns bytes into planes of floats, 0 to 1.
fn fill(small: &[u8], fitted: [u32; 2], target: (u32, u32), tensor: &mut [f32]) {
    let [width, height] = fitted.map(|side| side as usize);
    let (columns, rows) = (target.0 as usize, target.1 as usize);
    let (left, top) = ((columns - width) / 2, (rows - height) / 2);
    for (channel, plane) in tensor.chunks_exact_mut(columns * rows).enumerate() {
        for (y, row) in plane.chunks_exact_mut(columns).enumerate() {
            if !(top..top + height).contains(&y) {
                row.fill(f32::from(PAD) / 255.0);
                continue;
            }
            row[..left].fill(f32::from(PAD) / 255.0);
            row[left + width..].fill(f32::from(PAD) / 255.0);
            let pixels = small[(y - top) * width * 3..(y - top + 1) * width * 3].as_chunks::<3>().0;
            for (out, pixel) in row[left..left + width].iter_mut().zip(pixels) {
                *out = f32::from(pixel[2 - channel]) * (1.0 / 255.0);
            }
        }
    }
}

fn sides(value: &str) -> Result<(u32, u32), Box<dyn Error>> {
    let (width, height) = value.split_once('x').ok_or("expected WIDTHxHEIGHT")?;
    Ok((width.parse()?, height.parse()?))
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
