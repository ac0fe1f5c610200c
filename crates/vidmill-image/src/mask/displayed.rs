//! From the model's input to the displayed frame.

use super::{Mask, MaskError, Span, encode, pixels};
use crate::Geometry;

impl Mask {
    /// A mask of the model's input as one of the displayed frame: each pixel of the frame is as the input's pixel in which its centre
    /// lies; clear where that is outside. Goes by runs, not by pixels.
    ///
    /// # Errors
    /// When it is not of the input's size, or the frame has more pixels than 32 bits can count.
    pub fn to_displayed(&self, geometry: &Geometry) -> Result<Self, MaskError> {
        let Geometry { displayed, input, .. } = *geometry;
        if self.size() != input {
            return Err(MaskError::NotInput { found: self.size(), input });
        }
        let count = pixels(displayed)?;
        // Both axes only rise, so what is together in the input is together in the frame.
        let columns = nearest(geometry, 0, displayed.width);
        let rows = nearest(geometry, 1, displayed.height);
        let row_from = |row: u32| rows.partition_point(|source| *source < i64::from(row)) as u32;
        let spans: Vec<Span> = self
            .spans()
            .map(|Span { x, top, bottom }| Span { x, top: row_from(top), bottom: row_from(bottom) })
            .filter(|span| span.top < span.bottom)
            .collect();
        let displayed_spans = (0..displayed.width).zip(&columns).flat_map(|(x, source)| {
            let of_column = |column: i64| spans.partition_point(|span| i64::from(span.x) < column);
            let here = &spans[of_column(*source)..of_column(*source + 1)];
            here.iter().map(move |span| Span { x, ..*span })
        });
        Ok(Self { size: displayed, runs: encode::runs(count, displayed.height, displayed_spans) })
    }
}

/// For each pixel of a displayed axis the input's pixel that its centre lies in.
fn nearest(geometry: &Geometry, axis: usize, length: u32) -> Vec<i64> {
    let place = |i: u32| (f64::from(i) + 0.5) * geometry.scale[axis] + geometry.offset[axis];
    (0..length).map(|i| place(i).floor() as i64).collect()
}
