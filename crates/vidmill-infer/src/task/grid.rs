//! Grids of cells over a model's input.

use vidmill_image::Size;

/// A grid of square cells over an input, row by row; cells at the right and lower edge may hang over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid {
    pub columns: usize,
    pub rows: usize,
    /// Pixels from cell to cell.
    pub stride: f32,
}

impl Grid {
    pub(super) fn over(size: Size, stride: u32) -> Self {
        let count = |side: u32| side.div_ceil(stride) as usize;
        Self { columns: count(size.width), rows: count(size.height), stride: stride as f32 }
    }

    /// How many cells it has.
    pub(super) fn len(self) -> usize {
        self.columns * self.rows
    }

    /// Column and row of a cell.
    pub(super) fn cell(self, index: usize) -> [f32; 2] {
        [(index % self.columns) as f32, (index / self.columns) as f32]
    }
}

/// Grids of several strides, the finest first.
pub(super) fn grids(size: Size, strides: &[u32]) -> Vec<Grid> {
    strides.iter().map(|&stride| Grid::over(size, stride)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hang_over_where_sides_are_no_multiples() {
        let grid = Grid::over(Size::new(416, 320), 64);
        assert_eq!((grid.columns, grid.rows, grid.len()), (7, 5, 35));
        assert_eq!(grid.cell(8), [1.0, 1.0]);
    }
}
