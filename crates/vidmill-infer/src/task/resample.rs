//! From a map over the model's input to the displayed frame: which pixels are over a threshold, which class each is of.
//!
//! Values between those of the map are interpolated as PyTorch's `interpolate(mode="bilinear", align_corners=False)` does it. An
//! interpolated value lies between its neighbours: where they agree in what is asked, so do all pixels between them, and only the
//! others are computed. So time follows the edges in a map more than the size of the frame.

use std::collections::BTreeMap;
use std::ops::Range;

use vidmill_image::{Geometry, Size, Span};

/// How a map over the input is read at the pixels of the displayed frame.
#[derive(Debug)]
pub(super) struct Resampler {
    x: Axis,
    y: Axis,
}

/// One axis of it.
#[derive(Debug)]
struct Axis {
    /// The first of the values that a pixel lies between.
    start: Vec<usize>,
    /// How much of it and of the two after it.
    weights: Vec<[f32; TAPS]>,
    /// The places of these after the first: 0, 1 and 2, or 0, 1 and 1 where no third one counts.
    taps: [usize; TAPS],
    /// The pixels that the input shows; those that were cut off are not in it.
    shown: Range<u32>,
}

/// A pixel lies between two values; after two steps, between three.
const TAPS: usize = 3;

/// Neighbouring pixels that lie between the same values.
#[derive(Clone, Debug)]
struct Group {
    start: usize,
    pixels: Range<u32>,
}

/// A part of the map, column by column.
pub(super) struct Window {
    pub columns: Range<usize>,
    pub rows: Range<usize>,
    pub values: Vec<f32>,
}

impl Resampler {
    /// For maps of `map` values over the whole input.
    ///
    /// The frame's part of the map is cut out at whole values first. Where that does not go, a map finer by 2 or 4 is interpolated
    /// before, as Ultralytics' `process_mask_native` does (`ultralytics/utils/ops.py`).
    pub(super) fn new(geometry: &Geometry, map: Size) -> Self {
        let axis = |i: usize, map: u32, input: u32, pixels: u32| {
            let ratio = f64::from(map) / f64::from(input);
            let first = geometry.offset[i] * ratio;
            (map as usize, first, first + geometry.scale[i] * f64::from(pixels) * ratio, pixels)
        };
        let Geometry { displayed, input, .. } = *geometry;
        let x = axis(0, map.width, input.width, displayed.width);
        let y = axis(1, map.height, input.height, displayed.height);
        let is_whole = |value: f64| (value - value.round()).abs() < 1e-6;
        let all_whole = |by: usize| [x.1, x.2, y.1, y.2].into_iter().all(|edge| is_whole(edge * by as f64));
        let finer = [1, 2, 4].into_iter().find(|by| all_whole(*by)).unwrap_or(1);
        Self { x: Axis::new(x, finer), y: Axis::new(y, finer) }
    }

    /// The whole frame.
    pub(super) fn all(&self) -> [Range<u32>; 2] {
        [0..self.x.start.len() as u32, 0..self.y.start.len() as u32]
    }

    /// The part of the map that pixels of columns and rows `part` lie between.
    pub(super) fn window(&self, part: &[Range<u32>; 2], map: Size) -> [Range<usize>; 2] {
        [self.x.needed(&part[0], map.width as usize), self.y.needed(&part[1], map.height as usize)]
    }

    /// Where the values of the map are over 0, of the frame's columns and rows `part`. `window` holds what [`Self::window`] says.
    pub(super) fn positive(&self, part: &[Range<u32>; 2], window: &Window) -> Vec<Span> {
        let mut spans = Vec::new();
        let height = window.rows.len();
        let (groups, mut column) = (self.y.groups(&part[1]), vec![0.0; height + TAPS]);
        for x in overlap(&part[0], &self.x.shown) {
            let (start, weights) =
                (self.x.start[x as usize] - window.columns.start, self.x.weights[x as usize]);
            let of = |tap: usize| {
                let at = (start + tap).min(window.columns.len() - 1) * height;
                &window.values[at..at + height]
            };
            for (value, ((a, b), c)) in column.iter_mut().zip(of(0).iter().zip(of(1)).zip(of(2))) {
                *value = weights[0] * a + weights[1] * b + weights[2] * c;
            }
            let last = column[height - 1];
            column[height..].fill(last);
            let mut open: Option<Span> = None;
            for Group { start, pixels } in &groups {
                let values: [f32; TAPS] = self.y.taps.map(|tap| column[start - window.rows.start + tap]);
                if values.iter().all(|value| *value > 0.0) {
                    put(&mut spans, &mut open, x, pixels.clone());
                } else if values.iter().any(|value| *value > 0.0) {
                    for y in pixels.clone() {
                        let weights = self.y.weights[y as usize];
                        if weights[0] * values[0] + weights[1] * values[1] + weights[2] * values[2] > 0.0 {
                            put(&mut spans, &mut open, x, y..y + 1);
                        }
                    }
                }
            }
            spans.extend(open);
        }
        spans
    }

    /// Which class has the highest value at each pixel of the frame, the first of equals: the pixels of each of `classes` classes.
    /// `planes` has the map of one class after the other, row by row.
    pub(super) fn classes(&self, map: Size, planes: &[f32], classes: usize) -> Vec<Vec<Span>> {
        let (width, height) = (map.width as usize, map.height as usize);
        let winners = winners(planes, width, height, classes);
        let taps = [self.x.taps, self.y.taps];
        let cells = Cells { planes, width, height, classes, taps, winners: &winners };
        let mut spans = vec![Vec::new(); classes];
        let groups = self.y.groups(&self.y.shown);
        let mut kinds = Vec::with_capacity(groups.len());
        for Group { start: column, pixels } in self.x.groups(&self.x.shown) {
            kinds.clear();
            kinds.extend(groups.iter().map(|group| cells.kind(column, group.start)));
            for x in pixels {
                let across = self.x.weights[x as usize];
                let mut open: Option<(u32, Span)> = None;
                let mut put = |class: u32, pixels: Range<u32>| match &mut open {
                    Some((current, span)) if *current == class && span.bottom == pixels.start => {
                        span.bottom = pixels.end;
                    }
                    _ => {
                        let span = Span { x, top: pixels.start, bottom: pixels.end };
                        if let Some((class, span)) = open.replace((class, span)) {
                            spans[class as usize].push(span);
                        }
                    }
                };
                for (group, kind) in groups.iter().zip(&kinds) {
                    match kind {
                        Kind::One(class) => put(*class, group.pixels.clone()),
                        Kind::Several(candidates) => {
                            let between = |(class, corners): &(u32, [[f32; TAPS]; TAPS])| {
                                (*class, corners.map(|row| dot(row, across)))
                            };
                            let candidates: Vec<(u32, [f32; TAPS])> =
                                candidates.iter().map(between).collect();
                            for y in group.pixels.clone() {
                                let down = self.y.weights[y as usize];
                                let mut best = (candidates[0].0, dot(candidates[0].1, down));
                                for (class, values) in &candidates[1..] {
                                    let value = dot(*values, down);
                                    if value > best.1 {
                                        best = (*class, value);
                                    }
                                }
                                put(best.0, y..y + 1);
                            }
                        }
                    }
                }
                if let Some((class, span)) = open {
                    spans[class as usize].push(span);
                }
            }
        }
        spans
    }
}

fn dot(values: [f32; TAPS], weights: [f32; TAPS]) -> f32 {
    values[0] * weights[0] + values[1] * weights[1] + values[2] * weights[2]
}

/// Goes on with the span that is open, or closes it and opens another.
fn put(spans: &mut Vec<Span>, open: &mut Option<Span>, x: u32, pixels: Range<u32>) {
    match open {
        Some(span) if span.bottom == pixels.start => span.bottom = pixels.end,
        _ => spans.extend(open.replace(Span { x, top: pixels.start, bottom: pixels.end })),
    }
}

/// The maps of all classes, looked at between neighbouring places.
struct Cells<'a> {
    planes: &'a [f32],
    width: usize,
    height: usize,
    classes: usize,
    taps: [[usize; TAPS]; 2],
    /// The class of the highest value at each place, column by column.
    winners: &'a [u32],
}

/// Which classes may be the highest at a pixel between some places.
enum Kind {
    One(u32),
    /// With their values at the places: rows of columns.
    Several(Vec<(u32, [[f32; TAPS]; TAPS])>),
}

impl Cells<'_> {
    /// Of the places from `column` and `row` on.
    fn kind(&self, column: usize, row: usize) -> Kind {
        let columns = self.taps[0].map(|tap| (column + tap).min(self.width - 1));
        let rows = self.taps[1].map(|tap| (row + tap).min(self.height - 1));
        let first = self.winners[column * self.height + row];
        let is_first = |x: &usize| rows.iter().all(|y| self.winners[x * self.height + y] == first);
        // A class that is the highest at all places is so between them.
        if columns.iter().all(is_first) {
            return Kind::One(first);
        }
        let corners = |class: usize| {
            let plane = &self.planes[class * self.width * self.height..];
            rows.map(|y| columns.map(|x| plane[y * self.width + x]))
        };
        let least = |corners: &[[f32; TAPS]; TAPS]| {
            corners.as_flattened().iter().copied().fold(f32::INFINITY, f32::min)
        };
        let most = |corners: &[[f32; TAPS]; TAPS]| {
            corners.as_flattened().iter().copied().fold(f32::NEG_INFINITY, f32::max)
        };
        // The highest value is nowhere lower than the least of any one class.
        let floor = (0..self.classes).map(|class| least(&corners(class))).fold(f32::NEG_INFINITY, f32::max);
        let candidates = (0u32..).zip((0..self.classes).map(corners));
        Kind::Several(candidates.filter(|(_, corners)| most(corners) >= floor).collect())
    }
}

/// The class of the highest value at each place, the first of equals, column by column.
fn winners(planes: &[f32], width: usize, height: usize, classes: usize) -> Vec<u32> {
    let places = width * height;
    let mut values = planes[..places].to_vec();
    let mut ids = vec![0u32; places];
    // By stretches that stay in the cache while all classes go over them.
    const STRETCH: usize = 4096;
    for (at, (values, ids)) in values.chunks_mut(STRETCH).zip(ids.chunks_mut(STRETCH)).enumerate() {
        for class in 1..classes {
            let from = class * places + at * STRETCH;
            let id = class as u32;
            for ((best, best_id), &value) in values.iter_mut().zip(ids.iter_mut()).zip(&planes[from..]) {
                let higher = value > *best;
                *best = if higher { value } else { *best };
                *best_id = if higher { id } else { *best_id };
            }
        }
    }
    let mut by_column = vec![0; places];
    for (y, row) in ids.chunks_exact(width).enumerate() {
        for (x, id) in row.iter().enumerate() {
            by_column[x * height + y] = *id;
        }
    }
    by_column
}

impl Axis {
    /// `pixels` pixels over the values from `first` to `end` of a map of `map`, which may not be whole, and may reach out of it;
    /// interpolated in a map that is `finer` times as fine.
    fn new((map, first, end, pixels): (usize, f64, f64, u32), finer: usize) -> Self {
        let count = map * finer;
        let (first, end) = (first * finer as f64, end * finer as f64);
        let last = count.saturating_sub(1) as f64;
        let (lowest, highest) = (first.round().clamp(0.0, last), (end.round() - 1.0).clamp(0.0, last));
        // PyTorch works these out in single precision.
        let step = (end - first) as f32 / pixels as f32;
        let (mut start, mut weights) = (Vec::new(), Vec::new());
        let mut shown = 0..0;
        for pixel in 0..pixels {
            let at = (step * (pixel as f32 + 0.5) - 0.5).max(0.0);
            let (whole, part) = (at.floor(), at - at.floor());
            let (whole, part) = match first.fract() == 0.0 {
                true => (f64::from(whole) + first, part),
                false => {
                    let at = f64::from(at) + first;
                    (at.floor(), (at - at.floor()) as f32)
                }
            };
            let lower = whole.clamp(lowest, highest.max(lowest)) as usize;
            let upper = (whole + 1.0).clamp(lowest, highest.max(lowest)) as usize;
            let (from, weight) = taps(lower, upper, part, map, finer);
            start.push(from);
            weights.push(weight);
            let centre = (f64::from(pixel) + 0.5) * (end - first) / f64::from(pixels) + first;
            if (0.0..count as f64).contains(&centre) {
                shown = if shown.is_empty() { pixel..pixel + 1 } else { shown.start..pixel + 1 };
            }
        }
        Self { start, weights, taps: if finer == 1 { [0, 1, 1] } else { [0, 1, 2] }, shown }
    }

    /// The values that `pixels` lie between; at least one.
    fn needed(&self, pixels: &Range<u32>, map: usize) -> Range<usize> {
        let at = |pixel: u32| self.start.get(pixel as usize).copied().unwrap_or(0);
        let first = at(pixels.start);
        first..(at(pixels.end.saturating_sub(1)).max(first) + TAPS).min(map)
    }

    /// Those of `pixels` that are shown, by the values that they lie between.
    fn groups(&self, pixels: &Range<u32>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for pixel in overlap(pixels, &self.shown) {
            let start = self.start[pixel as usize];
            match groups.last_mut() {
                Some(group) if group.start == start => group.pixels.end = pixel + 1,
                _ => groups.push(Group { start, pixels: pixel..pixel + 1 }),
            }
        }
        groups
    }
}

/// The values of the map that a pixel lies between, which is between `lower` and `upper` of a map `finer` times as fine, by `part`.
fn taps(lower: usize, upper: usize, part: f32, map: usize, finer: usize) -> (usize, [f32; TAPS]) {
    let of = |place: usize| {
        let at = ((place as f32 + 0.5) / finer as f32 - 0.5).max(0.0);
        let whole = (at.floor() as usize).min(map - 1);
        (whole, (whole + 1).min(map - 1), at - at.floor())
    };
    let (first, mut weights) = (of(lower).0, [0.0; TAPS]);
    for (place, share) in [(lower, 1.0 - part), (upper, part)] {
        let (low, high, part) = of(place);
        weights[low - first] += share * (1.0 - part);
        weights[high - first] += share * part;
    }
    (first, weights)
}

fn overlap(a: &Range<u32>, b: &Range<u32>) -> Range<u32> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}

/// The pixels of each class of a map of classes, row by row: each pixel has that of the place that its upper left corner is in, as
/// PyTorch's `interpolate(mode="nearest")` takes it.
pub(super) fn nearest(geometry: &Geometry, map: Size, classes: &[u32]) -> BTreeMap<u32, Vec<Span>> {
    let axis = |i: usize, map: u32, input: u32, pixels: u32| -> (Vec<usize>, Range<u32>) {
        let ratio = f64::from(map) / f64::from(input);
        let first = geometry.offset[i] * ratio;
        let length = geometry.scale[i] * f64::from(pixels) * ratio;
        let step = length as f32 / pixels as f32;
        let place = |pixel: u32| f64::from((pixel as f32 * step).floor()) + first.round();
        let is_shown = |pixel: &u32| (0.0..f64::from(map)).contains(&place(*pixel));
        let shown: Vec<u32> = (0..pixels).filter(is_shown).collect();
        let range = shown.first().zip(shown.last()).map_or(0..0, |(first, last)| *first..last + 1);
        (range.clone().map(|pixel| place(pixel).clamp(0.0, f64::from(map - 1)) as usize).collect(), range)
    };
    let Geometry { displayed, input, .. } = *geometry;
    let (columns, xs) = axis(0, map.width, input.width, displayed.width);
    let (rows, ys) = axis(1, map.height, input.height, displayed.height);
    let mut found: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
    for (column, x) in columns.iter().zip(xs) {
        let mut top = ys.start;
        let class = |y: u32| classes[rows[(y - ys.start) as usize] * map.width as usize + column];
        for y in ys.clone() {
            if y + 1 == ys.end || class(y + 1) != class(y) {
                found.entry(class(y)).or_default().push(Span { x, top, bottom: y + 1 });
                top = y + 1;
            }
        }
    }
    found
}
