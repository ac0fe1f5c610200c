use proptest::prelude::*;

use super::*;
use crate::{ChannelOrder, ColorMatrix, Layout, Preprocess, ResizeMode, TensorLayout, TensorSpec};

const ROTATIONS: [Rotation; 4] =
    [Rotation::None, Rotation::Clockwise, Rotation::Half, Rotation::CounterClockwise];

fn noise(size: Size, seed: u32) -> Picture {
    let mut picture = Picture::new(size, ColorSpec::default());
    let mut state = seed | 1;
    for plane in picture.planes_mut() {
        for value in plane {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = (state >> 24) as u8;
        }
    }
    picture
}

/// The picture as red, green, blue bytes at its own size.
fn rgb(planes: &Planes<'_>) -> Vec<u8> {
    let spec = TensorSpec {
        element: crate::ElementType::U8,
        layout: TensorLayout::Nhwc,
        channels: ChannelOrder::Rgb,
        resize: ResizeMode::Stretch,
        scale: 1.0,
        ..TensorSpec::yolo(planes.displayed_size())
    };
    let mut out = vec![0; spec.item_bytes()];
    Preprocess::for_planes(&spec, planes).unwrap().run(planes, &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn turning_luma_moves_every_pixel(w in 1u32..80, h in 1u32..80, turn in 0usize..4, seed in any::<u32>()) {
        let (source, rotation) = (noise(Size::new(w, h), seed), ROTATIONS[turn]);
        let mut turned = Picture::new(Size::new(1, 1), source.color());
        turned.rotate_from(&source, rotation);
        prop_assert_eq!(turned.size(), source.size().rotated(rotation));
        prop_assert!(turned.planes().validate().is_ok());
        let (w, h) = (w as usize, h as usize);
        for (x, y) in (0..w).flat_map(|x| (0..h).map(move |y| (x, y))) {
            let (to_x, to_y) = match rotation {
                Rotation::None => (x, y),
                Rotation::Clockwise => (h - 1 - y, x),
                Rotation::Half => (w - 1 - x, h - 1 - y),
                Rotation::CounterClockwise => (y, w - 1 - x),
            };
            prop_assert_eq!(turned.planes[0][to_y * turned.stride(0) + to_x], source.planes[0][y * w + x]);
        }
    }

    #[test]
    fn turning_there_and_back_is_nothing(w in 1u32..40, h in 1u32..40, turn in 0usize..4, seed in any::<u32>()) {
        let (source, rotation) = (noise(Size::new(2 * w, 2 * h), seed), ROTATIONS[turn]);
        let (mut there, mut back) = (source.clone(), source.clone());
        there.rotate_from(&source, rotation);
        back.rotate_from(&there, rotation.inverse());
        prop_assert_eq!(back, source);
    }

    #[test]
    fn odd_chroma_keeps_its_place(w in 1u32..30, h in 1u32..30, turn in 0usize..4) {
        // A ramp of chroma: after turning, the ramp must run the other way at the same luma positions.
        let size = Size::new(2 * w + 1, 2 * h + 1);
        let mut source = Picture::new(size, ColorSpec::default());
        let stride = source.stride(1);
        for (i, value) in source.planes[1].iter_mut().enumerate() {
            *value = (2 * (i % stride) + 2 * (i / stride)) as u8;
        }
        let mut turned = source.clone();
        turned.rotate_from(&source, ROTATIONS[turn]);
        let orientation = ROTATIONS[turn].orientation();
        let stride = turned.stride(1);
        for (i, &found) in turned.planes[1].iter().enumerate() {
            let (x, y) = (i % stride, i / stride);
            let (x, y) = if orientation.transposed { (y, x) } else { (x, y) };
            let along = |at: usize, half: u32, flip| if flip { 2.0 * (f64::from(half) - 0.5 - at as f64) } else { 2.0 * at as f64 };
            let expected = along(x, w, orientation.flip_x).max(0.0) + along(y, h, orientation.flip_y).max(0.0);
            prop_assert!((f64::from(found) - expected).abs() <= 1.0, "{found} is not {expected}");
        }
    }

    #[test]
    fn colours_survive_the_codes(r: u8, g: u8, b: u8, matrix in 0usize..3, full: bool) {
        let matrix = [ColorMatrix::Bt601, ColorMatrix::Bt709, ColorMatrix::Bt2020][matrix];
        let color = ColorSpec::new(matrix, if full { ColorRange::Full } else { ColorRange::Limited });
        let mut picture = Picture::new(Size::new(3, 3), color);
        picture.fill([r, g, b]);
        for pixel in rgb(&picture.planes()).chunks(3) {
            for (found, expected) in pixel.iter().zip([r, g, b]) {
                prop_assert!(found.abs_diff(expected) <= 3, "{pixel:?} is not {:?}", [r, g, b]);
            }
        }
    }

    #[test]
    fn copies_look_like_their_source(w in 1u32..40, h in 1u32..40, kind in 0usize..10, value in any::<[u8; 3]>()) {
        // Flat pictures: every format must come out with the colour it went in with.
        let yuv = |bits, w, h| PixelFormat::yuv_planar(bits, w, h);
        let format = [
            yuv(8, 1, 1), yuv(8, 0, 0), yuv(10, 1, 0), yuv(8, 2, 2), yuv(16, 0, 1),
            PixelFormat::NV12, PixelFormat::P010, PixelFormat::GRAY8, PixelFormat::RGB24,
            PixelFormat { layout: Layout::RgbPlanar, bits: 12, shift: 0 },
        ][kind];
        let size = Size::new(w, h);
        let mut data: [Vec<u8>; 3] = Default::default();
        let mut stride = [0; 3];
        for plane in 0..format.plane_count() {
            let (rows, row) = format.plane_shape(plane, size);
            let samples = row / format.sample_bytes();
            let step = match format.layout {
                Layout::RgbPacked { .. } => 3,
                Layout::YuvSemiPlanar { .. } if plane == 1 => 2,
                _ => 1,
            };
            for i in (0..rows).flat_map(|_| 0..samples) {
                let code = u16::from(value[plane + i % step]) << (format.bits - 8) << format.shift;
                data[plane].extend(&code.to_le_bytes()[..format.sample_bytes()]);
            }
            stride[plane] = row;
        }
        let planes = Planes {
            format, size, color: ColorSpec::default(), rotation: Rotation::None,
            data: [&data[0], &data[1], &data[2]], stride,
        };
        let mut picture = Picture::new(Size::new(9, 9), ColorSpec::default());
        picture.copy_from(&planes).unwrap();
        for (found, expected) in rgb(&picture.planes()).into_iter().zip(rgb(&planes)) {
            prop_assert!(found.abs_diff(expected) <= 4, "{found} is not {expected} in {format:?}");
        }
    }
}

#[test]
fn resizing_keeps_the_buffers() {
    let mut picture = Picture::new(Size::new(640, 480), ColorSpec::default());
    let before = picture.planes[0].as_ptr();
    picture.resize(Size::new(33, 21), ColorSpec::default());
    assert_eq!((picture.plane_size(0), picture.plane_size(1)), ((33, 21), (17, 11)));
    picture.resize(Size::new(640, 480), ColorSpec::default());
    assert_eq!(picture.planes[0].as_ptr(), before);
}
