use proptest::prelude::*;

use super::*;

/// Random planes that own their bytes.
struct Owned {
    format: PixelFormat,
    size: Size,
    rotation: Rotation,
    data: Vec<Vec<u8>>,
}

impl Owned {
    fn new(format: PixelFormat, size: Size, rotation: Rotation, seed: u64) -> Self {
        let mut state = seed | 1;
        let mut byte = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let plane = |plane: usize| {
            let (rows, row) = format.plane_shape(plane, size);
            let mut bytes: Vec<u8> = (0..rows * row).map(|_| byte()).collect();
            if format.bits > 8 {
                bytes.chunks_mut(2).for_each(|sample| sample[1] &= (1 << (format.bits - 8)) - 1);
            }
            bytes
        };
        Self { format, size, rotation, data: (0..format.plane_count()).map(plane).collect() }
    }

    fn planes(&self) -> Planes<'_> {
        let stride = |plane: usize| self.format.plane_shape(plane, self.size).1;
        Planes {
            format: self.format,
            size: self.size,
            color: ColorSpec::default(),
            rotation: self.rotation,
            data: std::array::from_fn(|plane| self.data.get(plane).map_or(&[][..], Vec::as_slice)),
            stride: std::array::from_fn(|plane| if plane < self.data.len() { stride(plane) } else { 0 }),
        }
    }

    fn whole(&self) -> Vec<u8> {
        let planes = self.planes();
        let spec = bytes_of(planes.displayed_size());
        let mut out = vec![0; spec.item_bytes()];
        Preprocess::for_planes(&spec, &planes).unwrap().run(&planes, &mut out).unwrap();
        out
    }
}

fn rows(planes: &Planes<'_>) -> Vec<u8> {
    let row = planes.size.width as usize * 3;
    let rows = (0..planes.size.height as usize).map(|y| &planes.data[0][y * planes.stride[0]..][..row]);
    rows.flatten().copied().collect()
}

fn part_of(whole: &[u8], width: u32, crop: Crop) -> Vec<u8> {
    let row = |y: u32| {
        let from = ((crop.top + y) * width + crop.left) as usize * 3;
        &whole[from..from + crop.size.width as usize * 3]
    };
    (0..crop.size.height).flat_map(row).copied().collect()
}

fn formats() -> impl Strategy<Value = PixelFormat> {
    let packed = Layout::RgbPacked { channels: 4, r: 2, g: 1, b: 0 };
    proptest::sample::select(vec![
        PixelFormat::YUV420P,
        PixelFormat::NV12,
        PixelFormat::yuv_planar(8, 1, 0),
        PixelFormat::yuv_planar(8, 2, 2),
        PixelFormat::yuv_planar(8, 0, 0),
        PixelFormat::yuv_planar(10, 1, 1),
        PixelFormat::GRAY8,
        PixelFormat::RGB24,
        PixelFormat { layout: packed, bits: 8, shift: 0 },
        PixelFormat { layout: Layout::RgbPlanar, bits: 8, shift: 0 },
    ])
}

fn rotations() -> impl Strategy<Value = Rotation> {
    let all = [Rotation::None, Rotation::Clockwise, Rotation::Half, Rotation::CounterClockwise];
    proptest::sample::select(all.to_vec())
}

proptest! {
    #[test]
    fn a_part_has_the_bytes_of_the_whole(
        format in formats(), rotation in rotations(), (width, height) in (1_u32..70, 1_u32..50),
        from in (0.0..1.0, 0.0..1.0), length in (0.0..1.0, 0.0..1.0), seed in any::<u64>(),
    ) {
        let owned = Owned::new(format, Size::new(width, height), rotation, seed);
        let planes = owned.planes();
        let picture = planes.displayed_size();
        let axis = |from: f64, length: f64, end: u32| {
            let first = (from * f64::from(end)) as u32;
            (first, 1 + (length * f64::from(end - first - 1)) as u32)
        };
        let (left, wide) = axis(from.0, length.0, picture.width);
        let (top, high) = axis(from.1, length.1, picture.height);
        let crop = Crop { left, top, size: Size::new(wide, high) };
        let mut cutter = Cutter::default();
        let cut = cutter.cut(&planes, crop).unwrap();
        prop_assert_eq!(rows(&cut), part_of(&owned.whole(), picture.width, crop));
    }

    #[test]
    fn upright_corners_give_the_very_pixels(
        rotation in rotations(), left in 0_u32..30, top in 0_u32..20, wide in 3_u32..30, high in 2_u32..20, seed in any::<u64>(),
    ) {
        let owned = Owned::new(PixelFormat::YUV420P, Size::new(60, 60), rotation, seed);
        let planes = owned.planes();
        let crop = Crop { left, top, size: Size::new(wide, high) };
        let [x1, y1, x2, y2] = [left, top, left + wide, top + high].map(|n| n as f32);
        let quad = Quad::new([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], planes.displayed_size()).unwrap();
        let mut expected = part_of(&owned.whole(), 60, crop);
        if f64::from(high) / f64::from(wide) >= 1.5 {
            let pixel = |x: u32, y: u32| expected[((y * wide + x) * 3) as usize..][..3].to_vec();
            expected = (0..wide).rev().flat_map(|x| (0..high).map(move |y| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
        }
        let mut cutter = Cutter::default();
        prop_assert_eq!(rows(&cutter.straighten(&planes, &quad).unwrap()), expected);
        let corner = quad.to_picture([0.0, 0.0]);
        let origin = if quad.size() == crop.size { [x1, y1] } else { [x2, y1] };
        prop_assert_eq!(corner, origin);
    }

    #[test]
    fn the_way_there_and_back(
        corners in [[0.0_f32..20.0, 0.0_f32..20.0], [80.0..100.0, 0.0..20.0], [80.0..100.0, 60.0..90.0], [0.0..20.0, 60.0..90.0]],
        point in [0.0_f32..60.0, 0.0_f32..60.0],
    ) {
        let quad = Quad::new(corners, Size::new(100, 100)).unwrap();
        let back = quad.from_picture(quad.to_picture(point));
        prop_assert!((back[0] - point[0]).abs() < 0.01 && (back[1] - point[1]).abs() < 0.01, "{back:?}");
    }

    #[test]
    fn no_corners_are_too_absurd(corners in proptest::array::uniform4(proptest::array::uniform2(
        prop_oneof![any::<f32>(), -100.0_f32..200.0, Just(f32::NAN), Just(-5.0)]
    ))) {
        let owned = Owned::new(PixelFormat::YUV420P, Size::new(60, 40), Rotation::None, 1);
        if let Ok(quad) = Quad::new(corners, Size::new(60, 40)) {
            Cutter::default().straighten(&owned.planes(), &quad).unwrap();
        }
    }
}

#[test]
fn a_box_is_rounded_outwards() {
    let picture = Size::new(100, 50);
    let around = |x1, y1, x2, y2| Crop::around(Rect::new(x1, y1, x2, y2), picture);
    let crop = |left, top, width, height| Some(Crop { left, top, size: Size::new(width, height) });
    assert_eq!(around(10.2, 5.0, 20.0, 7.1), crop(10, 5, 10, 3));
    assert_eq!(around(-5.0, -5.0, 0.5, 500.0), crop(0, 0, 1, 50));
    assert_eq!(around(100.0, 0.0, 120.0, 10.0), None);
    assert_eq!(around(f32::NAN, 0.0, 1.0, 1.0), None);
    assert_eq!(around(5.0, 5.0, 5.0, 9.0), None);
}

#[test]
fn what_lies_outside_is_refused() {
    let owned = Owned::new(PixelFormat::YUV420P, Size::new(8, 8), Rotation::None, 1);
    let crop = Crop { left: 5, top: 0, size: Size::new(4, 2) };
    assert!(matches!(Cutter::default().cut(&owned.planes(), crop), Err(CropError::Outside { .. })));
    let crop = Crop { left: u32::MAX, top: 0, size: Size::new(4, 2) };
    assert!(matches!(Cutter::default().cut(&owned.planes(), crop), Err(CropError::Outside { .. })));
}
