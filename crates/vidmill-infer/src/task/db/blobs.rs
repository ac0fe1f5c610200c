//! The outlines of a binary map, as `cv2.findContours(RETR_LIST)` has them: one around each part, and one around each hole in it.

use vidmill_image::Size;

/// A pixel: column and row.
pub(super) type Pixel = [i32; 2];

/// Set pixels side by side: from `first` to `last`, both included.
#[derive(Clone, Copy, Debug)]
struct Run {
    row: i32,
    first: i32,
    last: i32,
    is_set: bool,
}

/// Of each outline some of its pixels, among which all its extreme ones are: enough for a hull. The lowest outline comes first, and
/// there are `most` at most, which is the order, and the limit, of the authors' program.
///
/// Set pixels that touch at a corner are one part; clear ones are not one hole.
pub(super) fn outlines(size: Size, is_set: &[bool], most: usize) -> Vec<Vec<Pixel>> {
    let runs = runs(size, is_set);
    let rows = rows(size, &runs);
    let mut groups = Groups::new(runs.len());
    for row in 1..rows.len() {
        join(&runs, rows[row - 1].clone(), rows[row].clone(), &mut groups);
    }
    // Clear pixels at the edge are no hole, and belong to nothing.
    let (right, bottom) = (size.width as i32 - 1, size.height as i32 - 1);
    let mut is_open = vec![false; runs.len()];
    for (number, run) in runs.iter().enumerate().filter(|(_, run)| !run.is_set) {
        let at_edge = run.row == 0 || run.row == bottom || run.first == 0 || run.last == right;
        if at_edge {
            is_open[groups.of(number)] = true;
        }
    }
    let mut place = vec![usize::MAX; runs.len()];
    let mut found: Vec<Vec<Pixel>> = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        let group = groups.of(number);
        if !run.is_set && is_open[group] {
            continue;
        }
        if place[group] == usize::MAX {
            place[group] = found.len();
            found.push(Vec::new());
        }
        let outline = &mut found[place[group]];
        let Run { row, first, last, is_set } = *run;
        if is_set {
            outline.push([first, row]);
            if last > first {
                outline.push([last, row]);
            }
        } else {
            // Around a hole there are set pixels everywhere, or it would be open.
            outline.extend([[first - 1, row], [last + 1, row]]);
            for near in [row - 1, row + 1] {
                let set = runs[rows[near as usize].clone()].iter().filter(|other| other.is_set);
                for other in set.filter(|other| other.last >= first && other.first <= last) {
                    outline.extend([[other.first.max(first), near], [other.last.min(last), near]]);
                }
            }
        }
    }
    found.reverse();
    found.truncate(most);
    found
}

/// All runs, set and clear, row by row.
fn runs(size: Size, is_set: &[bool]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (row, pixels) in (0_i32..).zip(is_set.chunks_exact(size.width as usize)) {
        let mut first = 0;
        while first < pixels.len() {
            let value = pixels[first];
            let length = pixels[first..].iter().position(|&other| other != value);
            let end = length.map_or(pixels.len(), |length| first + length);
            runs.push(Run { row, first: first as i32, last: end as i32 - 1, is_set: value });
            first = end;
        }
    }
    runs
}

/// Which runs each row has.
fn rows(size: Size, runs: &[Run]) -> Vec<std::ops::Range<usize>> {
    let mut rows = Vec::with_capacity(size.height as usize);
    let mut start = 0;
    for row in 0..size.height as i32 {
        let length = runs[start..].iter().take_while(|run| run.row == row).count();
        rows.push(start..start + length);
        start += length;
    }
    rows
}

/// Joins the runs of a row to those of the row above that they touch.
fn join(runs: &[Run], above: std::ops::Range<usize>, below: std::ops::Range<usize>, groups: &mut Groups) {
    let mut a = above.start;
    for b in below {
        let run = runs[b];
        // What ends before this one's left neighbour touches none of the later ones either.
        while a < above.end && runs[a].last < run.first - 1 {
            a += 1;
        }
        for (number, other) in (a..above.end).map(|number| (number, runs[number])) {
            if other.first > run.last + 1 {
                break;
            }
            let reach = i32::from(run.is_set);
            let touches = other.last >= run.first - reach && other.first <= run.last + reach;
            if other.is_set == run.is_set && touches {
                groups.join(number, b);
            }
        }
    }
}

/// Numbers that are joined to groups; of each the smallest stands for all.
struct Groups(Vec<usize>);

impl Groups {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }
    fn of(&mut self, mut number: usize) -> usize {
        while self.0[number] != number {
            self.0[number] = self.0[self.0[number]];
            number = self.0[number];
        }
        number
    }
    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(text: &[&str]) -> Vec<Vec<Pixel>> {
        let size = Size::new(text[0].len() as u32, text.len() as u32);
        let is_set: Vec<bool> = text.iter().flat_map(|row| row.bytes().map(|byte| byte == b'#')).collect();
        let mut all = outlines(size, &is_set, 1000);
        for outline in &mut all {
            outline.sort_unstable();
            outline.dedup();
        }
        all
    }

    #[test]
    fn parts_touch_at_corners_and_holes_do_not() {
        let all = sorted(&[
            "#......", //
            ".#.....", "...###.", "...#.#.", "...#.##", "...###.",
        ]);
        assert_eq!(all.len(), 3);
        // The hole, the ring, the two that touch.
        assert_eq!(all[0], [[3, 3], [3, 4], [4, 2], [4, 5], [5, 3], [5, 4]]);
        assert!(all[1].contains(&[6, 4]) && all[1].contains(&[3, 5]));
        assert_eq!(all[2], [[0, 0], [1, 1]]);
    }

    #[test]
    fn nothing_and_everything() {
        assert!(sorted(&["...", "..."]).is_empty());
        assert_eq!(sorted(&["##", "##"]), [[[0, 0], [0, 1], [1, 0], [1, 1]]]);
        assert_eq!(sorted(&["#.#.#"]).len(), 3);
    }

    #[test]
    fn there_are_no_more_than_asked_for_the_lowest_first() {
        let is_set = [true, false, true, false, false, false, false, true, false];
        let all = outlines(Size::new(3, 3), &is_set, 2);
        assert_eq!(all, [vec![[1, 2]], vec![[2, 0]]]);
    }
}
