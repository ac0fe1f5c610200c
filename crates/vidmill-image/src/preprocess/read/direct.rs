//! Grey and RGB: components without a matrix.

use crate::kernel::{Level, Picks};
use crate::{ElementType, Planes};

use super::super::Kind;
use super::super::axis::{Columns, Position};
use super::super::convert::Convert;
use super::super::source::Component;
use super::neighbours;

/// What is taken of the rows is blended as it is, and converted when few values are left.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    components: Vec<(Component, Picks)>,
    weights: Option<Vec<f32>>,
    convert: Convert,
    element: ElementType,
    /// The samples that are taken of both rows.
    taken: [Vec<u8>; 2],
    /// The same, blended.
    blended: Vec<f32>,
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
        Self {
            components: components.iter().map(|&component| (component, picks(&component))).collect(),
            weights: columns.weights,
            convert,
            element,
            taken: std::array::from_fn(|_| vec![0; count * bytes]),
            blended: vec![0.0; count],
            lines: std::array::from_fn(|_| vec![0.0; length]),
        }
    }

    pub(super) fn line(&mut self, level: Level, planes: &Planes<'_>, row: Position, out: [&mut [u8]; 3]) {
        for ((component, picks), line) in self.components.iter().zip(&mut self.lines) {
            let rows = neighbours(planes, component.plane, row);
            let [near, far] = &mut self.taken;
            level.pick(rows[0], picks, near);
            let far = if row.weight == 0.0 {
                &*near
            } else {
                level.pick(rows[1], picks, far);
                &*far
            };
            let blended = if self.weights.is_some() { &mut self.blended } else { &mut *line };
            match planes.format.sample_bytes() {
                1 => level.blend_u8(near, far, row.weight, blended),
                _ => level.blend_u16(near, far, u32::from(planes.format.shift), row.weight, blended),
            }
            if let Some(weights) = &self.weights {
                level.resample(&self.blended, weights, line);
            }
        }
        self.convert.run(level, self.lines.each_mut().map(Vec::as_mut_slice));
        for (line, out) in self.lines.iter().zip(out) {
            if !out.is_empty() {
                level.store(line, self.element, out);
            }
        }
    }
}
