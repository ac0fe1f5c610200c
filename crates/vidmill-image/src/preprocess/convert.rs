//! From codes to R, G, B or luma, and the normalisation: the numbers.

use crate::kernel::{Affine, Level, RGB_UNIT, YuvToRgb};
use crate::{ChannelOrder, ColorRange, ColorSpec, PixelFormat, TensorSpec};

/// Luma of an RGB picture, as OpenCV's `cvtColor` weighs it (BT.601).
const GRAY_WEIGHTS: [f64; 3] = [0.299, 0.587, 0.114];

/// From codes of grey or RGB, at the model's resolution, to normalised lines, in place.
#[derive(Clone, Debug)]
pub(super) enum Convert {
    /// R, G, B, only scaled.
    Rgb { level: Affine, norm: [Affine; 3] },
    /// R, G, B to luma.
    RgbToGray { weights: [f32; 3], norm: Affine },
    /// Luma as it is.
    Gray { level: Affine, norm: Affine },
    /// Luma, repeated as R, G, B.
    GrayToRgb { level: Affine, norm: [Affine; 3] },
}

impl Convert {
    pub(super) fn from_rgb(format: PixelFormat, spec: &TensorSpec) -> Self {
        let norm = normalisation(spec);
        let unit = 255.0 / max_code(format);
        match spec.channels {
            ChannelOrder::Gray => {
                let weights = GRAY_WEIGHTS.map(|weight| (weight * unit) as f32);
                Self::RgbToGray { weights, norm: norm[0] }
            }
            _ => Self::Rgb { level: Affine { gain: unit as f32, bias: 0.0 }, norm },
        }
    }

    pub(super) fn from_luma(format: PixelFormat, color: ColorSpec, spec: &TensorSpec) -> Self {
        let (level, norm) = (luma_level(format, color.range), normalisation(spec));
        match spec.channels {
            ChannelOrder::Gray => Self::Gray { level, norm: norm[0] },
            _ => Self::GrayToRgb { level, norm },
        }
    }

    /// Converts lines of equal length.
    pub(super) fn run(&self, level: Level, lines: [&mut [f32]; 3]) {
        let [a, b, c] = lines;
        match self {
            Self::Rgb { level: codes, norm } => {
                for (line, norm) in [a, b, c].into_iter().zip(norm) {
                    level.map_line(*codes, *norm, line);
                }
            }
            Self::RgbToGray { weights, norm } => level.rgb_to_gray(*weights, *norm, a, b, c),
            Self::Gray { level: codes, norm } => level.map_line(*codes, *norm, a),
            Self::GrayToRgb { level: codes, norm } => {
                b.copy_from_slice(a);
                c.copy_from_slice(a);
                for (line, norm) in [a, b, c].into_iter().zip(norm) {
                    level.map_line(*codes, *norm, line);
                }
            }
        }
    }
}

fn max_code(format: PixelFormat) -> f64 {
    f64::from((1u32 << format.bits) - 1)
}

/// `(v * scale - mean) / std` of R, G, B (or luma) as one multiplication and addition.
pub(super) fn normalisation(spec: &TensorSpec) -> [Affine; 3] {
    let channel = |c: usize| {
        let std = f64::from(spec.std[c]);
        Affine { gain: (f64::from(spec.scale) / std) as f32, bias: (-f64::from(spec.mean[c]) / std) as f32 }
    };
    // Mean and deviation come in the tensor's order, the lines in red, green, blue.
    match spec.channels {
        ChannelOrder::Rgb | ChannelOrder::Gray => [channel(0), channel(1), channel(2)],
        ChannelOrder::Bgr => [channel(2), channel(1), channel(0)],
    }
}

/// Luma codes to 0..=255.
fn luma_level(format: PixelFormat, range: ColorRange) -> Affine {
    let (gain, black) = match range {
        ColorRange::Full => (255.0 / max_code(format), 0.0),
        ColorRange::Limited => {
            let unit = f64::from(1u32 << (format.bits - 8));
            (255.0 / (219.0 * unit), 16.0 * unit)
        }
    };
    Affine { gain: gain as f32, bias: (-black * gain) as f32 }
}

/// The inverse of ITU-T H.273's equations 38 to 40 (luma and colour differences), with the codes' range folded in.
pub(super) fn yuv_to_rgb(format: PixelFormat, color: ColorSpec) -> YuvToRgb {
    let (kr, kb) = color.matrix.weights();
    let kg = 1.0 - kr - kb;
    let unit = f64::from(1u32 << (format.bits - 8));
    let (y, black, chroma) = match color.range {
        ColorRange::Full => (255.0 / max_code(format), 0.0, 255.0 / max_code(format)),
        ColorRange::Limited => (255.0 / (219.0 * unit), 16.0 * unit, 255.0 / (224.0 * unit)),
    };
    let v_red = 2.0 * (1.0 - kr) * chroma;
    let u_blue = 2.0 * (1.0 - kb) * chroma;
    let (u_green, v_green) = (-u_blue * kb / kg, -v_red * kr / kg);
    // Per code of the format, in steps of the lines; then per code of 15 bits, times 2^16.
    let step = f64::from(RGB_UNIT);
    let fixed = |gain: f64| (gain * step * f64::from(1u32 << format.bits) * 2.0).round() as i16;
    // Every product is rounded down: give back the half that is lost on average.
    let offset = |products: f64| (-black * y * step + 0.5 * products).round() as i16;
    YuvToRgb {
        y: fixed(y),
        v_red: fixed(v_red / 2.0),
        u_green: fixed(u_green / 2.0),
        v_green: fixed(v_green / 2.0),
        u_blue: fixed(u_blue / 2.0),
        offset: [offset(2.0), offset(3.0), offset(2.0)],
    }
}
