//! The pass against a naive one: every output pixel on its own, in double precision.

use proptest::prelude::*;

use super::*;
use crate::{
    ChannelOrder, ChromaSiting, ColorMatrix, ColorRange, ElementType, Layout, Rect, ResizeMode, TensorLayout,
};

/// A picture that owns its planes.
#[derive(Clone, Debug)]
struct Owned {
    format: PixelFormat,
    size: Size,
    color: ColorSpec,
    rotation: Rotation,
    data: Vec<Vec<u8>>,
    stride: Vec<usize>,
}

impl Owned {
    fn new(
        format: PixelFormat,
        size: Size,
        color: ColorSpec,
        rotation: Rotation,
        slack: usize,
        mut byte: impl FnMut() -> u8,
    ) -> Self {
        let mut owned = Self { format, size, color, rotation, data: Vec::new(), stride: Vec::new() };
        for plane in 0..format.plane_count() {
            let (rows, row) = format.plane_shape(plane, size);
            let mut data: Vec<u8> = (0..(row + slack) * (rows - 1) + row).map(|_| byte()).collect();
            if format.bits > 8 {
                // Codes within their bits, as decoders give them.
                for row in data.chunks_mut(row + slack) {
                    for sample in row.as_chunks_mut::<2>().0 {
                        let mask = ((1u32 << format.bits) - 1) as u16;
                        *sample = ((u16::from_le_bytes(*sample) & mask) << format.shift).to_le_bytes();
                    }
                }
            }
            owned.data.push(data);
            owned.stride.push(row + slack);
        }
        owned
    }
    fn planes(&self) -> Planes<'_> {
        let plane = |i: usize| self.data.get(i).map_or(&[][..], |data| data);
        let stride = |i: usize| self.stride.get(i).copied().unwrap_or(0);
        Planes {
            format: self.format,
            size: self.size,
            color: self.color,
            rotation: self.rotation,
            data: [plane(0), plane(1), plane(2)],
            stride: [stride(0), stride(1), stride(2)],
        }
    }
    fn sample(&self, plane: usize, x: usize, y: usize, step: usize, first: usize) -> f64 {
        let at = x * step + first;
        let row = &self.data[plane][y * self.stride[plane]..];
        if self.format.bits == 8 {
            f64::from(row[at])
        } else {
            f64::from(u16::from_le_bytes([row[2 * at], row[2 * at + 1]]) >> self.format.shift)
        }
    }
    /// One component at decoded luma coordinates.
    fn component(&self, at: (f64, f64), place: (usize, usize, usize), log2: (u8, u8)) -> f64 {
        let (plane, step, first) = place;
        let width = (self.size.width as usize).div_ceil(1 << log2.0);
        let height = (self.size.height as usize).div_ceil(1 << log2.1);
        let first_x = matches!(self.color.siting, ChromaSiting::Left | ChromaSiting::TopLeft);
        let first_y = matches!(self.color.siting, ChromaSiting::Top | ChromaSiting::TopLeft);
        let place = |at: f64, log2: u8, first: bool, count: usize| {
            let half = if first { 0.0 } else { 0.5 };
            ((at + half) / f64::from(1 << log2) - half).clamp(0.0, (count - 1) as f64)
        };
        let (x, y) = (place(at.0, log2.0, first_x, width), place(at.1, log2.1, first_y, height));
        let (x0, y0) = (x as usize, y as usize);
        let (x1, y1) = ((x0 + 1).min(width - 1), (y0 + 1).min(height - 1));
        let (u, v) = (x.fract(), y.fract());
        let get = |x, y| self.sample(plane, x, y, step, first);
        (get(x0, y0) * (1.0 - u) + get(x1, y0) * u) * (1.0 - v)
            + (get(x0, y1) * (1.0 - u) + get(x1, y1) * u) * v
    }
    /// R, G, B and luma in 0..=255 at decoded luma coordinates.
    fn rgb_and_luma(&self, at: (f64, f64)) -> ([f64; 3], f64) {
        let top = f64::from((1u32 << self.format.bits) - 1);
        let unit = f64::from(1u32 << (self.format.bits - 8));
        let full = self.color.range == ColorRange::Full;
        let luma = |y: f64| if full { y / top } else { (y / unit - 16.0) / 219.0 };
        let chroma = |c: f64| (c / unit - 128.0) / if full { top / unit } else { 224.0 };
        let (y, u, v) = match self.format.layout {
            Layout::Gray => (self.component(at, (0, 1, 0), (0, 0)), None, None),
            Layout::YuvPlanar { log2_chroma_w: w, log2_chroma_h: h } => (
                self.component(at, (0, 1, 0), (0, 0)),
                Some(self.component(at, (1, 1, 0), (w, h))),
                Some(self.component(at, (2, 1, 0), (w, h))),
            ),
            Layout::YuvSemiPlanar { log2_chroma_w: w, log2_chroma_h: h, swap_uv } => {
                let swap = usize::from(swap_uv);
                (
                    self.component(at, (0, 1, 0), (0, 0)),
                    Some(self.component(at, (1, 2, swap), (w, h))),
                    Some(self.component(at, (1, 2, 1 - swap), (w, h))),
                )
            }
            Layout::RgbPlanar | Layout::RgbPacked { .. } => {
                let place = |c: usize| match self.format.layout {
                    Layout::RgbPacked { channels, r, g, b } => {
                        (0, usize::from(channels), usize::from([r, g, b][c]))
                    }
                    _ => (c, 1, 0),
                };
                let rgb = [0, 1, 2].map(|c| self.component(at, place(c), (0, 0)) * 255.0 / top);
                return (rgb, 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]);
            }
        };
        let y = luma(y);
        let (Some(u), Some(v)) = (u.map(chroma), v.map(chroma)) else {
            return ([y * 255.0; 3], y * 255.0);
        };
        let (kr, kb) = self.color.matrix.weights();
        let (red, blue) = (y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u);
        let green = (y - kr * red - kb * blue) / (1.0 - kr - kb);
        ([red, green, blue].map(|value| value * 255.0), y * 255.0)
    }
}

/// R, G, B and luma as an interpolation of the converted, clamped picture.
fn interpolated(picture: &Owned, at: (f64, f64)) -> ([f64; 3], f64) {
    if !matches!(picture.format.layout, Layout::YuvPlanar { .. } | Layout::YuvSemiPlanar { .. }) {
        return picture.rgb_and_luma(at);
    }
    let (u, v) = (at.0.fract(), at.1.fract());
    let right = (at.0.floor() + 1.0).min(f64::from(picture.size.width - 1));
    let below = (at.1.floor() + 1.0).min(f64::from(picture.size.height - 1));
    let mut rgb = [0.0; 3];
    for (x, y, share) in [
        (at.0.floor(), at.1.floor(), (1.0 - u) * (1.0 - v)),
        (right, at.1.floor(), u * (1.0 - v)),
        (at.0.floor(), below, (1.0 - u) * v),
        (right, below, u * v),
    ] {
        let corner = picture.rgb_and_luma((x, y)).0;
        for (sum, value) in rgb.iter_mut().zip(corner) {
            *sum += value.clamp(0.0, 255.0) * share;
        }
    }
    (rgb, picture.rgb_and_luma(at).1)
}

/// The tensor's values, in its own order of elements.
fn naive(spec: &TensorSpec, picture: &Owned) -> Vec<f64> {
    let displayed = picture.size.rotated(picture.rotation);
    let geometry = Geometry::new(displayed, spec.size, spec.resize);
    let (dw, dh) = (f64::from(displayed.width), f64::from(displayed.height));
    let (w, h) = (spec.size.width as usize, spec.size.height as usize);
    let channels = spec.channels.count();
    let mut out = vec![0.0; w * h * channels];
    for (oy, ox) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
        let x = (ox as f64 + 0.5 - geometry.offset[0]) / geometry.scale[0];
        let y = (oy as f64 + 0.5 - geometry.offset[1]) / geometry.scale[1];
        let inside = x > 0.0 && y > 0.0 && x < dw && y < dh;
        let x = (x - 0.5).clamp(0.0, dw - 1.0);
        let y = (y - 0.5).clamp(0.0, dh - 1.0);
        let at = match picture.rotation {
            Rotation::None => (x, y),
            Rotation::Clockwise => (y, dw - 1.0 - x),
            Rotation::Half => (dw - 1.0 - x, dh - 1.0 - y),
            Rotation::CounterClockwise => (dh - 1.0 - y, x),
        };
        let (rgb, luma) = interpolated(picture, at);
        for c in 0..channels {
            let value = match spec.channels {
                ChannelOrder::Rgb => rgb[c],
                ChannelOrder::Bgr => rgb[2 - c],
                ChannelOrder::Gray => luma,
            };
            let value = if inside { value.clamp(0.0, 255.0) } else { f64::from(spec.pad) };
            let value = (value * f64::from(spec.scale) - f64::from(spec.mean[c])) / f64::from(spec.std[c]);
            let index = match spec.layout {
                TensorLayout::Nchw => (c * h + oy) * w + ox,
                TensorLayout::Nhwc => (oy * w + ox) * channels + c,
            };
            out[index] = value;
        }
    }
    out
}

fn values(element: ElementType, bytes: &[u8]) -> Vec<f64> {
    let chunks = bytes.chunks_exact(element.bytes());
    let value = |chunk: &[u8]| match element {
        ElementType::F32 => f64::from(f32::from_ne_bytes(chunk.try_into().unwrap())),
        ElementType::F16 => half::f16::from_ne_bytes(chunk.try_into().unwrap()).to_f64(),
        ElementType::U8 => f64::from(chunk[0]),
    };
    chunks.map(value).collect()
}

fn formats() -> Vec<PixelFormat> {
    let mut formats = vec![PixelFormat::GRAY8, PixelFormat::NV12, PixelFormat::P010, PixelFormat::RGB24];
    for (w, h) in [(1, 1), (1, 0), (0, 0), (2, 0), (2, 2), (0, 1)] {
        formats.extend([8, 10, 12, 16].map(|bits| PixelFormat::yuv_planar(bits, w, h)));
    }
    let nv21 = Layout::YuvSemiPlanar { log2_chroma_w: 1, log2_chroma_h: 1, swap_uv: true };
    let nv16 = Layout::YuvSemiPlanar { log2_chroma_w: 1, log2_chroma_h: 0, swap_uv: false };
    let bgra = Layout::RgbPacked { channels: 4, r: 2, g: 1, b: 0 };
    for layout in [nv21, nv16, bgra, Layout::RgbPlanar, Layout::Gray] {
        formats.extend([8, 10, 16].map(|bits| PixelFormat { layout, bits, shift: 0 }));
    }
    formats
}

fn specs() -> impl Strategy<Value = TensorSpec> {
    let element = prop::sample::select(vec![ElementType::F32, ElementType::F16, ElementType::U8]);
    let layout = prop::sample::select(vec![TensorLayout::Nchw, TensorLayout::Nhwc]);
    let channels = prop::sample::select(vec![ChannelOrder::Rgb, ChannelOrder::Bgr, ChannelOrder::Gray]);
    let resize = prop::sample::select(vec![
        ResizeMode::Letterbox,
        ResizeMode::LetterboxTopLeft,
        ResizeMode::Stretch,
        ResizeMode::CenterCrop,
    ]);
    (1u32..60, 1u32..60, element, layout, channels, resize, any::<u8>()).prop_map(
        |(w, h, element, layout, channels, resize, pad)| {
            let mut spec =
                TensorSpec { element, layout, channels, resize, pad, ..TensorSpec::yolo(Size::new(w, h)) };
            if element == ElementType::U8 {
                spec.scale = 1.0;
            } else {
                (spec.mean, spec.std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
            }
            spec
        },
    )
}

fn pictures() -> impl Strategy<Value = Owned> {
    let matrix = prop::sample::select(vec![ColorMatrix::Bt601, ColorMatrix::Bt709, ColorMatrix::Bt2020]);
    let range = prop::sample::select(vec![ColorRange::Limited, ColorRange::Full]);
    let rotation = prop::sample::select(vec![
        Rotation::None,
        Rotation::Clockwise,
        Rotation::Half,
        Rotation::CounterClockwise,
    ]);
    let format = prop::sample::select(formats());
    let siting = prop::sample::select(vec![
        ChromaSiting::Left,
        ChromaSiting::Center,
        ChromaSiting::TopLeft,
        ChromaSiting::Top,
    ]);
    (format, 1u32..90, 1u32..90, (matrix, range), siting, rotation, 0usize..9, any::<u32>()).prop_map(
        |(format, w, h, (matrix, range), siting, rotation, slack, seed)| {
            let mut state = seed | 1;
            let byte = || {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state >> 11) as u8
            };
            let color = ColorSpec { siting, ..ColorSpec::new(matrix, range) };
            Owned::new(format, Size::new(w, h), color, rotation, slack, byte)
        },
    )
}

fn run_at(level: Level, spec: &TensorSpec, picture: &Owned, misaligned: usize) -> Vec<u8> {
    let planes = picture.planes();
    let Planes { format, size, color, rotation, .. } = planes;
    let mut preprocess = Preprocess::at(level, spec, Kind { format, size, color, rotation }).unwrap();
    let mut out = vec![0xA5; spec.item_bytes() + misaligned];
    preprocess.run(&planes, &mut out[misaligned..]).unwrap();
    out.split_off(misaligned)
}

/// The specification of images as bytes, of the picture's own size.
fn plain(picture: &Owned, channels: ChannelOrder) -> TensorSpec {
    TensorSpec {
        element: ElementType::U8,
        layout: TensorLayout::Nhwc,
        channels,
        resize: ResizeMode::Stretch,
        scale: 1.0,
        ..TensorSpec::yolo(picture.size.rotated(picture.rotation))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_plain_pass_equals_the_general_one(picture in pictures(), bgr: bool) {
        let spec = plain(&picture, if bgr { ChannelOrder::Bgr } else { ChannelOrder::Rgb });
        let planes = picture.planes();
        let mut preprocess = Preprocess::for_planes(&spec, &planes).unwrap();
        let is_yuv = matches!(picture.format.layout, Layout::YuvPlanar { .. } | Layout::YuvSemiPlanar { .. });
        // A column is the same when it is turned.
        prop_assert!(picture.size.width == 1 || preprocess.is_plain == (is_yuv && picture.rotation == Rotation::None));
        let [mut found, mut expected] = [0xA5, 0x5A].map(|byte| vec![byte; spec.item_bytes()]);
        preprocess.run(&planes, &mut found).unwrap();
        preprocess.is_plain = false;
        preprocess.run(&planes, &mut expected).unwrap();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn equals_the_naive_pass(spec in specs(), picture in pictures(), misaligned in 0usize..4) {
        let found = values(spec.element, &run_at(Level::best(), &spec, &picture, misaligned));
        let expected = naive(&spec, &picture);
        let is_integer = spec.channels != ChannelOrder::Gray
            && matches!(picture.format.layout, Layout::YuvPlanar { .. } | Layout::YuvSemiPlanar { .. });
        let arithmetic = if is_integer { 0.5 } else { 0.01 };
        prop_assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            // Of 255: half a code for the integer arithmetic of YUV (0.4 has been seen), 0.01 in single precision; halves and bytes round.
            let unit = f64::from(spec.scale / spec.std[0].min(spec.std[1]).min(spec.std[2]));
            let rounding = match spec.element {
                ElementType::F32 => 0.0,
                ElementType::F16 => expected.abs() / 2048.0 + 1e-6,
                ElementType::U8 => 0.5,
            };
            prop_assert!((found - expected).abs() <= arithmetic * unit + rounding, "at {i}: {found} is not {expected}");
        }
    }

    #[test]
    fn every_level_gives_the_same_bytes(spec in specs(), picture in pictures()) {
        let mut levels = Level::all().into_iter();
        let scalar = run_at(levels.next().unwrap(), &spec, &picture, 0);
        for level in levels {
            prop_assert!(run_at(level, &spec, &picture, 0) == scalar, "{} differs", level.name());
        }
    }

    #[test]
    fn a_mark_maps_back_to_where_it_was(
        turn in 0usize..4, mode in 0usize..4, x in 200u32..500, y in 150u32..300, side in 60u32..120,
        input in (200u32..500, 200u32..500),
    ) {
        let rotation =
            [Rotation::None, Rotation::Clockwise, Rotation::Half, Rotation::CounterClockwise][turn];
        let resize = [
            ResizeMode::Letterbox, ResizeMode::LetterboxTopLeft, ResizeMode::Stretch, ResizeMode::CenterCrop,
        ][mode];
        let size = Size::new(803, 601);
        let mut picture =
            Owned::new(PixelFormat::GRAY8, size, ColorSpec::default(), rotation, 0, || 16);
        for row in y..y + side {
            let start = (row * size.width + x) as usize;
            picture.data[0][start..start + side as usize].fill(235);
        }
        let mark = Rect::new(x as f32, y as f32, (x + side) as f32, (y + side) as f32)
            .rotate(size, rotation);
        let spec = TensorSpec {
            resize, pad: 0, channels: ChannelOrder::Gray, ..TensorSpec::yolo(Size::new(input.0, input.1))
        };
        let out = values(ElementType::F32, &run_at(Level::best(), &spec, &picture, 0));
        let geometry = *Preprocess::for_planes(&spec, &picture.planes()).unwrap().geometry();
        let visible = geometry.to_input(mark);
        prop_assume!(visible == visible.clip(spec.size));
        let found = geometry.to_displayed(bright_box(&out, spec.size));
        // A pixel of the input is some pixels of the frame; interpolation finds the edge within half an input pixel.
        for (a, b, axis) in [
            (mark.x1, found.x1, 0), (mark.y1, found.y1, 1), (mark.x2, found.x2, 0), (mark.y2, found.y2, 1),
        ] {
            let half = 0.5 / geometry.scale[axis] as f32 + 0.5;
            prop_assert!((a - b).abs() <= half, "{mark:?} came back as {found:?}");
        }
    }
}

/// The box of values above one half.
fn bright_box(values: &[f64], size: Size) -> Rect {
    let (mut x1, mut y1, mut x2, mut y2) = (f32::MAX, f32::MAX, 0f32, 0f32);
    for (i, _) in values.iter().enumerate().filter(|(_, value)| **value > 0.5) {
        let (x, y) = ((i as u32 % size.width) as f32, (i as u32 / size.width) as f32);
        (x1, y1, x2, y2) = (x1.min(x), y1.min(y), x2.max(x + 1.0), y2.max(y + 1.0));
    }
    Rect::new(x1, y1, x2, y2)
}

#[test]
fn thin_pictures_give_whole_tensors() {
    for (w, h) in [(1, 1), (1, 5000), (5000, 1), (3, 4097)] {
        for format in formats() {
            let picture =
                Owned::new(format, Size::new(w, h), ColorSpec::default(), Rotation::Clockwise, 0, || 128);
            for resize in [ResizeMode::Letterbox, ResizeMode::LetterboxTopLeft, ResizeMode::CenterCrop] {
                let spec = TensorSpec { resize, ..TensorSpec::yolo(Size::new(32, 24)) };
                let out = values(spec.element, &run_at(Level::best(), &spec, &picture, 0));
                assert!(out.iter().all(|value| (0.0..=1.0).contains(value)));
            }
        }
    }
}

#[test]
fn wrong_calls_are_refused() {
    let spec = TensorSpec::yolo(Size::new(32, 32));
    let picture =
        Owned::new(PixelFormat::YUV420P, Size::new(20, 10), ColorSpec::default(), Rotation::None, 0, || 7);
    let mut preprocess = Preprocess::for_planes(&spec, &picture.planes()).unwrap();
    let mut out = vec![0; spec.item_bytes()];
    let needed = spec.item_bytes();
    assert_eq!(
        preprocess.run(&picture.planes(), &mut out[1..]),
        Err(PreprocessError::Output { found: needed - 1, needed })
    );
    let turned = Planes { rotation: Rotation::Half, ..picture.planes() };
    assert!(!preprocess.fits(&turned));
    assert!(matches!(preprocess.run(&turned, &mut out), Err(PreprocessError::Unplanned { .. })));
    let mut short = picture.planes();
    short.data[2] = &short.data[2][1..];
    assert!(matches!(preprocess.run(&short, &mut out), Err(PreprocessError::Planes(_))));
    assert!(out.iter().all(|&byte| byte == 0));
}

#[test]
fn impossible_plans_are_refused() {
    let plan = |spec: &TensorSpec, format, size| {
        Preprocess::new(spec, format, size, ColorSpec::default(), Rotation::None).map(|_| ())
    };
    let good = TensorSpec::yolo(Size::new(32, 32));
    let size = Size::new(64, 64);
    assert_eq!(plan(&good, PixelFormat::YUV420P, size), Ok(()));
    let empty = Size::new(0, 64);
    assert_eq!(plan(&good, PixelFormat::YUV420P, empty), Err(PlanError::Picture(empty)));
    let huge = Size::new(MAX_SIDE + 1, 1);
    assert_eq!(plan(&TensorSpec::yolo(huge), PixelFormat::YUV420P, size), Err(PlanError::Input(huge)));
    let flat = TensorSpec { std: [1.0, 0.0, 1.0], ..good.clone() };
    assert!(matches!(
        plan(&flat, PixelFormat::YUV420P, size),
        Err(PlanError::Normalisation { channel: 1, .. })
    ));
    for format in [PixelFormat { bits: 7, ..PixelFormat::GRAY8 }, PixelFormat::yuv_planar(8, 3, 0)] {
        assert!(matches!(plan(&good, format, size), Err(PlanError::Format(_))));
    }
}

/// Wide pictures, whose lines fill whole registers, at the level of this name and at the plain one.
#[allow(clippy::print_stdout, reason = "tools/run_tests.py counts what says that it is skipped")]
fn wide_pictures_are_the_same_at(name: &str) {
    let Some(level) = Level::all().into_iter().find(|level| level.name() == name) else {
        println!("skipped: SIMD level {name}: this processor lacks it");
        return;
    };
    let plain = Level::all()[0];
    let mut state = 1u32;
    for format in formats() {
        for (size, rotation) in [(Size::new(1920, 30), Rotation::None), (Size::new(1283, 34), Rotation::Half)]
        {
            let picture = Owned::new(format, size, ColorSpec::default(), rotation, 3, || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 20) as u8
            });
            for (side, element) in [
                (160, ElementType::F16),
                (320, ElementType::F32),
                (640, ElementType::U8),
                (1280, ElementType::F32),
            ] {
                for layout in [TensorLayout::Nchw, TensorLayout::Nhwc] {
                    let scale = if element == ElementType::U8 { 1.0 } else { 1.0 / 255.0 };
                    let spec = TensorSpec {
                        element,
                        layout,
                        scale,
                        resize: ResizeMode::Stretch,
                        ..TensorSpec::yolo(Size::new(side, 20))
                    };
                    let [found, expected] = [level, plain].map(|level| run_at(level, &spec, &picture, 0));
                    assert!(found == expected, "{name}: {format:?} of {size:?} to {spec:?} differs");
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn wide_pictures_are_the_same_with_avx2() {
    wide_pictures_are_the_same_at("avx2");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn wide_pictures_are_the_same_with_avx512() {
    wide_pictures_are_the_same_at("avx512");
}

#[cfg(target_arch = "aarch64")]
#[test]
fn wide_pictures_are_the_same_with_neon() {
    wide_pictures_are_the_same_at("neon");
}
