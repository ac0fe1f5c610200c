//! Where names stand.

use super::canvas::Area;

/// Rows of names that may stand on each other within a box.
const STACKED: i64 = 5;

/// Places names so that they do not cover each other as long as there is room.
#[derive(Debug, Default)]
pub(super) struct Labels {
    taken: Vec<Area>,
}

impl Labels {
    /// A place of `width` by `height` at one of `anchors`, all within `picture`: the first that is free, or where it hides least of the
    /// names that are there. Each anchor has places above, inside at its top, below, and beside it, then at its other corners.
    pub(super) fn place(&mut self, anchors: &[Area], width: i64, height: i64, picture: Area) -> Area {
        let places = anchors.iter().flat_map(|anchor| places(*anchor, width, height, picture));
        let mut best: Option<(i64, Area)> = None;
        for place in places {
            let limit = best.map_or(i64::MAX, |(hidden, _)| hidden);
            let hidden = self.hidden_by(place, limit);
            if hidden < limit {
                best = Some((hidden, place));
            }
            if hidden == 0 {
                break;
            }
        }
        let at_origin = Area { left: 0, top: 0, right: width, bottom: height };
        let place = best.map_or(at_origin, |(_, place)| place);
        self.taken.push(place);
        place
    }

    /// Pixels of names that a name at `place` would hide; `limit` or more if it is not less.
    fn hidden_by(&self, place: Area, limit: i64) -> i64 {
        let mut hidden = 0;
        for taken in &self.taken {
            hidden += taken.intersect(place).pixels();
            if hidden >= limit {
                break;
            }
        }
        hidden
    }
}

/// Places at what is visible of an anchor, best first.
fn places(anchor: Area, width: i64, height: i64, picture: Area) -> impl Iterator<Item = Area> {
    let Area { left, top, right, bottom } = anchor;
    let (far, foot) = (right - width, bottom - height);
    let near = [
        (left, top - height),
        (left, top),
        (left, bottom),
        (right, top),
        (left - width, top),
        (far, top - height),
        (far, top),
        (left, foot),
        (far, foot),
        (far, bottom),
        (right, foot),
        (left - width, foot),
        (left, top - 2 * height),
    ];
    let inside = (1..STACKED).map(move |row| (left, top + row * height)).take_while(move |(_, y)| *y < foot);
    let fits = move |&(x, y): &(i64, i64)| {
        // Names may be moved along the edge of their box, so that they stay inside the picture; but not away from it.
        y >= 0 && y + height <= picture.bottom && (x == left || (x >= 0 && x + width <= picture.right))
    };
    // At the foot of the picture, or where it is lower than a line, nothing of these fits.
    let last = [(left, top.min(picture.bottom - height).max(0))];
    near.into_iter().chain(inside).filter(fits).chain(last).map(move |(x, top)| {
        let left = x.min(picture.right - width).max(0);
        Area { left, top, right: left + width, bottom: top + height }
    })
}
