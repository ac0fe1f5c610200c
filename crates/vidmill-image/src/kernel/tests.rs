//! Every level against the scalar specification, loop by loop, on lengths that leave odd ends.

use proptest::prelude::*;

use super::*;

fn levels() -> Vec<Level> {
    Level::all().into_iter().skip(1).collect()
}

fn line(length: usize, seed: u32, top: i16) -> Vec<i16> {
    let mut state = seed | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 12) % (u32::from(top.unsigned_abs()) + 1)) as i16
    };
    (0..length).map(next).collect()
}

fn bytes(length: usize, seed: u32) -> Vec<u8> {
    line(length, seed, 255).into_iter().map(|value| value as u8).collect()
}

fn floats(length: usize, seed: u32) -> Vec<f32> {
    line(length, seed, 8160).into_iter().map(|value| f32::from(value) / 29.0).collect()
}

/// Picks as a fitted picture has them (pairs of neighbours that stand evenly, in either direction), or anywhere.
fn index(count: usize, samples: usize, seed: u32, even: bool) -> Vec<u32> {
    let last = samples as u32 - 1;
    if !even {
        return (0..count as u32)
            .map(|i| i.wrapping_mul(seed | 1).rotate_left(11) % samples as u32)
            .collect();
    }
    let places = count.div_ceil(2).max(1) as u32;
    let pair = |i: u32| [i * samples as u32 / places, (i * samples as u32 / places + 1).min(last)];
    let pairs = (0..places).map(|i| if seed.is_multiple_of(2) { i } else { places - 1 - i });
    pairs.flat_map(pair).take(count).collect()
}

/// Runs the same loop at every level and compares what it wrote.
fn same<T: Clone + PartialEq + std::fmt::Debug>(
    out: T,
    run: impl Fn(Level, &mut T),
) -> Result<(), TestCaseError> {
    let mut expected = out.clone();
    run(Level(Set::Scalar), &mut expected);
    for level in levels() {
        let mut found = out.clone();
        run(level, &mut found);
        prop_assert!(found == expected, "{}: {found:?} is not {expected:?}", level.name());
    }
    Ok(())
}

/// Pixels by way of lines of full width.
fn pixels_in_steps(y: &[u8], chroma: [&[i16]; 2], eighths: (i16, i16), c: &YuvToRgb, bgr: bool) -> Vec<u8> {
    let (plain, n) = (Level(Set::Scalar), y.len());
    let mut wide: [Vec<i16>; 3] = std::array::from_fn(|_| vec![0; n.next_multiple_of(2)]);
    plain.codes_u8(Between::new(y, y, 0.0), &mut wide[0]);
    for (line, wide) in chroma.into_iter().zip(&mut wide[1..]) {
        plain.double_single(line, eighths.0, eighths.1, wide);
    }
    let row = YuvRow { y: &wide[0], u: &wide[1], v: &wide[2] };
    let mut lines: [Vec<i16>; 3] = std::array::from_fn(|_| vec![0; n]);
    plain.yuv_to_rgb(Between::new(row, row, 0.0), c, &mut lines);
    let order: [usize; 3] = if bgr { [2, 1, 0] } else { [0, 1, 2] };
    let mut pixels = vec![0; 3 * n];
    plain.store_pixels(order.map(|i| &lines[i][..]), &mut pixels);
    pixels
}

proptest! {
    #[test]
    fn reading_is_the_same(n in 1usize..200, seed: u32, weight in 0f32..1.0, bits in 9u8..=16, shift in 0u8..8) {
        let (a, b) = (bytes(2 * n, seed), bytes(2 * n, !seed));
        let rows = Between::new(&a[..], &b[..], weight);
        let shift = shift.min(16 - bits);
        let place = BitPlace { shift, unused: 16 - bits };
        same(vec![0; 2 * n], |level, out| level.codes_u8(rows, out))?;
        same(vec![0; n], |level, out| level.codes_u16(rows, place, out))?;
        same(vec![0.0; 2 * n], |level, out| level.blend_u8(&a, &b, weight, out))?;
        same(vec![0.0; n], |level, out| level.blend_u16(&a, &b, shift.into(), weight, out))?;
    }

    #[test]
    fn widening_is_the_same(n in 3usize..200, seed: u32, before in 0i16..=4, after in 0i16..=4) {
        let codes = line(2 * n, seed, 4095);
        same(vec![0; 2 * (2 * n - 2)], |level, out| level.double_single(&codes, before, after, out))?;
        same(vec![0; 2 * (n - 2)], |level, out| level.double_paired(&codes, before, after, out))?;
        same(vec![0; n], |level, out| level.lerp_pairs(&codes, &floats(n, seed ^ 77).iter().map(|v| v / 300.0).collect::<Vec<_>>(), out))?;
    }

    #[test]
    fn converting_is_the_same(n in 1usize..200, seed: u32, weight in 0f32..1.0, whole: bool) {
        let rows: Vec<_> = (0..6).map(|i| line(n, seed.wrapping_add(i), 4095)).collect();
        let row = |i: usize| YuvRow { y: &rows[i], u: &rows[i + 1], v: &rows[i + 2] };
        let between = Between::new(row(0), row(3), if whole { 0.0 } else { weight });
        let c = YuvToRgb { y: 19_076, v_red: 13_075, u_green: -3209, v_green: -6660, u_blue: 16_525, offset: [-595; 3] };
        same([vec![0; n], vec![0; n], vec![0; n]], |level, out| level.yuv_to_rgb(between, &c, out))?;
        let norm = Affine { gain: 1.0 / 57.0, bias: -2.1 };
        let (g, b) = (floats(n, !seed), floats(n, seed ^ 5));
        same(floats(n, seed), |level, out| level.map_line(Affine { gain: 1.2, bias: -18.6 }, norm, out))?;
        same(floats(n, seed), |level, out| level.rgb_to_gray([0.299, 0.587, 0.114], norm, out, &g, &b))?;
    }

    #[test]
    fn pixels_are_the_same_at_once_and_in_steps(
        n in 1usize..200, seed: u32, eighths in prop_oneof![Just((0, 4)), (0i16..=4, 0i16..=4)], bgr: bool,
    ) {
        let c = YuvToRgb { y: 19_076, v_red: 13_075, u_green: -3209, v_green: -6660, u_blue: 16_525, offset: [-595, -594, -590] };
        let (y, (before, after)) = (bytes(n, seed), eighths);
        let [u, v] = [!seed, seed ^ 5].map(|seed| line(n.div_ceil(2) + 2, seed, 4080));
        let ([first, second], matrix) = if bgr { ([&v, &u], c.reversed()) } else { ([&u, &v], c) };
        let row = HalfRow { y: &y, u: first, v: second, before, after };
        same(vec![0; 3 * n], |level, out| level.convert_pixels(row, &matrix, out))?;
        let mut found = vec![0; 3 * n];
        Level(Set::Scalar).convert_pixels(row, &matrix, &mut found);
        prop_assert_eq!(found, pixels_in_steps(&y, [&u, &v], eighths, &c, bgr));
    }

    #[test]
    fn picking_is_the_same(samples in 1usize..900, count in 0usize..400, seed: u32, even: bool) {
        let index = index(count, samples, seed, even);
        let other: Vec<u32> = index.iter().map(|at| (at + 1).min(samples as u32 - 1)).collect();
        let (samples_8, samples_16) = (bytes(samples, seed), line(samples, seed, 4095));
        let eighths = line(count, !seed, 4);
        let expected: Vec<u8> = index.iter().map(|&at| samples_8[at as usize]).collect();
        let expected_16: Vec<i16> = index.iter().map(|&at| samples_16[at as usize]).collect();
        for level in Level::all() {
            let picks = level.picks(index.clone(), 1, samples);
            let wide = level.picks(index.clone(), 2, samples);
            let (mut found, mut found_16) = (vec![0; count], vec![0; count]);
            level.pick(&samples_8, &picks, &mut found);
            level.pick_codes(&samples_16, &wide, &mut found_16);
            prop_assert!(found == expected && found_16 == expected_16, "{}", level.name());
            let others = level.picks(other.clone(), 2, samples);
            same(vec![0; count], |run, out| run.pick_between(&samples_16, [&wide, &others], &eighths, out))?;
        }
    }

    #[test]
    fn resampling_is_the_same(n in 0usize..600, seed: u32) {
        let norm = Affine { gain: 1.0 / 8160.0, bias: -0.4 };
        let weights: Vec<f32> = floats(n, !seed).iter().map(|v| v / 300.0).collect();
        let (codes, values) = (line(2 * n, seed, 8160), floats(2 * n, seed));
        same(vec![0.0; n], |level, out| level.resample(&values, &weights, out))?;
        let all = Level::best().picks((0..2 * n as u32).rev().collect(), 1, 2 * n);
        let mut expected = vec![0.0; n];
        let reversed: Vec<f32> = values.iter().rev().copied().collect();
        Level(Set::Scalar).resample(&reversed, &weights, &mut expected);
        same(vec![0.0; n], |level, out| level.resample_picked(&values, &all, &weights, out))?;
        let mut found = vec![0.0; n];
        Level(Set::Scalar).resample_picked(&values, &all, &weights, &mut found);
        prop_assert_eq!(found, expected);
        for element in [ElementType::F32, ElementType::F16, ElementType::U8] {
            let norm = if element == ElementType::U8 { Affine { gain: 1.0 / 20.0, bias: -30.0 } } else { norm };
            let room = n * element.bytes();
            same(vec![0; room], |level, out| level.store_pairs(&codes, &weights, norm, element, out))?;
            same(vec![0; 2 * room], |level, out| level.store_codes(&codes, norm, element, out))?;
            // Every second pair, and the one before it.
            let firsts: Vec<u32> = (0..n as u32).map(|i| (2 * i).saturating_sub(i % 2)).collect();
            let index: Vec<u32> = firsts.iter().flat_map(|&at| [at, at + 1]).collect();
            let pairs: Vec<i16> = index.iter().map(|&at| codes[at as usize]).collect();
            let mut expected = vec![0; room];
            Level(Set::Scalar).store_pairs(&pairs, &weights, norm, element, &mut expected);
            for level in Level::all() {
                let picks = level.picks(index.clone(), 2, codes.len());
                prop_assert!(picks.are_pairs());
                let mut found = vec![0; room];
                level.store_picked_pairs(&codes, &picks, &weights, norm, element, &mut found);
                prop_assert!(found == expected, "{}: {found:?} is not {expected:?}", level.name());
            }
        }
    }

    #[test]
    fn storing_is_the_same(n in 0usize..200, seed: u32) {
        // Wider than bytes hold, to see them clamped.
        let values: Vec<f32> = floats(n, seed).iter().map(|value| value * 2.0 - 100.0).collect();
        for element in [ElementType::F32, ElementType::F16, ElementType::U8] {
            let room = n * element.bytes();
            same(vec![0; room], |level, out| level.store(&values, element, out))?;
            let lines = [bytes(room, seed), bytes(room, !seed), bytes(room, seed ^ 5)];
            let lines = lines.each_ref().map(Vec::as_slice);
            same(vec![0; 3 * room], |level, out| level.interleave(lines, element.bytes(), out))?;
        }
        let lines = [line(n, seed, 8160), line(n, !seed, 8160), line(n, seed ^ 5, 8160)];
        same(vec![0; 3 * n], |level, out| level.store_pixels(lines.each_ref().map(Vec::as_slice), out))?;
    }
}

#[test]
fn short_lines_are_caught() {
    for level in Level::all() {
        let picks = level.picks((0..100).map(|i| 3 * i).collect(), 1, 300);
        let short = std::panic::catch_unwind(|| level.pick(&[0; 297], &picks, &mut [0; 100]));
        let narrow = std::panic::catch_unwind(|| level.pick(&[0; 300], &picks, &mut [0; 10]));
        assert!(short.is_err(), "{}: a short line was read", level.name());
        assert!(narrow.is_err() || level.name() == "scalar", "{}: a short output was written", level.name());
    }
}

#[test]
#[should_panic(expected = "a pick lies outside its line")]
fn picks_outside_their_line_are_refused() {
    Level::best().picks(vec![10], 1, 10);
}
