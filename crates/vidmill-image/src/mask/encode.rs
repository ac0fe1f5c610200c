//! From pixels to spans, runs and text.

use super::{MaskError, Span};
use crate::Size;

/// Bytes that are looked at together.
const WORD: usize = 8;

/// Most characters of a number: 7 times 5 bits hold the difference of any two runs.
const LONGEST: u32 = 7;

/// The spans of a picture of one byte a pixel, column by column, each from top to bottom. `rows` is as long as `size` says.
///
/// Objects are coherent: most rows are like the one above. So rows are read as they lie, compared with the one above by words, and the
/// few pixels that differ are sorted by columns afterwards.
pub(super) fn spans(size: Size, rows: &[u8]) -> Vec<Span> {
    let width = size.width as usize;
    if rows.is_empty() {
        return Vec::new();
    }
    let blank = vec![0; width];
    let below = rows.chunks_exact(width).chain([&blank[..]]);
    let above = [&blank[..]].into_iter().chain(rows.chunks_exact(width));
    // Column and row where it changes between clear and set, row by row; and how often each column does.
    let mut changes: Vec<[u32; 2]> = Vec::new();
    let mut counts = vec![0u32; width];
    for (y, (above, row)) in (0u32..).zip(above.zip(below)) {
        differing(above, row, |x| {
            changes.push([x as u32, y]);
            counts[x] += 1;
        });
    }
    // Each column changes an even number of times, so the spans of those before it tell where its own begin.
    let mut filled = 0;
    let mut next: Vec<u32> = counts
        .iter()
        .map(|count| {
            let first = filled;
            filled += count;
            first
        })
        .collect();
    let mut spans = vec![Span { x: 0, top: 0, bottom: 0 }; changes.len() / 2];
    for [x, y] in changes {
        let place = &mut next[x as usize];
        let span = &mut spans[*place as usize / 2];
        if place.is_multiple_of(2) {
            *span = Span { x, top: y, bottom: y }
        } else {
            span.bottom = y
        }
        *place += 1;
    }
    spans
}

/// The spans of each class of a picture of one class a pixel: by class, then column by column, each from top to bottom. `rows` is as
/// long as `size` says.
pub(super) fn spans_of_classes<T: Copy + Ord>(size: Size, rows: &[T]) -> Vec<(T, Span)> {
    let width = size.width as usize;
    if rows.is_empty() {
        return Vec::new();
    }
    let mut spans = Vec::new();
    let mut tops = vec![0; width];
    let last = &rows[rows.len() - width..];
    let pairs = rows.chunks_exact(width).zip(rows.chunks_exact(width).skip(1));
    for (y, (above, row)) in (1u32..).zip(pairs) {
        for (at, (part_above, part)) in (0..).step_by(WORD).zip(above.chunks(WORD).zip(row.chunks(WORD))) {
            if part_above == part {
                continue;
            }
            for (x, (class, new)) in (at..).zip(part_above.iter().zip(part)) {
                if class != new {
                    spans.push((*class, Span { x: x as u32, top: tops[x], bottom: y }));
                    tops[x] = y;
                }
            }
        }
    }
    let ends = (0..).zip(last.iter().zip(&tops));
    spans.extend(ends.map(|(x, (class, top))| (*class, Span { x, top: *top, bottom: size.height })));
    spans.sort_unstable_by_key(|(class, span)| (*class, span.x, span.top));
    spans
}

/// Calls `change` for each place where one row is set and the other is not, from left to right.
fn differing(above: &[u8], row: &[u8], mut change: impl FnMut(usize)) {
    let (words, rest) = row.as_chunks::<WORD>();
    let (words_above, rest_above) = above.as_chunks::<WORD>();
    for (i, (word, above)) in words.iter().zip(words_above).enumerate() {
        if word == above {
            continue;
        }
        let mut differ = set_bytes(*word) ^ set_bytes(*above);
        while differ != 0 {
            change(i * WORD + differ.trailing_zeros() as usize / 8);
            differ &= differ - 1;
        }
    }
    for (i, (value, above)) in rest.iter().zip(rest_above).enumerate() {
        if (*value == 0) != (*above == 0) {
            change(words.len() * WORD + i);
        }
    }
}

/// The highest bit of each byte that is not 0.
fn set_bytes(word: [u8; WORD]) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let word = u64::from_le_bytes(word);
    (((word & LOW) + LOW) | word) & !LOW
}

/// The runs of a picture of `pixels` pixels, `height` a column, of which `spans` are set.
pub(super) fn runs(pixels: u32, height: u32, spans: impl Iterator<Item = Span>) -> Vec<u32> {
    let mut runs = Vec::with_capacity(2 * spans.size_hint().0 + 1);
    let mut end = 0;
    for span in spans {
        let start = span.x * height + span.top;
        // What reaches the foot of a column goes on at the head of the next.
        match runs.last_mut() {
            Some(last) if start == end => *last += span.bottom - span.top,
            _ => runs.extend([start - end, span.bottom - span.top]),
        }
        end = span.x * height + span.bottom;
    }
    if end < pixels || runs.is_empty() {
        runs.push(pixels - end);
    }
    runs
}

/// The same runs with none empty but the first.
pub(super) fn shortest(runs: &[u32]) -> Vec<u32> {
    let mut short: Vec<u32> = Vec::with_capacity(runs.len().max(1));
    for (i, &run) in runs.iter().enumerate() {
        let is_set = i % 2 == 1;
        let last_is_set = short.len().is_multiple_of(2);
        match short.last_mut() {
            _ if run == 0 => {}
            // The last run kept is of the same kind: what lay between them was empty.
            Some(last) if is_set == last_is_set => *last += run,
            None if is_set => short.extend([0, run]),
            _ => short.push(run),
        }
    }
    if short.is_empty() {
        short.push(0);
    }
    short
}

/// Compressed counts: from the fourth on a run is written as its difference to the one before the last; numbers in groups of 5 bits,
/// lowest first, with the sign in the last group's highest; a sixth bit says that more follow; 48 makes it a character (`rleToString`
/// of pycocotools).
pub(super) fn write(runs: &[u32]) -> String {
    let mut text = String::with_capacity(3 * runs.len());
    for (i, &run) in runs.iter().enumerate() {
        let mut rest = i64::from(run) - if i > 2 { i64::from(runs[i - 2]) } else { 0 };
        loop {
            let group = (rest & 0x1f) as u8;
            rest >>= 5;
            let is_last = rest == if group & 0x10 == 0 { 0 } else { -1 };
            text.push(char::from(48 + group + if is_last { 0 } else { 0x20 }));
            if is_last {
                break;
            }
        }
    }
    text
}

/// The runs of compressed counts. As many as there are bytes at most.
pub(super) fn read(text: &str) -> Result<Vec<u32>, MaskError> {
    let mut runs: Vec<u32> = Vec::new();
    let (mut number, mut groups) = (0i64, 0);
    for (at, byte) in text.bytes().enumerate() {
        let group = byte.wrapping_sub(48);
        if group > 0x3f || groups == LONGEST {
            return Err(MaskError::Text(at));
        }
        number |= i64::from(group & 0x1f) << (5 * groups);
        groups += 1;
        if group & 0x20 != 0 {
            continue;
        }
        if group & 0x10 != 0 {
            number |= -1 << (5 * groups);
        }
        let before = if runs.len() > 2 { runs[runs.len() - 2] } else { 0 };
        let run = u32::try_from(number + i64::from(before)).map_err(|_| MaskError::Run(runs.len()))?;
        runs.push(run);
        (number, groups) = (0, 0);
    }
    if groups > 0 {
        return Err(MaskError::Text(text.len()));
    }
    Ok(runs)
}
