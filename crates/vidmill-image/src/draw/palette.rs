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
