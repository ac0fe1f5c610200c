//! Where names stand.

use super::canvas::Area;

/// How often a name makes way for another along a side of its box, before the next side is tried.
const STEPS: usize = 8;

/// Places names so that they do not cover each other as long as there is room.
#[derive(Debug, Default)]
pub(super) struct Labels {
    taken: Vec<Area>,
}

impl Labels {
    /// A place of `width` by `height` at one of `anchors`, all within `picture`: the first that is free, or where it hides least of the
    /// names that are there. Each anchor has places above, inside at its top, below, and beside it; then at its other corners; then
    /// wherever there is a gap along its left, upper and lower side.
    pub(super) fn place(&mut self, anchors: &[Area], width: i64, height: i64, picture: Area) -> Area {
        let fixed = anchors.iter().flat_map(|anchor| places(*anchor, width, height, picture));
        let gap = || anchors.iter().find_map(|anchor| self.gap(*anchor, width, height, picture));
        let place = self.least_hiding(fixed).or_else(|best| gap().or(best).ok_or(()));
        let place = place.unwrap_or(Area { left: 0, top: 0, right: width, bottom: height });
        self.taken.push(place);
        place
    }

    /// The first place that is free; else, as an error, the one that hides least.
    fn least_hiding(&self, places: impl Iterator<Item = Area>) -> Result<Area, Option<Area>> {
        let (mut least, mut best) = (i64::MAX, None);
        for place in places {
            let hidden = self.hidden_by(place, least);
            if hidden == 0 {
                return Ok(place);
            }
            if hidden < least {
                (least, best) = (hidden, Some(place));
            }
        }
        Err(best)
    }

    /// A free place along the left side of `anchor`, its upper side, or its lower side, within the picture.
    fn gap(&self, anchor: Area, width: i64, height: i64, picture: Area) -> Option<Area> {
        let at = |left: i64, top: i64| Area { left, top, right: left + width, bottom: top + height };
        let Area { left, top, right, bottom } = anchor;
        let left = left.min(picture.right - width).max(0);
        // Where to begin, and whether to go on below what is in the way, or beside it.
        let sides = [
            (at(left, top), true),
            (at(left, top - height), false),
            (at(left, top), false),
            (at(left, bottom), false),
        ];
        sides.into_iter().find_map(|(first, goes_down)| {
            let mut place = first;
            for _ in 0..STEPS {
                let is_near = place.left < right.max(left + 1) && place.top < bottom.max(first.top + 1);
                if !is_near || place.intersect(picture) != place {
                    return None;
                }
                match self.taken.iter().find(|taken| !taken.intersect(place).is_empty()) {
                    Some(taken) if goes_down => place = at(place.left, taken.bottom),
                    Some(taken) => place = at(taken.right, place.top),
                    None => return Some(place),
                }
            }
            None
        })
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
    ];
    let fits = move |&(x, y): &(i64, i64)| {
        // Names may be moved along the edge of their box, so that they stay inside the picture; but not away from it.
        y >= 0 && y + height <= picture.bottom && (x == left || (x >= 0 && x + width <= picture.right))
    };
    // At the foot of the picture, or where it is lower than a line, nothing of these fits.
    let last = [(left, top.min(picture.bottom - height).max(0))];
    near.into_iter().filter(fits).chain(last).map(move |(x, top)| {
        let left = x.min(picture.right - width).max(0);
        Area { left, top, right: left + width, bottom: top + height }
    })
}
