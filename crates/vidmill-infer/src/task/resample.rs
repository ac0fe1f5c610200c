//! From a map over the model's input to the displayed frame: which pixels are over a threshold, which class each is of.
//!
//! Values between those of the map are interpolated as PyTorch's `interpolate(mode="bilinear", align_corners=False)` does it. An
//! interpolated value lies between its neighbours: where they agree in what is asked, so do all pixels between them, and only the
//! others are computed. So time follows the edges in a map more than the size of the frame.

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
        let height = window.rows.len();
        let groups = self.y.groups(&part[1]);
        let (mut spans, mut signs, mut stretches) = (Vec::new(), Vec::new(), Vec::new());
        for Group { start, pixels } in self.x.groups(&part[0]) {
            let columns = self.x.taps.map(|tap| {
                let column = (start + tap - window.columns.start).min(window.columns.len() - 1);
                &window.values[column * height..(column + 1) * height]
            });
            signs.clear();
            let [a, b, c] = columns;
            signs.extend(a.iter().zip(b).zip(c).map(|((a, b), c)| Sign::of([*a, *b, *c])));
            stretches.clear();
            for Group { start, pixels } in &groups {
                let rows = self.y.taps.map(|tap| (start + tap - window.rows.start).min(height - 1));
                match Sign::all(rows.map(|row| signs[row])) {
                    Sign::Clear => {}
                    sign => Stretch::add(&mut stretches, Stretch { rows, pixels: pixels.clone(), sign }),
                }
            }
            for x in pixels {
                let across = self.x.weights[x as usize];
                let mut open: Option<Span> = None;
                for Stretch { rows, pixels, sign } in &stretches {
                    if *sign == Sign::Set {
                        put(&mut spans, &mut open, x, pixels.clone());
                        continue;
                    }
                    let values = rows.map(|row| dot(columns.map(|column| column[row]), across));
                    for y in pixels.clone() {
                        if dot(values, self.y.weights[y as usize]) > 0.0 {
                            put(&mut spans, &mut open, x, y..y + 1);
                        }
                    }
                }
                spans.extend(open);
            }
        }
        spans
    }

    /// Which class has the highest value at each pixel of the frame, the first of equals: the pixels of each class.
    /// `planes` has the map of one class after the other, row by row.
    pub(super) fn classes(&self, map: Size, planes: &[f32]) -> Vec<Vec<Span>> {
        let (width, height) = (map.width as usize, map.height as usize);
        let classes = planes.len() / (width * height);
        let winners = winners(planes, width * height);
        let mut picture = Picture::new(&self.x.shown, &self.y.shown);
        let columns = self.x.groups(&self.x.shown);
        let places: Vec<[usize; TAPS]> =
            columns.iter().map(|group| self.x.taps.map(|tap| (group.start + tap).min(width - 1))).collect();
        let mut open: Vec<Cell> = Vec::new();
        for Group { start, pixels } in self.y.groups(&self.y.shown) {
            let rows = self.y.taps.map(|tap| (start + tap).min(height - 1));
            let of_rows = rows.map(|row| &winners[row * width..(row + 1) * width]);
            open.clear();
            for (group, places) in columns.iter().zip(&places) {
                let class = of_rows[0][places[0]];
                // A class that is the highest at all places is so between them.
                if of_rows.iter().all(|row| places.iter().all(|place| row[*place] == class)) {
                    picture.fill(&group.pixels, &pixels, class);
                    continue;
                }
                // The highest value is nowhere lower than the least of any one class.
                let least = |class: u16| {
                    let plane = &planes[class as usize * width * height..];
                    let values =
                        rows.iter().flat_map(|row| places.iter().map(move |x| plane[row * width + x]));
                    values.fold(f32::INFINITY, f32::min)
                };
                let here = of_rows.iter().flat_map(|row| places.iter().map(|place| row[*place]));
                let floor = here.map(least).fold(f32::NEG_INFINITY, f32::max);
                open.push(Cell {
                    pixels: group.pixels.clone(),
                    places: *places,
                    floor,
                    candidates: Vec::new(),
                });
            }
            for class in 0..classes {
                let plane = &planes[class * width * height..];
                let rows = rows.map(|row| &plane[row * width..(row + 1) * width]);
                for cell in &mut open {
                    let values = rows.map(|row| cell.places.map(|place| row[place]));
                    if values.as_flattened().iter().any(|value| *value >= cell.floor) {
                        cell.candidates.push((class as u16, values));
                    }
                }
            }
            for cell in &open {
                for x in cell.pixels.clone() {
                    let across = self.x.weights[x as usize];
                    let column = picture.column(x, &pixels);
                    let down = &self.y.weights[pixels.start as usize..pixels.end as usize];
                    for (place, down) in column.iter_mut().zip(down) {
                        let mut best = f32::NEG_INFINITY;
                        for (class, values) in &cell.candidates {
                            let value = dot(values.map(|row| dot(row, across)), *down);
                            if value > best {
                                (best, *place) = (value, *class);
                            }
                        }
                    }
                }
            }
        }
        picture.spans(classes)
    }
}

/// Which of some neighbouring values are over 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Clear,
    Set,
    Mixed,
}

impl Sign {
    fn of(values: [f32; TAPS]) -> Self {
        let [a, b, c] = values.map(|value| value > 0.0);
        match (a & b & c, a | b | c) {
            (true, _) => Self::Set,
            (false, false) => Self::Clear,
            (false, true) => Self::Mixed,
        }
    }
    fn all([a, b, c]: [Self; TAPS]) -> Self {
        if a == b && b == c { a } else { Self::Mixed }
    }
}

/// Pixels of a column that lie between values of some rows, or, where all are set, of more rows than these.
#[derive(Debug)]
struct Stretch {
    rows: [usize; TAPS],
    pixels: Range<u32>,
    sign: Sign,
}

impl Stretch {
    fn add(stretches: &mut Vec<Self>, stretch: Self) {
        match stretches.last_mut() {
            Some(last)
                if last.sign == Sign::Set
                    && stretch.sign == Sign::Set
                    && last.pixels.end == stretch.pixels.start =>
            {
                last.pixels.end = stretch.pixels.end;
            }
            _ => stretches.push(stretch),
        }
    }
}

/// Pixels between places that differ in their highest class.
struct Cell {
    /// Columns of the frame.
    pixels: Range<u32>,
    /// Columns of the map.
    places: [usize; TAPS],
    /// What a class must reach at one of the places to be the highest anywhere between them.
    floor: f32,
    /// The classes that do, with their values: rows of columns.
    candidates: Vec<(u16, [[f32; TAPS]; TAPS])>,
}

/// A class for each pixel of a part of the frame, column by column.
struct Picture {
    classes: Vec<u16>,
    xs: Range<u32>,
    ys: Range<u32>,
}

impl Picture {
    fn new(xs: &Range<u32>, ys: &Range<u32>) -> Self {
        Self { classes: vec![0; xs.len() * ys.len()], xs: xs.clone(), ys: ys.clone() }
    }

    /// Some rows of a column.
    fn column(&mut self, x: u32, ys: &Range<u32>) -> &mut [u16] {
        let first = (x - self.xs.start) as usize * self.ys.len();
        &mut self.classes
            [first + (ys.start - self.ys.start) as usize..first + (ys.end - self.ys.start) as usize]
    }

    fn fill(&mut self, xs: &Range<u32>, ys: &Range<u32>, class: u16) {
        for x in xs.clone() {
            self.column(x, ys).fill(class);
        }
    }

    /// The pixels of each of `classes` classes.
    fn spans(&self, classes: usize) -> Vec<Vec<Span>> {
        let mut spans = vec![Vec::new(); classes];
        if self.ys.is_empty() {
            return spans;
        }
        for (x, column) in self.xs.clone().zip(self.classes.chunks_exact(self.ys.len())) {
            let mut top = 0;
            while top < column.len() {
                let length = alike(&column[top..]);
                let at = |row: usize| self.ys.start + row as u32;
                let span = Span { x, top: at(top), bottom: at(top + length) };
                spans[usize::from(column[top])].push(span);
                top += length;
            }
        }
        spans
    }
}

/// How many of the first of `values`, of which there is one at least, are equal.
fn alike(values: &[u16]) -> usize {
    const CHUNK: usize = 32;
    let first = values[0];
    let is_alike = |chunk: &[u16]| chunk.iter().fold(true, |all, value| all & (*value == first));
    let chunks = values.chunks(CHUNK).take_while(|chunk| is_alike(chunk)).count() * CHUNK;
    let rest = values.get(chunks..).unwrap_or_default();
    chunks.min(values.len()) + rest.iter().take_while(|value| **value == first).count()
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

/// The class of the highest value at each place, the first of equals.
fn winners(planes: &[f32], places: usize) -> Vec<u16> {
    let mut values = planes[..places].to_vec();
    let mut ids = vec![0u16; places];
    // By stretches that stay in the cache while all classes go over them.
    const STRETCH: usize = 4096;
    for (at, (values, ids)) in values.chunks_mut(STRETCH).zip(ids.chunks_mut(STRETCH)).enumerate() {
        for (class, plane) in (0u16..).zip(planes.chunks_exact(places)).skip(1) {
            let scores = &plane[at * STRETCH..];
            for ((best, id), &value) in values.iter_mut().zip(ids.iter_mut()).zip(scores) {
                let higher = value > *best;
                *best = if higher { value } else { *best };
                *id = if higher { class } else { *id };
            }
        }
    }
    ids
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

/// The pixels of each class up to the highest of a map of classes, which lie row by row: each pixel has that of the place that its upper left corner is in, as
/// PyTorch's `interpolate(mode="nearest")` takes it.
pub(super) fn nearest(geometry: &Geometry, map: Size, classes: &[u16]) -> Vec<Vec<Span>> {
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
    // Row of the map, and the first pixel that shows it.
    let mut steps: Vec<(usize, u32)> = rows.into_iter().zip(ys.clone()).collect();
    steps.dedup_by_key(|(row, _)| *row);
    let mut found = vec![Vec::new(); classes.iter().max().map_or(0, |most| usize::from(*most) + 1)];
    let mut runs: Vec<(u16, Range<u32>)> = Vec::new();
    let mut shown = None;
    for (column, x) in columns.into_iter().zip(xs) {
        // Pixels that show the same column of the map are equal.
        if shown.replace(column) != Some(column) {
            runs.clear();
            for (row, top) in &steps {
                let class = classes[row * map.width as usize + column];
                match runs.last_mut() {
                    Some((last, _)) if *last == class => {}
                    Some((_, pixels)) => {
                        pixels.end = *top;
                        runs.push((class, *top..ys.end));
                    }
                    None => runs.push((class, *top..ys.end)),
                }
            }
        }
        for (class, pixels) in &runs {
            found[usize::from(*class)].push(Span { x, top: pixels.start, bottom: pixels.end });
        }
    }
    found
}
