use proptest::prelude::*;

use super::*;

const MODES: [ResizeMode; 5] = [
    ResizeMode::Letterbox,
    ResizeMode::LetterboxTopLeft,
    ResizeMode::Stretch,
    ResizeMode::CenterCrop,
    ResizeMode::CenterCropFrom(Size::new(300, 500)),
];
const ROTATIONS: [Rotation; 4] =
    [Rotation::None, Rotation::Clockwise, Rotation::Half, Rotation::CounterClockwise];

fn side() -> impl Strategy<Value = u32> {
    prop_oneof![1u32..=4, 1u32..=4096, Just(65_536)]
}

fn size() -> impl Strategy<Value = Size> {
    (side(), side()).prop_map(|(w, h)| Size::new(w, h))
}

#[test]
fn letterbox_places_as_ultralytics_does() {
    // (displayed, input) -> (resized, left, top), by the formulas of ultralytics.data.augment.LetterBox.
    let cases = [
        ((1920, 1080), (640, 640), (640, 360), (0, 140)),
        ((1280, 720), (320, 320), (320, 180), (0, 70)),
        ((640, 272), (512, 512), (512, 218), (0, 147)),
        ((1080, 1920), (640, 640), (360, 640), (140, 0)),
        ((333, 500), (640, 640), (426, 640), (107, 0)),
        ((101, 200), (100, 100), (50, 100), (25, 0)),
        ((102, 200), (100, 100), (51, 100), (24, 0)),
    ];
    for ((w, h), (iw, ih), (rw, rh), (left, top)) in cases {
        let [x, y] = fit(Size::new(w, h), Size::new(iw, ih), ResizeMode::Letterbox);
        assert_eq!((x.resized, y.resized), (rw, rh), "{w}x{h}");
        assert_eq!((x.offset, y.offset), (left, top), "{w}x{h}");
    }
}

#[test]
fn top_left_truncates_and_crop_covers() {
    let [x, y] = fit(Size::new(333, 500), Size::new(640, 640), ResizeMode::LetterboxTopLeft);
    assert_eq!((x, y), (AxisFit::at_start(426), AxisFit::at_start(640)));
    let [x, y] = fit(Size::new(500, 333), Size::new(224, 224), ResizeMode::CenterCrop);
    assert_eq!((x, y), (AxisFit { resized: 336, offset: -56 }, AxisFit { resized: 224, offset: 0 }));
}

#[test]
fn crops_from_a_larger_size_are_torchvisions() {
    // Resize(256) makes 455x256 of 1920x1080 (int(256 * 1920 / 1080)); CenterCrop(224) cuts round((n - 224) / 2) off.
    let mode = ResizeMode::CenterCropFrom(Size::new(256, 256));
    for ((w, h), x, y) in [((1920, 1080), (455, -116), (256, -16)), ((500, 1000), (256, -16), (512, -144))] {
        let placed = fit(Size::new(w, h), Size::new(224, 224), mode);
        assert_eq!(placed.map(|axis| (axis.resized, axis.offset)), [x, y]);
    }
}

#[test]
fn clipping_keeps_boxes_inside() {
    let rect = Rect::new(-5.0, 3.0, 700.0, 900.0).clip(Size::new(640, 480));
    assert_eq!(rect, Rect::new(0.0, 3.0, 640.0, 480.0));
    assert_eq!(Rect::new(-9.0, -9.0, -2.0, -2.0).clip(Size::new(10, 10)).area(), 0.0);
}

proptest! {
    #[test]
    fn boxes_come_back(
        size in size(), input in size(), mode in 0usize..5,
        part in [0f32..1.0, 0f32..1.0, 0f32..1.0, 0f32..1.0],
    ) {
        let geometry = Geometry::new(size, input, MODES[mode]);
        let (w, h) = (size.width as f32, size.height as f32);
        let rect = Rect::new(
            part[0].min(part[1]) * w, part[2].min(part[3]) * h,
            part[0].max(part[1]) * w, part[2].max(part[3]) * h,
        );
        let inside = geometry.to_input(rect);
        let back = geometry.to_displayed(inside);
        let pairs = [
            (rect.x1, back.x1, inside.x1, 0, w), (rect.x2, back.x2, inside.x2, 0, w),
            (rect.y1, back.y1, inside.y1, 1, h), (rect.y2, back.y2, inside.y2, 1, h),
        ];
        for (a, b, middle, axis, side) in pairs {
            // What a float cannot hold between the two cannot come back: it shows where padding dwarfs the picture.
            let lost = f64::from(middle.abs() * f32::EPSILON) / geometry.scale[axis];
            let allowed = 0.5f32.min(1e-3 * side) + lost as f32;
            prop_assert!((a - b).abs() <= allowed, "{rect:?} {back:?} {geometry:?}");
        }
    }

    #[test]
    fn nothing_vanishes_or_sticks_out(size in size(), input in size(), mode in 0usize..5) {
        for (axis, limit) in fit(size, input, MODES[mode]).into_iter().zip([input.width, input.height]) {
            prop_assert!(axis.resized >= 1);
            let (from, to) = axis.visible(limit);
            prop_assert!(from < to && to <= limit);
            match MODES[mode] {
                ResizeMode::CenterCrop | ResizeMode::CenterCropFrom(_) | ResizeMode::Stretch => prop_assert_eq!((from, to), (0, limit)),
                _ => prop_assert_eq!(to - from, axis.resized),
            }
        }
    }

    #[test]
    fn turning_back_gives_the_box(w in 1u32..500, h in 1u32..500, x in 0u16..500, y in 0u16..500) {
        let size = Size::new(w, h);
        let (x, y) = (f32::from(x), f32::from(y));
        let rect = Rect::new(x, y, x + 7.0, y + 3.0);
        for rotation in ROTATIONS {
            let there = rect.rotate(size, rotation);
            prop_assert_eq!(there.rotate(size.rotated(rotation), rotation.inverse()), rect);
            prop_assert_eq!(there.area(), rect.area());
        }
        let turned = size.rotated(Rotation::Clockwise);
        let twice = rect.rotate(size, Rotation::Clockwise).rotate(turned, Rotation::Clockwise);
        prop_assert_eq!(twice, rect.rotate(size, Rotation::Half));
    }
}
