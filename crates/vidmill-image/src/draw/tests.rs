use proptest::prelude::*;

use super::stroke::Stroke;
use super::*;
use crate::{ColorMatrix, ColorRange, ColorSpec};

const FULL: ColorSpec = ColorSpec::new(ColorMatrix::Bt601, ColorRange::Full);

fn gray(w: u32, h: u32) -> Picture {
    let mut picture = Picture::new(Size::new(w, h), FULL);
    picture.fill([100; 3]);
    picture
}

fn luma(picture: &Picture, x: usize, y: usize) -> u8 {
    picture.planes().data[0][y * picture.stride(0) + x]
}

fn annotation(x1: f32, y1: f32, x2: f32, y2: f32, text: &str) -> Annotation<'_> {
    Annotation { rect: Rect::new(x1, y1, x2, y2), color: [255, 255, 0], text, ..Annotation::default() }
}

#[test]
fn a_box_is_drawn_where_it_is_and_nowhere_else() {
    let mut picture = gray(640, 360);
    Painter::new().annotate(&mut picture, &[annotation(100.0, 50.0, 200.0, 150.0, "")]);
    let yellow = crate::picture::codes([255, 255, 0], FULL)[0];
    for (x, y, expected) in [
        (100, 50, yellow),
        (199, 149, yellow),
        (150, 51, yellow),
        (101, 100, yellow),
        (198, 100, yellow),
        (99, 50, 100),
        (200, 149, 100),
        (150, 49, 100),
        (150, 150, 100),
        (150, 100, 100),
        (102, 52, 100),
    ] {
        assert_eq!(luma(&picture, x, y), expected, "at {x}, {y}");
    }
}

#[test]
fn lines_and_letters_grow_with_the_picture() {
    let [small, full, large] =
        [(640, 360), (1920, 1080), (3840, 2160)].map(|(w, h)| Style::new(Size::new(w, h)));
    assert!(small.line >= 2 && full.line > small.line && large.line == 2 * full.line);
    assert!(small.text >= 14 && full.text >= 30 && large.text >= 60);
    assert_eq!(Style::new(Size::new(360, 640)), small);
}

#[test]
fn names_stand_above_the_box_or_inside_it() {
    let style = Style::new(Size::new(640, 360));
    let picture = Area { left: 0, top: 0, right: 640, bottom: 360 };
    let line = Lettering::new().line("person 0.91", style.text, 600);
    let height = i64::from(style.text);
    let place = |left, top| {
        let area = Area { left, top, right: left + 50, bottom: top + 80 };
        let visible = area.intersect(picture);
        Labels::default().place(&[visible], line.width() + 2 * style.padding, height, picture)
    };
    assert_eq!((place(100, 100).left, place(100, 100).bottom), (100, 100));
    assert_eq!(place(100, 3).top, 3);
    assert_eq!(
        place(-20, -30),
        Area { left: 0, top: 0, right: line.width() + 2 * style.padding, bottom: height }
    );
    assert_eq!(place(620, 100).right, 640);
    assert_eq!(place(100, 359).bottom, 359);
}

#[test]
fn names_read_against_their_background() {
    for id in 0..200 {
        let color = class_color(id);
        let (ink, ground) = (palette::luminance(palette::ink_on(color)), palette::luminance(color));
        let contrast = (ink.max(ground) + 0.05) / (ink.min(ground) + 0.05);
        assert!(contrast >= 4.5, "class {id}: {contrast}");
    }
}

#[test]
fn colours_of_classes_are_stable_and_differ() {
    assert_eq!(class_color(0), class_color(0));
    let colors: Vec<_> = (0..80).map(class_color).collect();
    let distance = |a: [u8; 3], b: [u8; 3]| -> u32 { (0..3).map(|c| u32::from(a[c].abs_diff(b[c]))).sum() };
    for i in 0..80 {
        for j in 0..i {
            let least = if i < 8 { 130 } else { 35 };
            assert!(distance(colors[i], colors[j]) >= least, "{i} and {j}: {:?} {:?}", colors[i], colors[j]);
        }
    }
}

#[test]
fn unknown_letters_show_a_box_and_known_ones_differ() {
    let mut lettering = Lettering::new();
    let mut coverage = |text: &str| lettering.line(text, 30, 1000).stencil(0, 0).coverage.to_vec();
    assert_eq!(coverage("\u{4eba}"), coverage("\u{732b}"));
    assert!(coverage("\u{4eba}").contains(&255));
    for text in ["a", "ж", "é", "ß", "Ω", "…"] {
        assert_ne!(coverage(text), coverage("\u{4eba}"), "{text}");
    }
}

#[test]
fn long_texts_are_cut_or_wrapped() {
    let mut lettering = Lettering::new();
    let long = "failed: the model returned values that are not numbers ".repeat(50);
    assert!(lettering.line(&long, 20, 300).width() <= 300);
    let lines = lettering.wrap(&long, 20, 300, 3);
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.width() <= 300));
    assert_eq!(lettering.wrap("two words", 20, 300, 3).len(), 1);
    assert_eq!(lettering.wrap(&"w".repeat(400), 20, 300, 3).len(), 3);
}

#[test]
fn the_store_of_letters_is_bounded() {
    let mut lettering = Lettering::new();
    for height in 14..200 {
        lettering.line("the quick brown fox jumps over the lazy dog", height, 100_000);
        assert!(lettering.kept() <= text::KEPT);
    }
}

#[test]
fn a_banner_covers_the_top_alone() {
    let mut picture = gray(640, 360);
    Painter::new().banner(&mut picture, "failed: worker died of SIGKILL");
    let ground = crate::picture::codes(BANNER_COLOR, FULL)[0];
    assert_eq!((luma(&picture, 0, 0), luma(&picture, 639, 0)), (ground, ground));
    assert!((60..360).all(|y| (0..640).all(|x| luma(&picture, x, y) == 100)));
    assert!((0..30).any(|y| (0..640).any(|x| luma(&picture, x, y) == 255)));
}

fn chroma(picture: &Picture, x: usize, y: usize) -> [u8; 2] {
    [1, 2].map(|plane| picture.planes().data[plane][y / 2 * picture.stride(plane) + x / 2])
}

fn whole(picture: &Picture) -> Area {
    let size = picture.size();
    Area { left: 0, top: 0, right: i64::from(size.width), bottom: i64::from(size.height) }
}

/// A mask that is set in a box.
fn boxed(size: Size, [left, top, right, bottom]: [u32; 4]) -> Mask {
    let part = Size::new(right - left, bottom - top);
    Mask::from_part(size, [left, top], part, &vec![1; (part.width * part.height) as usize]).unwrap()
}

fn overlap(places: &[Area]) -> i64 {
    let pairs = (0..places.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    pairs.map(|(i, j)| places[i].intersect(places[j]).pixels()).sum()
}

#[test]
fn names_of_crowded_boxes_do_not_cover_each_other() {
    let picture = Area { left: 0, top: 0, right: 1920, bottom: 1080 };
    // Twelve boxes upon each other, and a row of them that touch.
    let heap = (0..12).map(|i| Area { left: 400 + i, top: 300 + i, right: 700 + i, bottom: 800 + i });
    let row = (0..12).map(|i| Area { left: 60 * i, top: 0, right: 60 * i + 300, bottom: 200 });
    for boxes in [heap.collect::<Vec<_>>(), row.collect()] {
        let place = || {
            let mut labels = Labels::default();
            boxes.iter().map(|area| labels.place(&[*area], 180, 36, picture)).collect::<Vec<_>>()
        };
        let places = place();
        assert_eq!(overlap(&places), 0, "{places:?}");
        assert_eq!(places, place(), "it is always the same");
        for (place, area) in places.iter().zip(&boxes) {
            assert_eq!(place.intersect(picture), *place);
            assert!(!place.intersect(area.grown(37)).is_empty(), "{place:?} is far from {area:?}");
        }
    }
}

#[test]
fn names_without_room_hide_as_little_as_they_can() {
    let picture = Area { left: 0, top: 0, right: 200, bottom: 40 };
    let mut labels = Labels::default();
    let places: Vec<_> = (0..4).map(|_| labels.place(&[picture], 100, 36, picture)).collect();
    assert_eq!(overlap(&places[..2]), 0, "two fit beside each other");
    assert!(places.iter().all(|place| place.intersect(picture) == *place));
    // Lower than a line: it begins at the top and is cut off.
    let low = Area { bottom: 8, ..picture };
    assert_eq!(Labels::default().place(&[low], 100, 36, low).top, 0);
}

#[test]
fn very_many_names_are_written_smaller() {
    let size = Size::new(1920, 1080);
    let style = Style::new(size);
    let of = |count| style.for_labels(size, &vec![annotation(0.0, 0.0, 9.0, 9.0, "person 0.91"); count]);
    assert_eq!((of(0), of(40)), (style, style));
    assert!(of(300).text < of(100).text && of(100).text < style.text);
    assert!(of(1_000_000).text >= 14);
    // 300 boxes all over the picture then have room.
    let annotations: Vec<_> = (0..300).map(|i| (i % 20 * 96, i / 20 * 72)).collect();
    let mut labels = Labels::default();
    let text = i64::from(of(300).text);
    let picture = Area { left: 0, top: 0, right: 1920, bottom: 1080 };
    let place = |(left, top): &(i64, i64)| {
        let area = Area { left: *left, top: *top, right: left + 90, bottom: top + 60 };
        labels.place(&[area], 6 * text, text, picture)
    };
    assert_eq!(overlap(&annotations.iter().map(place).collect::<Vec<_>>()), 0);
}

#[test]
fn a_masks_pixels_are_tinted_and_no_others() {
    let mut picture = gray(321, 181);
    for (i, value) in picture.planes_mut()[0].iter_mut().enumerate() {
        *value = if i % 2 == 0 { 60 } else { 140 };
    }
    let before = picture.clone();
    let mask = boxed(picture.size(), [100, 50, 200, 150]);
    let red = [255, 0, 0];
    let annotation = Annotation { mask: Some(&mask), color: red, ..Annotation::default() };
    Painter::new().annotate(&mut picture, &[annotation]);
    let [code, ..] = crate::picture::codes(red, FULL);
    for y in 0..181 {
        for x in 0..321 {
            let (old, new) = (luma(&before, x, y), luma(&picture, x, y));
            if !(97..203).contains(&x) || !(47..153).contains(&y) {
                assert_eq!(new, old, "{x}, {y}");
                assert_eq!(chroma(&picture, x, y), chroma(&before, x, y), "{x}, {y}");
            } else if (104..196).contains(&x) && (54..146).contains(&y) {
                assert!(
                    new != old && new.abs_diff(code) < old.abs_diff(code),
                    "{x}, {y}: {old} became {new}"
                );
                assert!(chroma(&picture, x, y)[1] > 128 + 30);
            }
        }
    }
    assert!(luma(&picture, 151, 100).abs_diff(luma(&picture, 150, 100)) > 40, "what is below can be seen");
    assert!(luma(&picture, 100, 101).abs_diff(code) < 20, "the contour");
}

#[test]
fn a_contour_is_as_wide_as_asked_and_not_at_the_pictures_edge() {
    let size = Size::new(64, 64);
    for line in [1.5f32, 2.0, 4.0, 12.0] {
        let mut picture = Picture::new(size, FULL);
        let left_half = boxed(size, [0, 0, 32, 64]);
        Film::default().paint(&mut Canvas::new(&mut picture), &left_half, line, [255; 3]);
        let tint = luma(&picture, 2, 2);
        assert!((60..90).contains(&tint), "{tint}");
        for y in [0, 31, 63] {
            assert_eq!([luma(&picture, 0, y), luma(&picture, 63, y)], [tint, 0], "line {line}, row {y}");
            let over = |x: usize| {
                let ground = if x < 32 { f32::from(tint) } else { 0.0 };
                (f32::from(luma(&picture, x, y)) - ground) / (255.0 - ground)
            };
            let width: f32 = (0..64).map(over).sum();
            // What the tint hides of the contour's soft edge makes it look thinner, by less than half a pixel.
            assert!((width - line).abs() < 0.5, "line {line} is {width} wide");
        }
    }
}

#[test]
fn regions_are_drawn_as_masks_are() {
    let (mut one, mut other) = (gray(301, 203), gray(301, 203));
    let masks = [boxed(one.size(), [0, 0, 301, 90]), boxed(one.size(), [20, 90, 301, 203])];
    let colors = [class_color(0), class_color(1)];
    let regions: Vec<_> = masks.iter().zip(colors).collect();
    Painter::new().regions(&mut one, &regions);
    let annotations: Vec<_> = regions
        .iter()
        .map(|(mask, color)| Annotation { mask: Some(*mask), color: *color, ..Annotation::default() })
        .collect();
    Painter::new().annotate(&mut other, &annotations);
    assert_eq!(one, other);
    assert_ne!(one, gray(301, 203));
}

#[test]
fn a_mask_of_another_size_is_cut_off() {
    let mask = boxed(Size::new(500, 20), [0, 0, 500, 20]);
    let mut picture = gray(50, 70);
    Painter::new().regions(&mut picture, &[(&mask, [255; 3])]);
    assert!(luma(&picture, 49, 5) > 100 && luma(&picture, 49, 60) == 100);
}

#[test]
fn a_huge_mask_is_drawn_in_no_time() {
    let begin = std::time::Instant::now();
    for size in [Size::new(u32::MAX, 1), Size::new(1, u32::MAX), Size::new(65_535, 65_535)] {
        let mask = Mask::from_runs(size, &[0, size.width * size.height]).unwrap();
        let mut picture = gray(50, 70);
        Painter::new().regions(&mut picture, &[(&mask, [255; 3])]);
        assert!(luma(&picture, 0, 0) > 100);
    }
    assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
}

#[test]
fn strokes_cover_as_much_as_they_should() {
    for step in 0..48 {
        for (length, width) in [(0.0f32, 9.0f32), (40.0, 3.0), (55.5, 8.0)] {
            let mut picture = Picture::new(Size::new(160, 160), FULL);
            let (sin, cos) = (step as f32 * std::f32::consts::TAU / 48.0).sin_cos();
            let from = [80.3, 79.8];
            let to = [from[0] + length * cos, from[1] + length * sin];
            let stroke = Stroke::new(from, to, width, whole(&picture)).unwrap();
            Canvas::new(&mut picture).paint(&stroke, [255; 3], Paint::Solid);
            let covered: f32 = picture.planes().data[0].iter().map(|v| f32::from(*v) / 255.0).sum();
            let area = length * width + std::f32::consts::PI * width * width / 4.0;
            assert!((covered / area - 1.0).abs() < 0.04, "{covered} for {area}, step {step}");
        }
    }
}

#[test]
fn slanted_boxes_are_drawn_along_their_sides() {
    let mut picture = gray(400, 300);
    let corners = [[200.0, 50.0], [300.0, 150.0], [200.0, 250.0], [100.0, 150.0]];
    // The box itself gives way to the corners.
    let rect = Rect::new(10.0, 10.0, 60.0, 60.0);
    let annotation = Annotation { rect, corners: Some(corners), ..annotation(0.0, 0.0, 0.0, 0.0, "") };
    Painter::new().annotate(&mut picture, &[annotation]);
    let yellow = crate::picture::codes([255, 255, 0], FULL)[0];
    for (x, y) in [(250, 100), (250, 200), (150, 200), (150, 100)] {
        // A line of two pixels, slanted, covers no pixel to its corners.
        assert!(luma(&picture, x, y).abs_diff(yellow) < 40, "at {x}, {y}");
    }
    for (x, y) in [(200, 150), (110, 60), (10, 10), (290, 240)] {
        assert_eq!(luma(&picture, x, y), 100, "at {x}, {y}");
    }
    // With a corner that is no number, the box is drawn.
    let mut picture = gray(400, 300);
    let broken = Some([[f32::NAN, 0.0], corners[1], corners[2], corners[3]]);
    Painter::new().annotate(&mut picture, &[Annotation { corners: broken, ..annotation }]);
    assert_eq!((luma(&picture, 10, 30), luma(&picture, 250, 200)), (yellow, 100));
}

#[test]
fn unsure_joints_and_their_bones_are_not_drawn() {
    let mut picture = gray(300, 300);
    let keypoints = [
        [50.0, 50.0, 0.9],
        [250.0, 50.0, 0.9],
        [250.0, 250.0, 0.3],
        [50.0, 250.0, f32::NAN],
        [f32::NAN, 9.0, 1.0],
    ];
    let bones = [[0, 1], [1, 2], [2, 3], [3, 0], [0, 4], [0, 99]];
    let annotation = Annotation { keypoints: &keypoints, bones: &bones, ..Annotation::default() };
    Painter::new().annotate(&mut picture, &[annotation]);
    assert_ne!(luma(&picture, 150, 50), 100, "a bone");
    assert_ne!(luma(&picture, 50, 50), 100, "a joint");
    let touched = |picture: &Picture, rows: std::ops::Range<usize>| {
        rows.flat_map(|y| (0..300).map(move |x| (x, y))).filter(|(x, y)| luma(picture, *x, *y) != 100).count()
    };
    assert_eq!(touched(&picture, 60..300), 0);
    let mut sure = gray(300, 300);
    Painter::new().keypoint_confidence(0.2).annotate(&mut sure, &[annotation]);
    assert!(touched(&sure, 60..300) > 300, "the bone down the right side");
}

#[test]
fn left_and_right_differ_in_colour() {
    for joint in (1..17).step_by(2) {
        let [left, right] = [joint, joint + 1].map(|joint| palette::joint_color(joint, 17));
        assert!(left[2] > left[0] && right[0] > right[2], "{left:?} {right:?}");
    }
    for bone in COCO_BONES {
        assert!(bone.iter().all(|joint| *joint < 17));
    }
    assert_ne!(palette::joint_color(0, 21), palette::joint_color(20, 21));
}

/// How different two colours look, in Oklab; about 0.02 can just be seen. From sRGB, by Ottosson's matrices.
fn difference(a: [u8; 3], b: [u8; 3]) -> f64 {
    let oklab = |rgb: [u8; 3]| {
        let linear = rgb.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        let times = |m: [[f64; 3]; 3], v: [f64; 3]| m.map(|row| (0..3).map(|i| row[i] * v[i]).sum::<f64>());
        let cones = [
            [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
            [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
            [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
        ];
        let lab = [
            [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
            [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
            [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
        ];
        times(lab, times(cones, linear).map(f64::cbrt))
    };
    let (a, b) = (oklab(a), oklab(b));
    (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn tracks_that_follow_each_other_differ() {
    for id in (0..1000).chain([u64::MAX - 9, 1 << 40]) {
        let color = track_color(id);
        for other in 1..8 {
            assert!(difference(color, track_color(id.wrapping_add(other))) >= 0.13, "{id} and {other} more");
        }
        let (ink, ground) = (palette::luminance(palette::ink_on(color)), palette::luminance(color));
        assert!((ink.max(ground) + 0.05) / (ink.min(ground) + 0.05) >= 4.5, "track {id}");
    }
}

#[test]
fn a_panel_is_in_the_corner_and_its_bars_tell_shares() {
    let line = |text, share| PanelLine { text, share, color: [255, 255, 0] };
    let yellow = crate::picture::codes([255, 255, 0], FULL)[0];
    let draw = |lines: &[PanelLine<'_>]| {
        let mut picture = gray(640, 360);
        Painter::new().panel(&mut picture, lines);
        picture
    };
    let picture = draw(&[line("tabby", Some(0.8)), line("lynx", Some(0.2)), line("dog", Some(f32::NAN))]);
    let style = Style::new(picture.size());
    let row = i64::from(style.text) + style.padding;
    let bar = |i: i64| {
        let y = (style.padding + i * row + i64::from(style.text) / 2) as usize;
        (0..200).filter(|x| luma(&picture, *x, y) == yellow).count() as f32
    };
    assert!((bar(0) / bar(1) - 4.0).abs() < 0.6, "{} and {}", bar(0), bar(1));
    assert!((0..360).all(|y| (300..640).all(|x| luma(&picture, x, y) == 100)));
    assert!((3 * row as usize + 20..360).all(|y| (0..640).all(|x| luma(&picture, x, y) == 100)));
    // Empty and much too long ones.
    assert_eq!(draw(&[]), gray(640, 360));
    let long = "a long name ".repeat(90);
    assert!(luma(&draw(&vec![line(&long, Some(2.0)); 5000]), 639, 359) == 100);
}

#[test]
fn names_without_a_box_stand_at_what_is_drawn() {
    let size = Size::new(640, 360);
    let picture = Area { left: 0, top: 0, right: 640, bottom: 360 };
    let mask = boxed(size, [300, 200, 400, 300]);
    let keypoints = [[300.0, 200.0, 1.0], [400.0, 300.0, 1.0], [9.0, 9.0, 0.1]];
    let base = Annotation { text: "name", ..Annotation::default() };
    let by_mask = Annotation { mask: Some(&mask), ..base };
    let by_joints = Annotation { keypoints: &keypoints, ..base };
    let expected = [Area { left: 300, top: 200, right: 400, bottom: 300 }];
    assert_eq!(by_mask.anchors(picture, 14, 0.5), expected);
    assert_eq!(by_joints.anchors(picture, 14, 0.5), expected);
    assert_eq!(base.anchors(picture, 14, 0.5), []);
}

proptest! {
    #[test]
    fn anything_more_can_be_drawn(
        w in 1u32..200, h in 1u32..200, of in [1u32..300, 1u32..300],
        wild in prop::collection::vec([any::<f32>(), any::<f32>(), any::<f32>()], 0..6),
        near in prop::collection::vec([-400f32..700.0, -400f32..700.0, 0f32..1.0], 4..20),
        bits in prop::collection::vec(any::<u8>(), 1..40),
        share in any::<f32>(), text in ".{0,20}", id in any::<u64>(),
    ) {
        let mut picture = gray(w, h);
        let size = Size::new(of[0], of[1]);
        let rows: Vec<u8> = (0..of[0] * of[1]).map(|i| bits[(i / 7) as usize % bits.len()] & 1).collect();
        let mask = Mask::from_rows(size, &rows).unwrap();
        let corners = |points: &[[f32; 3]]| {
            (points.len() >= 4).then(|| [0, 1, 2, 3].map(|i| [points[i][0], points[i][1]]))
        };
        let annotations = [&wild, &near].map(|points| Annotation {
            corners: corners(points),
            keypoints: points,
            bones: &COCO_BONES,
            mask: Some(&mask),
            text: &text,
            color: track_color(id),
            ..Annotation::default()
        });
        let mut painter = Painter::new();
        painter.annotate(&mut picture, &annotations);
        painter.panel(&mut picture, &[PanelLine { text: &text, share: Some(share), color: [9; 3] }]);
        prop_assert_eq!(picture.size(), Size::new(w, h));
    }

    #[test]
    fn anything_can_be_drawn(
        w in 1u32..300, h in 1u32..300, text in ".{0,40}",
        corners in [any::<f32>(), any::<f32>(), any::<f32>(), any::<f32>()],
        near in [-400f32..700.0, -400f32..700.0, 0f32..500.0, 0f32..500.0],
    ) {
        let mut picture = gray(w, h);
        let [x, y, across, down] = near;
        let mut painter = Painter::new();
        painter.annotate(&mut picture, &[
            annotation(corners[0], corners[1], corners[2], corners[3], &text),
            annotation(x, y, x + across, y + down, &text),
        ]);
        painter.banner(&mut picture, &text);
        prop_assert_eq!(picture.size(), Size::new(w, h));
    }

    #[test]
    fn what_is_outside_leaves_the_picture_alone(x in 301f32..900.0, y in -900f32..900.0, side in 0f32..50.0) {
        let mut picture = gray(300, 200);
        let before = picture.clone();
        Painter::new().annotate(&mut picture, &[
            annotation(x, y, x + side, y + side, "outside"),
            annotation(-x - side, y, -x, y + side, "outside"),
        ]);
        prop_assert_eq!(picture, before);
    }
}
