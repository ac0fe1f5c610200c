//! Display matrices and Exif orientations to what must be done to a picture.

use vidmill_image::Rotation;

/// What must be done to a decoded picture: mirror it left to right, if so, and then rotate it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Orientation {
    pub mirrored: bool,
    pub rotation: Rotation,
}

/// Reads a display matrix as ISO/IEC 14496-12 defines it (`[a b u; c d v; x y w]`, 16.16 fixed point in a to d):
/// a point (x, y) of the picture is shown at (a x + c y, b x + d y).
///
/// The angle is taken to the nearest multiple of 90 degrees; a matrix without area counts as none.
pub(crate) fn from_matrix(matrix: [i32; 9]) -> Orientation {
    let [a, b, c, d] = [matrix[0], matrix[1], matrix[3], matrix[4]].map(f64::from);
    let determinant = a * d - b * c;
    if determinant == 0.0 {
        return Orientation::default();
    }
    let mirrored = determinant < 0.0;
    // With the mirror (x -> -x) taken out, the first column is what the rotation does to the x axis.
    let (a, b) = if mirrored { (-a, -b) } else { (a, b) };
    let clockwise = b.atan2(a).to_degrees();
    Orientation { mirrored, rotation: nearest(clockwise) }
}

/// Exif's orientation tag, 1 to 8; anything else is upright.
pub(crate) fn from_exif(tag: u32) -> Orientation {
    let (mirrored, rotation) = match tag {
        2 => (true, Rotation::None),
        3 => (false, Rotation::Half),
        4 => (true, Rotation::Half),
        5 => (true, Rotation::CounterClockwise),
        6 => (false, Rotation::Clockwise),
        7 => (true, Rotation::Clockwise),
        8 => (false, Rotation::CounterClockwise),
        _ => (false, Rotation::None),
    };
    Orientation { mirrored, rotation }
}

fn nearest(clockwise_degrees: f64) -> Rotation {
    match (clockwise_degrees / 90.0).round() as i64 {
        1 => Rotation::Clockwise,
        2 | -2 => Rotation::Half,
        -1 => Rotation::CounterClockwise,
        _ => Rotation::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i32 = 1 << 16;

    fn matrix(a: i32, b: i32, c: i32, d: i32) -> [i32; 9] {
        [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    }

    #[test]
    fn quarter_turns() {
        for (m, rotation) in [
            (matrix(ONE, 0, 0, ONE), Rotation::None),
            (matrix(0, ONE, -ONE, 0), Rotation::Clockwise),
            (matrix(-ONE, 0, 0, -ONE), Rotation::Half),
            (matrix(0, -ONE, ONE, 0), Rotation::CounterClockwise),
        ] {
            assert_eq!(from_matrix(m), Orientation { mirrored: false, rotation });
        }
    }

    #[test]
    fn mirrors_come_before_the_turn() {
        // FFmpeg's matrices for Exif orientations 2, 4, 5 and 7 (av_display_matrix_flip after av_display_rotation_set).
        for (m, tag) in [
            (matrix(-ONE, 0, 0, ONE), 2),
            (matrix(ONE, 0, 0, -ONE), 4),
            (matrix(0, ONE, ONE, 0), 5),
            (matrix(0, -ONE, -ONE, 0), 7),
        ] {
            assert_eq!(from_matrix(m), from_exif(tag), "orientation {tag}");
        }
    }

    #[test]
    fn odd_angles_and_nonsense() {
        assert_eq!(from_matrix(matrix(ONE, 3000, -3000, ONE)).rotation, Rotation::None);
        assert_eq!(from_matrix(matrix(2 * ONE, 0, 0, ONE / 2)), Orientation::default());
        assert_eq!(from_matrix([0; 9]), Orientation::default());
        assert_eq!(from_matrix([i32::MIN; 9]), Orientation::default());
        assert_eq!(from_exif(0), Orientation::default());
        assert_eq!(from_exif(9), Orientation::default());
    }
}
