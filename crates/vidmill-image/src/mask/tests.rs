use proptest::prelude::*;

use super::*;
use crate::{Geometry, ResizeMode};

/// The runs as pycocotools' `rleEncode` counts them: pixel by pixel, down the columns.
fn counted(size: Size, rows: &[u8]) -> Vec<u32> {
    let (width, height) = (size.width as usize, size.height as usize);
    let (mut runs, mut run, mut last) = (Vec::new(), 0, false);
    for x in 0..width {
        for y in 0..height {
            let is_set = rows[y * width + x] != 0;
            if is_set != last {
                runs.push(std::mem::take(&mut run));
                last = is_set;
            }
            run += 1;
        }
    }
    runs.push(run);
    runs
}

/// Pictures of blobs, noise, whole columns, nothing and everything.
fn picture() -> impl Strategy<Value = (Size, Vec<u8>)> {
    (1u32..70, 1u32..40).prop_flat_map(|(width, height)| {
        let count = (width * height) as usize;
        let byte = prop_oneof![3 => Just(0u8), 1 => any::<u8>()];
        let boxed = [0..width, 0..height, 0..width + 1, 0..height + 1];
        let noise = prop::collection::vec(byte, count);
        let rows = prop_oneof![
            noise,
            prop_oneof![Just(0u8), Just(7)].prop_map(move |value| vec![value; count]),
            boxed.prop_map(move |[left, top, right, bottom]| {
                let inside =
                    |i: u32| (left..right).contains(&(i % width)) && (top..bottom).contains(&(i / width));
                (0..count as u32).map(|i| u8::from(inside(i)) * 3).collect()
            }),
        ];
        (Just(Size::new(width, height)), rows)
    })
}

proptest! {
    /// Pixel by pixel, for every way of fitting.
    #[test]
    fn a_mask_of_the_input_becomes_one_of_the_frame(
        (input, rows) in picture(), width in 1u32..90, height in 1u32..60, mode in 0..4usize
    ) {
        let modes =
            [ResizeMode::Letterbox, ResizeMode::LetterboxTopLeft, ResizeMode::Stretch, ResizeMode::CenterCrop];
        let geometry = Geometry::new(Size::new(width, height), input, modes[mode]);
        let displayed = Mask::from_rows(input, &rows).unwrap().to_displayed(&geometry).unwrap();
        let at = |i: u32, axis: usize| (f64::from(i) + 0.5) * geometry.scale[axis] + geometry.offset[axis];
        let is_set = |x: u32, y: u32| {
            let (x, y) = (at(x, 0).floor(), at(y, 1).floor());
            let is_inside = (0.0..f64::from(input.width)).contains(&x) && (0.0..f64::from(input.height)).contains(&y);
            is_inside && rows[y as usize * input.width as usize + x as usize] != 0
        };
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let expected: Vec<u8> = pixels.map(|(x, y)| is_set(x, y).into()).collect();
        prop_assert_eq!(displayed, Mask::from_rows(Size::new(width, height), &expected).unwrap());
    }
}

#[test]
fn a_mask_of_another_size_is_no_mask_of_the_input() {
    let geometry = Geometry::new(Size::new(20, 10), Size::new(8, 8), ResizeMode::Letterbox);
    let error = Mask::empty(Size::new(8, 4)).unwrap().to_displayed(&geometry).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a mask is 8x4, and the model's input 8x8: make masks of the size of the input"
    );
}

#[test]
fn the_least_and_the_simplest() {
    let mask = |width, height, rows: &[u8]| Mask::from_rows(Size::new(width, height), rows).unwrap();
    assert_eq!(mask(1, 1, &[0]).runs(), [1]);
    assert_eq!(mask(1, 1, &[9]).runs(), [0, 1]);
    assert_eq!(mask(2, 3, &[0, 1, 1, 1, 1, 0]).runs(), [1, 4, 1]);
    assert_eq!(mask(2, 3, &[1; 6]).runs(), [0, 6]);
    assert_eq!(mask(2, 3, &[1; 6]).to_counts(), "06");
    assert_eq!(mask(0, 7, &[]).runs(), [0]);
    assert_eq!(mask(0, 7, &[]).bounds(), None);
    assert_eq!(Mask::of_classes(Size::new(0, 7), &[0u8; 0]).unwrap(), []);
    assert_eq!(Mask::empty(Size::new(5, 4)).unwrap(), mask(5, 4, &[0; 20]));
}

#[test]
fn spans_that_are_out_of_order_or_reach_out_are_refused() {
    let size = Size::new(4, 3);
    let span = |x, top, bottom| Span { x, top, bottom };
    let good = [span(0, 0, 3), span(1, 0, 1), span(1, 1, 2), span(3, 2, 3)];
    assert_eq!(Mask::from_spans(size, &good).unwrap().runs(), [0, 5, 6, 1]);
    assert_eq!(Mask::from_spans(size, &[]), Mask::empty(size));
    for bad in [span(1, 1, 1), span(1, 0, 4), span(4, 0, 1), span(0, 0, 1), span(1, 0, 2)] {
        assert_eq!(Mask::from_spans(size, &[good[0], good[1], bad]), Err(MaskError::Span(2)), "{bad:?}");
    }
}

#[test]
fn what_is_no_mask_is_refused() {
    let size = Size::new(4, 3);
    assert_eq!(Mask::from_rows(size, &[0; 11]), Err(MaskError::Length { size, needed: 12, found: 11 }));
    let huge = Size::new(1 << 16, 1 << 16);
    assert_eq!(Mask::from_counts(huge, "0"), Err(MaskError::Size(huge)));
    for (at, part) in [([3, 0], Size::new(2, 1)), ([0, 3], Size::new(1, 1)), ([u32::MAX, 0], Size::new(1, 1))]
    {
        assert!(matches!(Mask::from_part(size, at, part, &[1, 1]), Err(MaskError::Part { .. })));
    }
    assert!(Mask::from_part(size, [0, 0], Size::new(2, 2), &[1; 3]).is_err());
    assert_eq!(Mask::from_counts(size, "1 "), Err(MaskError::Text(1)));
    assert_eq!(Mask::from_counts(size, "oooooooo"), Err(MaskError::Text(7)));
    assert_eq!(Mask::from_counts(size, "1o"), Err(MaskError::Text(2)), "it does not end");
    assert_eq!(Mask::from_counts(size, "O"), Err(MaskError::Run(0)), "-1");
    assert!(matches!(Mask::from_counts(size, "52"), Err(MaskError::Length { found: 7, .. })));
    assert!(Mask::from_counts(size, "").is_err());
    assert_eq!(Mask::from_counts(size, "5203").unwrap().runs(), [5, 7], "empty runs join their neighbours");
}

proptest! {
    #[test]
    fn spans_come_back((size, rows) in picture()) {
        let mask = Mask::from_rows(size, &rows).unwrap();
        prop_assert_eq!(Mask::from_spans(size, &mask.spans().collect::<Vec<_>>()).unwrap(), mask);
    }

    #[test]
    fn runs_are_those_that_counting_gives((size, rows) in picture()) {
        let mask = Mask::from_rows(size, &rows).unwrap();
        prop_assert_eq!(mask.runs(), counted(size, &rows));
        let back = mask.to_rows();
        prop_assert!(back.iter().zip(&rows).all(|(bit, byte)| *bit == u8::from(*byte != 0)));
        prop_assert_eq!(mask.area() as usize, rows.iter().filter(|byte| **byte != 0).count());
        prop_assert_eq!(&Mask::from_counts(size, &mask.to_counts()).unwrap(), &mask);
        prop_assert_eq!(&Mask::from_runs(size, mask.runs()).unwrap(), &mask);
        let json = serde_json::to_string(&mask).unwrap();
        prop_assert_eq!(serde_json::from_str::<Mask>(&json).unwrap(), mask);
    }

    #[test]
    fn spans_and_bounds_hold_what_is_set((size, rows) in picture()) {
        let mask = Mask::from_rows(size, &rows).unwrap();
        let width = size.width as usize;
        let mut drawn = vec![0u8; rows.len()];
        for span in mask.spans() {
            prop_assert!(span.top < span.bottom && span.bottom <= size.height);
            for y in span.top..span.bottom {
                drawn[y as usize * width + span.x as usize] += 1;
            }
        }
        prop_assert_eq!(&drawn, &mask.to_rows());
        let set: Vec<_> = (0..rows.len()).filter(|i| rows[*i] != 0).map(|i| (i % width, i / width)).collect();
        let bounds = (!set.is_empty()).then(|| {
            let across = set.iter().map(|p| p.0 as f32);
            let down = set.iter().map(|p| p.1 as f32);
            let (x1, y1) = (across.clone().fold(f32::MAX, f32::min), down.clone().fold(f32::MAX, f32::min));
            Rect::new(x1, y1, across.fold(0.0, f32::max) + 1.0, down.fold(0.0, f32::max) + 1.0)
        });
        prop_assert_eq!(mask.bounds(), bounds);
    }

    #[test]
    fn a_part_is_as_the_whole_around_it(
        (part, rows) in picture(), around in [0u32..9, 0u32..9, 0u32..9, 0u32..9],
    ) {
        let [left, top, right, bottom] = around;
        let size = Size::new(left + part.width + right, top + part.height + bottom);
        let mut whole = vec![0; (size.width * size.height) as usize];
        for (y, row) in rows.chunks_exact(part.width as usize).enumerate() {
            let at = (top as usize + y) * size.width as usize + left as usize;
            whole[at..at + row.len()].copy_from_slice(row);
        }
        let mask = Mask::from_part(size, [left, top], part, &rows).unwrap();
        prop_assert_eq!(&mask, &Mask::from_rows(size, &whole).unwrap());
        let mut back = Vec::new();
        mask.fill_part([left, top], part, &mut back);
        prop_assert!(back.iter().zip(&rows).all(|(bit, byte)| *bit == u8::from(*byte != 0)));
        // A window that cuts the mask anywhere.
        let window = Size::new(size.width - left / 2, size.height - top / 2);
        mask.fill_part([left / 2, top / 2], window, &mut back);
        for (i, bit) in (0u32..).zip(&back) {
            let (x, y) = (left / 2 + i % window.width, top / 2 + i / window.width);
            prop_assert_eq!(*bit != 0, whole[(y * size.width + x) as usize] != 0);
        }
    }

    #[test]
    fn classes_are_as_their_pixels((size, rows) in picture(), least in any::<u8>()) {
        let rows: Vec<u16> = rows.iter().map(|byte| u16::from(byte % 5) * u16::from(least)).collect();
        let masks = Mask::of_classes(size, &rows).unwrap();
        let mut classes = rows.clone();
        classes.sort_unstable();
        classes.dedup();
        prop_assert_eq!(masks.iter().map(|(class, _)| *class).collect::<Vec<_>>(), classes);
        for (class, mask) in masks {
            let own: Vec<u8> = rows.iter().map(|value| u8::from(*value == class)).collect();
            prop_assert_eq!(mask, Mask::from_rows(size, &own).unwrap());
        }
    }

    #[test]
    fn any_text_is_a_mask_or_an_error(width in any::<u32>(), height in any::<u32>(), text in "[ -~é]{0,40}") {
        let size = Size::new(width, height);
        if let Ok(mask) = Mask::from_counts(size, &text) {
            prop_assert_eq!(Mask::from_counts(size, &mask.to_counts()), Ok(mask));
        }
    }

    #[test]
    fn any_counts_of_the_right_length_come_back(runs in prop::collection::vec(0u32..5000, 1..60)) {
        let size = Size::new(runs.iter().sum(), 1);
        let mask = Mask::from_counts(size, &encode::write(&runs)).unwrap();
        prop_assert_eq!(mask.area(), runs.iter().skip(1).step_by(2).sum::<u32>());
        prop_assert!(mask.runs().iter().skip(1).all(|run| *run > 0));
    }
}
