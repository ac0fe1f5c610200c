//! A clip for those who name none: moving content with a camera's noise, made in memory, gone with its last user.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};
use vidmill_image::{ChromaSiting, ColorMatrix, ColorRange, ColorSpec, Picture, Size};
use vidmill_video::{EncodeOptions, Encoder, Rational};

use crate::error::RunError;
use crate::progress::Stop;

/// What is generated, in words.
pub const WHAT: &str = "a generated clip: 1920x1080, 30 frames/s, H.264, 4 s of moving content";

const SIZE: Size = Size { width: 1920, height: 1080 };
const FRAMES: i64 = 120;
const RATE: i32 = 30;

/// Kept as long as it is read.
pub struct Clip {
    file: OwnedFd,
}

impl Clip {
    /// Makes it, which takes some seconds.
    ///
    /// # Errors
    /// When there is no encoder, or no memory.
    pub fn generate(stop: &Stop) -> Result<Self, RunError> {
        let failed = |error: &dyn std::fmt::Display| RunError::Clip(error.to_string());
        let file = memfd_create("vidmill-bench", MemfdFlags::CLOEXEC).map_err(|error| failed(&error))?;
        let clip = Self { file };
        let color =
            ColorSpec { matrix: ColorMatrix::Bt709, range: ColorRange::Limited, siting: ChromaSiting::Left };
        let mut options = EncodeOptions::new(SIZE, Rational::new(1, RATE), color);
        options.frame_rate = Some(Rational::new(RATE, 1));
        options.crf = 23;
        let mut encoder = Encoder::create(&clip.path(), &options).map_err(|error| failed(&error))?;
        let mut picture = Picture::new(SIZE, color);
        for number in 0..FRAMES {
            if stop.is_asked() {
                return Err(RunError::Interrupted);
            }
            draw(&mut picture, number as usize);
            encoder.write(&picture, number).map_err(|error| failed(&error))?;
        }
        encoder.finish().map_err(|error| failed(&error))?;
        Ok(clip)
    }

    /// Where it can be read.
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }
}

/// A textured ground that the camera passes over, things that move across it, and noise.
fn draw(picture: &mut Picture, number: usize) {
    let width = SIZE.width as usize;
    let [luma, blue, red] = picture.planes_mut();
    for (y, row) in luma.chunks_exact_mut(width).enumerate() {
        let mut noise = seed(number * SIZE.height as usize + y);
        for (x, pixel) in row.iter_mut().enumerate() {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let ground = ground(x + 3 * number, y + number / 2);
            *pixel = ground + (noise & 3) as u8;
        }
    }
    for (rows, shade) in [(blue, 3), (red, 5)] {
        for (y, row) in rows.chunks_exact_mut(width / 2).enumerate() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = 96 + (((x + 3 * number / 2) / 48 + y / 40 * shade) % 9 * 7) as u8;
            }
        }
    }
    for thing in 0..12 {
        let (side, speed) = (60 + 16 * thing, 2 + thing);
        let left = (thing * 331 + number * speed) % (width - side);
        let top = (thing * 173 + number * (thing % 3)) % (SIZE.height as usize - side);
        for y in top..top + side {
            for (x, pixel) in luma[y * width + left..][..side].iter_mut().enumerate() {
                *pixel = (40 + 14 * thing + (x / 6 + (y - top) / 9) % 4 * 11) as u8;
            }
        }
    }
}

/// Tiles of different shade with a fine grain.
fn ground(x: usize, y: usize) -> u8 {
    let tile = seed((x / 64) * 131 + y / 48) >> 58;
    let grain = seed((x / 2) * 7919 + y / 2) >> 61;
    (56 + tile + grain) as u8
}

/// Spreads a number over all bits (the finaliser of Sebastiano Vigna's SplitMix64).
fn seed(number: usize) -> u64 {
    let mut bits = (number as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (bits ^ (bits >> 31)) | 1
}
