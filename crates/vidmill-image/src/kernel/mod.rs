//! The inner loops, at several instruction set levels that give the same bits.
//!
//! In: rows of samples and tables. Out: rows of floats, or bytes of the tensor. `scalar` is the specification;
//! another level is one file with the same functions. The level is chosen once, at run time, by what the processor
//! has; the environment variable `VIDMILL_SIMD` (`scalar` or `avx2`) pins one.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

pub(crate) use scalar::YuvRows;

/// A line through the origin's neighbour: `value * gain + bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine {
    pub(crate) gain: f32,
    pub(crate) bias: f32,
}

impl YuvToRgb {
    #[inline(always)]
    fn apply(&self, y: f32, u: f32, v: f32) -> [f32; 3] {
        let luma = y * self.y_scale;
        [
            luma + (v * self.v_red + self.offset[0]),
            luma + (u * self.u_green + (v * self.v_green + self.offset[1])),
            luma + (u * self.u_blue + self.offset[2]),
        ]
    }
}

impl Affine {
    /// Changes nothing.
    pub(crate) const IDENTITY: Self = Self { gain: 1.0, bias: 0.0 };
    #[inline(always)]
    pub(crate) fn apply(self, value: f32) -> f32 {
        value * self.gain + self.bias
    }
}

/// The non-zero coefficients from Y, U, V codes to R, G, B in 0..=255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct YuvToRgb {
    pub(crate) y_scale: f32,
    pub(crate) v_red: f32,
    pub(crate) u_green: f32,
    pub(crate) v_green: f32,
    pub(crate) u_blue: f32,
    pub(crate) offset: [f32; 3],
}

/// Where along a line every output lies: between sample `index` and the one `step` further, `weight` of the way.
#[derive(Clone, Debug)]
pub(crate) struct Taps {
    index: Vec<u32>,
    weight: Vec<f32>,
    step: usize,
    reach: usize,
}

impl Taps {
    /// Taps into a line whose samples stand `step` apart, the first at `first`.
    pub(crate) fn new(positions: &[Position], step: usize, first: usize) -> Self {
        let index: Vec<u32> =
            positions.iter().map(|position| (position.index * step + first) as u32).collect();
        let reach = index.iter().max().map_or(0, |&last| last as usize + step);
        Self { index, weight: positions.iter().map(|position| position.weight).collect(), step, reach }
    }
    #[inline(always)]
    fn index(&self) -> &[u32] {
        &self.index
    }
    #[inline(always)]
    fn weight(&self) -> &[f32] {
        &self.weight
    }
    #[inline(always)]
    fn step(&self) -> usize {
        self.step
    }
}

/// A place between two samples: `weight` (0 to 1) of the way from `index` to `index + 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Position {
    pub(crate) index: usize,
    pub(crate) weight: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
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
    /// The name that `VIDMILL_SIMD` knows it by.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
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
                }
            }
        )*}
    };
}

dispatch! {
    blend_u8(a: &[u8], b: &[u8], weight: f32, out: &mut [f32]);
    blend_u16(a: &[u8], b: &[u8], shift: u32, weight: f32, out: &mut [f32]);
    double_single(line: &[f32], before: f32, after: f32, out: &mut [f32]);
    double_paired(line: &[f32], before: f32, after: f32, out: &mut [f32]);
    resample(line: &[f32], taps: &Taps, norm: Affine, out: &mut [f32]);
    yuv_to_rgb_u8(rows: &YuvRows<'_>, c: &YuvToRgb, out: &mut [Vec<f32>; 3]);
    yuv_to_rgb_u16(rows: &YuvRows<'_>, shift: u32, c: &YuvToRgb, out: &mut [Vec<f32>; 3]);
    map_line(level: Affine, norm: Affine, line: &mut [f32]);
    rgb_to_gray(weights: [f32; 3], norm: Affine, r: &mut [f32], g: &[f32], b: &[f32]);
    interleave(lines: [&[f32]; 3], out: &mut [f32]);
    store_f32(values: &[f32], out: &mut [u8]);
    store_f16(values: &[f32], out: &mut [u8]);
    store_u8(values: &[f32], out: &mut [u8]);
}
