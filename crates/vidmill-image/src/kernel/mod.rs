//! The inner loops, at several instruction set levels that give the same bits.
//!
//! In: rows of samples and tables. Out: rows of floats, or bytes of the tensor. `scalar` is the specification;
//! another level is one file with the same functions. The level is chosen once, at run time, by what the processor
//! has; the environment variable `VIDMILL_SIMD` (`scalar`, `avx2`, `avx512`; on ARM `scalar` or `neon`) pins one.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod picks;
mod scalar;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use crate::ElementType;

use picks::Shape;

pub(crate) use picks::Picks;
pub(crate) use scalar::{HalfRow, YuvRow};

/// `value * gain + bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    pub(crate) gain: f32,
    pub(crate) bias: f32,
}

impl Affine {
    #[inline(always)]
    pub(crate) fn apply(self, value: f32) -> f32 {
        value * self.gain + self.bias
    }
}

/// One step of R, G, B in the integer lines is this part of one of 255.
pub(crate) const RGB_UNIT: i16 = 32;

/// The coefficients from codes of 12 bits to R, G, B in steps of 1 / [`RGB_UNIT`], in fixed point.
///
/// Luma contributes `y * 8 * code / 2^16`, chroma `c * 16 * (code - 2^11) / 2^16`: as far up as 16 bits hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct YuvToRgb {
    pub(crate) y: i16,
    pub(crate) v_red: i16,
    pub(crate) u_green: i16,
    pub(crate) v_green: i16,
    pub(crate) u_blue: i16,
    pub(crate) offset: [i16; 3],
}

impl YuvToRgb {
    /// What gives B, G, R where U and V have changed places.
    pub(crate) fn reversed(&self) -> Self {
        let Self { y, v_red, u_green, v_green, u_blue, offset: [red, green, blue] } = *self;
        Self {
            y,
            v_red: u_blue,
            u_green: v_green,
            v_green: u_green,
            u_blue: v_red,
            offset: [blue, green, red],
        }
    }
}

/// Where the bits of a sample stand in their two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BitPlace {
    /// Bits below it.
    pub(crate) shift: u8,
    /// Bits of the two bytes beyond those it takes.
    pub(crate) unused: u8,
}

/// A place between two rows, told from the nearer one: `share / 2^16` of the way to the farther, half of it at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Between<T> {
    pub(crate) near: T,
    pub(crate) far: T,
    pub(crate) share: i16,
}

impl<T> Between<T> {
    /// `weight` (0 to 1) of the way from `a` to `b`.
    pub(crate) fn new(a: T, b: T, weight: f32) -> Self {
        let (near, far, part) = if weight <= 0.5 { (a, b, weight) } else { (b, a, 1.0 - weight) };
        // A signed multiplication cannot hold one half: it is a hair less.
        Self { near, far, share: (part * 65_536.0).round().min(f32::from(i16::MAX)) as i16 }
    }
    /// The share in eighths, 0 to 4: as fine as chroma positions are.
    fn eighths(&self) -> i16 {
        ((i32::from(self.share) + (1 << 12)) >> 13) as i16
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

/// An instruction set level that this processor has: only [`Level::all`] and [`Level::best`] make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level(Set);

impl Level {
    /// Every level that this processor can run, the plainest first.
    pub(crate) fn all() -> Vec<Self> {
        let mut levels = vec![Self(Set::Scalar)];
        #[cfg(target_arch = "x86_64")]
        if avx2::is_available() {
            levels.push(Self(Set::Avx2));
        }
        #[cfg(target_arch = "x86_64")]
        if avx512::is_available() {
            levels.push(Self(Set::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        if neon::is_available() {
            levels.push(Self(Set::Neon));
        }
        levels
    }
    /// The level to use: the one that `VIDMILL_SIMD` names if the processor has it, else the highest.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| {
            let levels = Self::all();
            let highest = levels[levels.len() - 1];
            let Some(name) = std::env::var_os("VIDMILL_SIMD") else { return highest };
            levels.into_iter().find(|level| name == level.name()).unwrap_or_else(|| {
                tracing::warn!(
                    asked = ?name, used = highest.name(),
                    "VIDMILL_SIMD names no level that this processor has"
                );
                highest
            })
        })
    }
    /// Whether [`Level::convert_pixels`] is quicker than the steps that it stands for: where it is written by hand. Compilers vectorise the
    /// steps, but not all of them in one.
    pub(crate) fn converts_at_once(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 | Set::Avx512 => true,
            _ => false,
        }
    }
    /// Whether it is quicker to pick these `count` columns out of rows of `width`, and convert them, than to convert whole rows and
    /// pick then. `pairs`: values lie between two columns.
    pub(crate) fn picks_before_converting(self, count: usize, pairs: bool, width: usize) -> bool {
        // Measured at 1080p: pairs are worth it only from a scale of 8 on for scalar, of 10 for AVX2.
        let parts = match self.0 {
            Set::Scalar if pairs => 4,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 if pairs => 5,
            _ => 1,
        };
        count < width && parts * count <= width
    }
    /// Picks of samples of `sample` bytes (1 or 2), from lines of `samples` of them, in this order; made for this level, and good for any.
    ///
    /// # Panics
    /// When an index is not below `samples`.
    pub(crate) fn picks(self, index: Vec<u32>, sample: usize, samples: usize) -> Picks {
        let shape = match self.0 {
            Set::Scalar => Shape { block: 0, window: 0 },
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => avx2::SHAPE,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => avx512::SHAPE,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon::SHAPE,
        };
        Picks::new(index, sample, samples, shape)
    }
    /// [`Level::pick`] among codes.
    pub(crate) fn pick_codes(self, line: &[i16], picks: &Picks, out: &mut [i16]) {
        self.pick(picks::as_bytes(line), picks, picks::as_bytes_mut(out));
    }
    /// The name that `VIDMILL_SIMD` knows it by.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
        }
    }
}

/// One method a loop, each of which runs it at the level.
macro_rules! dispatch {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        impl Level {$(
            #[expect(unsafe_code, reason = "calls a function compiled for an instruction set that was detected")]
            #[inline]
            pub(crate) fn $name(self, $($arg: $type),*) {
                match self.0 {
                    Set::Scalar => scalar::$name($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: `Set::Avx2` is made in `Level::all` alone, after `avx2::is_available`.
                    Set::Avx2 => unsafe { avx2::$name($($arg),*) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above, after `avx512::is_available`.
                    Set::Avx512 => unsafe { avx512::$name($($arg),*) },
                    #[cfg(target_arch = "aarch64")]
                    // SAFETY: as above, after `neon::is_available`.
                    Set::Neon => unsafe { neon::$name($($arg),*) },
                }
            }
        )*}
    };
}

dispatch! {
    blend_u8(a: &[u8], b: &[u8], weight: f32, out: &mut [f32]);
    blend_u16(a: &[u8], b: &[u8], shift: u32, weight: f32, out: &mut [f32]);
    codes_u8(rows: Between<&[u8]>, out: &mut [i16]);
    codes_u16(rows: Between<&[u8]>, place: BitPlace, out: &mut [i16]);
    double_single(line: &[i16], before: i16, after: i16, out: &mut [i16]);
    double_paired(line: &[i16], before: i16, after: i16, out: &mut [i16]);
    pick(line: &[u8], picks: &Picks, out: &mut [u8]);
    pick_between(line: &[i16], picks: [&Picks; 2], eighths: &[i16], out: &mut [i16]);
    lerp_pairs(line: &[i16], weights: &[f32], out: &mut [i16]);
    yuv_to_rgb(rows: Between<YuvRow<'_>>, c: &YuvToRgb, out: &mut [Vec<i16>; 3]);
    resample(line: &[f32], weights: &[f32], out: &mut [f32]);
    resample_picked(line: &[f32], picks: &Picks, weights: &[f32], out: &mut [f32]);
    store_codes(line: &[i16], norm: Affine, element: ElementType, out: &mut [u8]);
    store_pairs(line: &[i16], weights: &[f32], norm: Affine, element: ElementType, out: &mut [u8]);
    store_picked_pairs(line: &[i16], picks: &Picks, weights: &[f32], norm: Affine, element: ElementType, out: &mut [u8]);
    map_line(level: Affine, norm: Affine, line: &mut [f32]);
    rgb_to_gray(weights: [f32; 3], norm: Affine, r: &mut [f32], g: &[f32], b: &[f32]);
    interleave(lines: [&[u8]; 3], bytes: usize, out: &mut [u8]);
    store(values: &[f32], element: ElementType, out: &mut [u8]);
    store_pixels(lines: [&[i16]; 3], out: &mut [u8]);
    convert_pixels(row: HalfRow<'_>, c: &YuvToRgb, out: &mut [u8]);
}
