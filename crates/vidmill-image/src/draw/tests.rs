use proptest::prelude::*;

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

proptest! {
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
