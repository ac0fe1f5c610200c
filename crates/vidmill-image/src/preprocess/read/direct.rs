//! Grey and RGB: components without a matrix.

use crate::kernel::{Level, Picks};
use crate::{ElementType, Planes};

use super::super::Kind;
use super::super::axis::{Columns, Position};
use super::super::convert::Convert;
use super::super::source::Component;
use super::neighbours;

/// What is taken of the rows is blended as it is (or the other way round), and converted when few values are left.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    components: Vec<(Component, Picks)>,
    weights: Option<Vec<f32>>,
    convert: Convert,
    element: ElementType,
    /// The samples that are taken of both rows; none where whole rows are blended first.
    taken: Option<[Vec<u8>; 2]>,
    /// What is blended: the samples that are taken, or whole rows of every plane.
    blended: Vec<Vec<f32>>,
    /// Values of R, G, B (or luma, in the first) at the model's resolution.
    lines: [Vec<f32>; 3],
}

impl Direct {
    pub(super) fn new(
        level: Level,
        kind: &Kind,
        components: &[Component],
        convert: Convert,
        columns: Columns,
        element: ElementType,
    ) -> Self {
        let bytes = kind.format.sample_bytes();
        let picks = |component: &Component| {
            let index = columns.taken.iter().map(|x| (x * component.step + component.first) as u32).collect();
            level.picks(index, bytes, kind.size.width as usize * component.step)
        };
        let count = columns.taken.len();
        let length = columns.weights.as_ref().map_or(count, Vec::len);
        let width = kind.size.width as usize;
        let picks_first = columns.weights.is_none() || level.picks_before_converting(count, true, width);
        let (rows, row) =
            if picks_first { (1, count) } else { (kind.format.plane_count(), width * components[0].step) };
        Self {
            components: components.iter().map(|&component| (component, picks(&component))).collect(),
            weights: columns.weights,
            convert,
            element,
            taken: picks_first.then(|| std::array::from_fn(|_| vec![0; count * bytes])),
            blended: vec![vec![0.0; row]; rows],
            lines: std::array::from_fn(|_| vec![0.0; length]),
        }
    }

    pub(super) fn line(&mut self, level: Level, planes: &Planes<'_>, row: Position, out: [&mut [u8]; 3]) {
        match &self.taken {
            Some(_) => self.pick_and_blend(level, planes, row),
            None => self.blend_and_pick(level, planes, row),
        }
        self.convert.run(level, self.lines.each_mut().map(Vec::as_mut_slice));
        for (line, out) in self.lines.iter().zip(out) {
            if !out.is_empty() {
                level.store(line, self.element, out);
            }
        }
    }

    fn pick_and_blend(&mut self, level: Level, planes: &Planes<'_>, row: Position) {
        let Some([near, far]) = &mut self.taken else { return };
        for ((component, picks), line) in self.components.iter().zip(&mut self.lines) {
            let rows = neighbours(planes, component.plane, row);
            level.pick(rows[0], picks, near);
            let far = if row.weight == 0.0 {
                &*near
            } else {
                level.pick(rows[1], picks, far);
                &*far
            };
            match &self.weights {
                Some(weights) => {
                    let blended = &mut self.blended[0];
                    blend(level, planes, [near, far], row.weight, blended);
                    level.resample(blended, weights, line);
                }
                None => blend(level, planes, [near, far], row.weight, line),
            }
        }
    }

    fn blend_and_pick(&mut self, level: Level, planes: &Planes<'_>, row: Position) {
        let Some(weights) = &self.weights else { return };
        for (plane, blended) in self.blended.iter_mut().enumerate() {
            // The chroma of a grey tensor is none of a component's.
            if self.components.iter().any(|(component, _)| component.plane == plane) {
                blend(level, planes, neighbours(planes, plane, row), row.weight, blended);
            }
        }
        for ((component, picks), line) in self.components.iter().zip(&mut self.lines) {
            level.resample_picked(&self.blended[component.plane], picks, weights, line);
        }
    }
}

fn blend(level: Level, planes: &Planes<'_>, [a, b]: [&[u8]; 2], weight: f32, out: &mut [f32]) {
    match planes.format.sample_bytes() {
        1 => level.blend_u8(a, b, weight, out),
        _ => level.blend_u16(a, b, u32::from(planes.format.shift), weight, out),
    }
}
