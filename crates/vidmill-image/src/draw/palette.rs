//! Colours.

/// A colour for a class, always the same for the same id, and as different from its neighbours' as can be.
///
/// Hues follow the golden ratio, so that any run of ids is spread over the circle; strength and brightness vary in turn.
pub fn class_color(class_id: u32) -> [u8; 3] {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    // The set and the run of nine are those that keep the first 80 colours furthest apart, by trial of all orders.
    const TONES: [(f64, f64); 5] = [(1.0, 1.0), (0.85, 0.95), (0.95, 0.68), (0.75, 0.80), (0.55, 1.0)];
    let hue = (0.58 + f64::from(class_id) * GOLDEN).fract();
    let (saturation, value) = TONES[(class_id / 9 % 5) as usize];
    hsv(hue, saturation, value)
}

/// Red, green, blue of a hue (0 to 1), saturation and value.
fn hsv(hue: f64, saturation: f64, value: f64) -> [u8; 3] {
    [5.0, 3.0, 1.0].map(|n| {
        let k = (n + hue * 6.0) % 6.0;
        let part = k.min(4.0 - k).clamp(0.0, 1.0);
        (255.0 * value * (1.0 - saturation * part)).round() as u8
    })
}

/// Black or white, whichever reads better on `background`: by the contrast ratio of WCAG 2.
pub(super) fn ink_on(background: [u8; 3]) -> [u8; 3] {
    let luminance = luminance(background);
    if (1.05) / (luminance + 0.05) >= (luminance + 0.05) / 0.05 { [255; 3] } else { [0; 3] }
}

/// Relative luminance, 0 to 1 (WCAG 2, with a plain power of 2.2 for the transfer function).
pub(super) fn luminance(rgb: [u8; 3]) -> f64 {
    let [r, g, b] = rgb.map(|value| (f64::from(value) / 255.0).powf(2.2));
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// A colour for a track, always the same for the same id; ids that follow each other are told apart well.
///
/// Hues go on by the golden angle, and every other colour is darker, in Oklch, where equal steps look equal.
pub fn track_color(id: u64) -> [u8; 3] {
    // Those that keep any eight in a row furthest apart, by trial.
    const LIGHTNESS: [f64; 2] = [0.74, 0.58];
    // The golden ratio's fraction of 2^64: what overflows are whole turns.
    let turn = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / 2f64.powi(64);
    oklch(LIGHTNESS[(id % 2) as usize], 0.21, 0.05 + turn)
}

/// The colour of a joint. Of COCO's 17, those on the right are warm, those on the left cool, the nose is neither; arms, legs and head
/// differ. Of any other number, colours run once around the circle in their order, so that those of a finger or limb are alike.
pub(super) fn joint_color(joint: usize, count: usize) -> [u8; 3] {
    const COCO: usize = 17;
    if count != COCO {
        return oklch(0.75, 0.17, 0.92 * joint as f64 / count.max(1) as f64);
    }
    let is_left = joint % 2 == 1;
    match (joint, is_left) {
        (0, _) => NEUTRAL,
        (1..=4, true) => [165, 225, 255],
        (1..=4, false) => [255, 215, 150],
        (5..=10, true) => [40, 175, 255],
        (5..=10, false) => [255, 150, 30],
        (_, true) => [70, 95, 255],
        (_, false) => [255, 75, 75],
    }
}

/// The colour of a bone: that of its joints where they are on the same side, and where they are of different limbs that of the second.
pub(super) fn bone_color([a, b]: [usize; 2], count: usize) -> [u8; 3] {
    let is_across = count == 17 && a % 2 != b % 2 && a.min(b) > 0;
    if is_across {
        return NEUTRAL;
    }
    // Joints are numbered from the trunk on.
    joint_color(a.max(b), count)
}

/// What belongs to neither side.
const NEUTRAL: [u8; 3] = [235, 235, 225];

/// Red, green, blue of a lightness (0 to 1), chroma and hue (in turns), with as much of the chroma as sRGB has. The matrices are those
/// of Ottosson's Oklab (2020).
fn oklch(lightness: f64, chroma: f64, hue: f64) -> [u8; 3] {
    let (sin, cos) = (hue * std::f64::consts::TAU).sin_cos();
    let linear = |chroma: f64| {
        let (a, b) = (chroma * cos, chroma * sin);
        let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
        let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
        let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
        [
            4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
            -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
            -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
        ]
    };
    let is_shown = |rgb: &[f64; 3]| rgb.iter().all(|value| (0.0..=1.0).contains(value));
    let weaker = (0..=32).map(|step| linear(chroma * f64::from(32 - step) / 32.0));
    // A grey of any lightness below 1 is shown.
    let rgb = weaker.into_iter().find(is_shown).unwrap_or([lightness.powi(3); 3]);
    rgb.map(|value| {
        let coded = if value <= 0.003_130_8 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
        (coded * 255.0).round().clamp(0.0, 255.0) as u8
    })
}
