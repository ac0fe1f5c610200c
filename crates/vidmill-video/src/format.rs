//! FFmpeg's pixel formats to [`PixelFormat`], by their descriptors rather than by a table.

use vidmill_image::{Layout, PixelFormat};

use crate::color::Content;
use crate::ffi::{Component, PixelDescription};

/// How a frame of some FFmpeg format is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lending {
    pub format: PixelFormat,
    /// Which of the frame's planes stand behind the format's planes.
    pub planes: [usize; 3],
}

/// How frames of this format are lent as they are; `None` where no [`PixelFormat`] describes them (palettes, Bayer
/// patterns, bit streams, big-endian samples, packed YUV, floats, samples of unequal or fewer than 8 bits). Alpha is
/// left out where it can be stepped over.
pub(crate) fn lend(d: &PixelDescription) -> Option<Lending> {
    if d.palette || d.bitstream || d.hardware || d.bayer || d.float || d.big_endian || is_xyz(d) {
        return None;
    }
    let count = if d.components().len() >= 3 { 3 } else { 1 };
    let colors = d.components().get(..count)?;
    let (bits, shift) = (colors[0].depth, colors[0].shift);
    if !(8..=16).contains(&bits) || colors.iter().any(|c| (c.depth, c.shift) != (bits, shift)) {
        return None;
    }
    let bytes = if bits == 8 { 1 } else { 2 };
    let (layout, planes) = match (d.rgb, colors) {
        (false, [_]) => gray(colors, bytes)?,
        (false, _) => yuv_planar(d, colors, bytes).or_else(|| yuv_semi_planar(d, colors, bytes))?,
        (true, _) => rgb_planar(colors, bytes).or_else(|| rgb_packed(colors, bytes, shift))?,
    };
    let format = PixelFormat { layout, bits: bits as u8, shift: shift as u8 };
    Some(Lending { format, planes })
}

/// The name of the FFmpeg format that frames are converted to when [`lend`] cannot describe them: same kind, same chroma
/// subsampling where there is one such, and no fewer bits.
pub(crate) fn nearest(d: &PixelDescription) -> String {
    let depth = d.components().iter().map(|c| c.depth).max().unwrap_or(8);
    match content(d) {
        Content::Rgb if depth <= 8 => "rgb24".to_owned(),
        Content::Rgb => "rgb48le".to_owned(),
        Content::Gray if depth <= 8 => "gray".to_owned(),
        Content::Gray => "gray16le".to_owned(),
        Content::Yuv | Content::FullRangeYuv => nearest_yuv(d, depth),
    }
}

/// What a format holds.
pub(crate) fn content(d: &PixelDescription) -> Content {
    if d.rgb || d.palette || d.bayer || is_xyz(d) {
        Content::Rgb
    } else if d.components().len() < 3 {
        Content::Gray
    } else if d.name.starts_with("yuvj") {
        Content::FullRangeYuv
    } else {
        Content::Yuv
    }
}

fn nearest_yuv(d: &PixelDescription, depth: i32) -> String {
    let (sampling, can_be_deep) = match (d.log2_chroma_w, d.log2_chroma_h) {
        (1, 1) => ("420", true),
        (1, 0) => ("422", true),
        (0, 1) => ("440", true),
        (2, 0) => ("411", false),
        (2, 2) => ("410", false),
        _ => ("444", true),
    };
    match depth {
        ..=8 => format!("yuv{sampling}p"),
        _ if !can_be_deep => "yuv444p16le".to_owned(),
        9..=10 => format!("yuv{sampling}p10le"),
        11..=12 => format!("yuv{sampling}p12le"),
        _ if sampling == "440" => "yuv444p16le".to_owned(),
        _ => format!("yuv{sampling}p16le"),
    }
}

/// No flag tells XYZ from YUV.
fn is_xyz(d: &PixelDescription) -> bool {
    d.name.starts_with("xyz")
}

fn gray(colors: &[Component], bytes: i32) -> Option<(Layout, [usize; 3])> {
    is_plane(&colors[0], 0, bytes).then_some((Layout::Gray, [0, 0, 0]))
}

fn yuv_planar(d: &PixelDescription, colors: &[Component], bytes: i32) -> Option<(Layout, [usize; 3])> {
    let planes = (0..3).all(|i| is_plane(&colors[i], i as i32, bytes));
    let layout = Layout::YuvPlanar { log2_chroma_w: d.log2_chroma_w, log2_chroma_h: d.log2_chroma_h };
    planes.then_some((layout, [0, 1, 2]))
}

fn yuv_semi_planar(d: &PixelDescription, colors: &[Component], bytes: i32) -> Option<(Layout, [usize; 3])> {
    let [y, u, v] = colors else { return None };
    let paired = (u.plane, u.step, v.plane, v.step) == (1, 2 * bytes, 1, 2 * bytes);
    let swap_uv = match (u.offset, v.offset) {
        (0, o) if o == bytes => false,
        (o, 0) if o == bytes => true,
        _ => return None,
    };
    let layout =
        Layout::YuvSemiPlanar { log2_chroma_w: d.log2_chroma_w, log2_chroma_h: d.log2_chroma_h, swap_uv };
    (paired && is_plane(y, 0, bytes)).then_some((layout, [0, 1, 0]))
}

/// gbrp and its like: three planes in FFmpeg's order G, B, R.
fn rgb_planar(colors: &[Component], bytes: i32) -> Option<(Layout, [usize; 3])> {
    let mut planes = [0; 3];
    for (plane, color) in planes.iter_mut().zip(colors) {
        if !is_plane(color, color.plane, bytes) || !(0..3).contains(&color.plane) {
            return None;
        }
        *plane = color.plane as usize;
    }
    let distinct = planes[0] != planes[1] && planes[1] != planes[2] && planes[0] != planes[2];
    distinct.then_some((Layout::RgbPlanar, planes))
}

fn rgb_packed(colors: &[Component], bytes: i32, shift: i32) -> Option<(Layout, [usize; 3])> {
    let channels = colors[0].step / bytes;
    let regular = |c: &Component| {
        c.plane == 0 && c.step == channels * bytes && c.offset % bytes == 0 && c.offset < c.step
    };
    if shift != 0 || !(3..=4).contains(&channels) || !colors.iter().all(regular) {
        return None;
    }
    let at = |i: usize| (colors[i].offset / bytes) as u8;
    let layout = Layout::RgbPacked { channels: channels as u8, r: at(0), g: at(1), b: at(2) };
    Some((layout, [0, 0, 0]))
}

/// Whether a component is alone in its plane.
fn is_plane(c: &Component, plane: i32, bytes: i32) -> bool {
    (c.plane, c.step, c.offset) == (plane, bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::{by_name, describe};

    fn lent(name: &str) -> Option<Lending> {
        lend(&describe(by_name(name).unwrap()).unwrap())
    }

    #[test]
    fn common_formats_are_lent_as_they_are() {
        let planar = |bits, w, h| PixelFormat::yuv_planar(bits, w, h);
        for (name, format) in [
            ("yuv420p", planar(8, 1, 1)),
            ("yuvj420p", planar(8, 1, 1)),
            ("yuva420p", planar(8, 1, 1)),
            ("yuv422p", planar(8, 1, 0)),
            ("yuv444p", planar(8, 0, 0)),
            ("yuv411p", planar(8, 2, 0)),
            ("yuv440p", planar(8, 0, 1)),
            ("yuv420p10le", planar(10, 1, 1)),
            ("yuv444p12le", planar(12, 0, 0)),
            ("yuv422p16le", planar(16, 1, 0)),
        ] {
            assert_eq!(lent(name), Some(Lending { format, planes: [0, 1, 2] }), "{name}");
        }
    }

    #[test]
    fn two_planes_keep_their_order_and_shift() {
        let semi = |swap_uv, bits, shift| PixelFormat {
            layout: Layout::YuvSemiPlanar { log2_chroma_w: 1, log2_chroma_h: 1, swap_uv },
            bits,
            shift,
        };
        for (name, format) in
            [("nv12", semi(false, 8, 0)), ("nv21", semi(true, 8, 0)), ("p010le", semi(false, 10, 6))]
        {
            assert_eq!(lent(name), Some(Lending { format, planes: [0, 1, 0] }), "{name}");
        }
    }

    #[test]
    fn rgb_finds_its_channels() {
        let packed = |channels, r, g, b, bits| PixelFormat {
            layout: Layout::RgbPacked { channels, r, g, b },
            bits,
            shift: 0,
        };
        for (name, format) in [
            ("rgb24", packed(3, 0, 1, 2, 8)),
            ("bgr24", packed(3, 2, 1, 0, 8)),
            ("rgba", packed(4, 0, 1, 2, 8)),
            ("bgra", packed(4, 2, 1, 0, 8)),
            ("argb", packed(4, 1, 2, 3, 8)),
            ("0rgb", packed(4, 1, 2, 3, 8)),
            ("rgb48le", packed(3, 0, 1, 2, 16)),
            ("rgba64le", packed(4, 0, 1, 2, 16)),
        ] {
            assert_eq!(lent(name), Some(Lending { format, planes: [0, 0, 0] }), "{name}");
        }
        let planar = |bits| PixelFormat { layout: Layout::RgbPlanar, bits, shift: 0 };
        assert_eq!(lent("gbrp"), Some(Lending { format: planar(8), planes: [2, 0, 1] }));
        assert_eq!(lent("gbrap16le"), Some(Lending { format: planar(16), planes: [2, 0, 1] }));
    }

    #[test]
    fn the_rest_is_converted_to_its_nearest() {
        for (name, target) in [
            ("pal8", "rgb24"),
            ("bayer_rggb8", "rgb24"),
            ("rgb565le", "rgb24"),
            ("rgb48be", "rgb48le"),
            ("gbrpf32le", "rgb48le"),
            ("xyz12le", "rgb48le"),
            ("x2rgb10le", "rgb48le"),
            ("monow", "gray"),
            ("ya8", "gray"),
            ("gray16be", "gray16le"),
            ("yuyv422", "yuv422p"),
            ("y210le", "yuv422p10le"),
            ("yuv420p10be", "yuv420p10le"),
        ] {
            let description = describe(by_name(name).unwrap()).unwrap();
            assert_eq!(lend(&description), None, "{name}");
            assert_eq!(nearest(&description), target, "{name}");
        }
    }

    #[test]
    fn every_format_is_lent_or_converted_to_one_that_is() {
        for format in 0.. {
            let Some(description) = describe(format) else { break };
            if description.hardware || lend(&description).is_some() {
                continue;
            }
            assert!(lent(&nearest(&description)).is_some(), "{}", description.name);
        }
    }
}
