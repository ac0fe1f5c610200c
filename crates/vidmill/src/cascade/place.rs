//! From pixels of a crop to pixels of the frame that it was cut out of.

use vidmill_image::{Crop, Mask, Quad, Rect, Size};
use vidmill_infer::{Detection, Found};

/// How a crop lies in its frame.
pub(super) enum Placing {
    Upright { crop: Crop, picture: Size },
    Straight { quad: Box<Quad>, picture: Size },
}

impl Placing {
    /// The crop's size.
    pub fn size(&self) -> Size {
        match self {
            Self::Upright { crop, .. } => crop.size,
            Self::Straight { quad, .. } => quad.size(),
        }
    }

    fn picture(&self) -> Size {
        match self {
            Self::Upright { picture, .. } | Self::Straight { picture, .. } => *picture,
        }
    }

    /// What was found in the crop, in pixels of the frame.
    pub fn put(&self, mut found: Found) -> Result<Found, String> {
        let picture = self.picture();
        for detection in found.detections.iter_mut().flatten() {
            self.put_detection(detection, picture)?;
        }
        for region in found.regions.iter_mut().flatten() {
            region.mask = self.put_mask(&region.mask, picture)?;
        }
        Ok(found)
    }

    fn put_detection(&self, detection: &mut Detection, picture: Size) -> Result<(), String> {
        let Rect { x1, y1, x2, y2 } = detection.rect;
        if let Self::Straight { .. } = self {
            let corners = detection.corners.unwrap_or([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]);
            let corners = corners.map(|corner| self.put_point(corner));
            detection.corners = Some(corners);
            detection.rect = Rect::around(&corners).clip(picture);
        } else {
            let ([x1, y1], [x2, y2]) = (self.put_point([x1, y1]), self.put_point([x2, y2]));
            detection.rect = Rect::new(x1, y1, x2, y2).clip(picture);
            detection.corners = detection.corners.map(|all| all.map(|corner| self.put_point(corner)));
        }
        for point in &mut detection.keypoints {
            [point.x, point.y] = self.put_point([point.x, point.y]);
        }
        if let Some(mask) = &detection.mask {
            detection.mask = Some(self.put_mask(mask, picture)?);
        }
        Ok(())
    }

    fn put_point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        match self {
            Self::Upright { crop, .. } => [x + crop.left as f32, y + crop.top as f32],
            Self::Straight { quad, .. } => quad.to_picture([x, y]),
        }
    }

    fn put_mask(&self, mask: &Mask, picture: Size) -> Result<Mask, String> {
        let rows = mask.to_rows();
        let placed = match self {
            Self::Upright { crop, .. } => Mask::from_part(picture, [crop.left, crop.top], crop.size, &rows),
            Self::Straight { quad, .. } => {
                let size = mask.size();
                let corner = |x: u32, y: u32| quad.to_picture([x as f32, y as f32]);
                let corners = [
                    corner(0, 0),
                    corner(size.width, 0),
                    corner(size.width, size.height),
                    corner(0, size.height),
                ];
                let Some(part) = Crop::around(Rect::around(&corners), picture) else {
                    return Mask::empty(picture).map_err(|error| error.to_string());
                };
                let mut out = Vec::with_capacity(part.size.width as usize * part.size.height as usize);
                for y in 0..part.size.height {
                    for x in 0..part.size.width {
                        let centre = [(part.left + x) as f32 + 0.5, (part.top + y) as f32 + 0.5];
                        let at = quad.from_picture(centre).map(f32::floor);
                        let is_in = (0.0..size.width as f32).contains(&at[0])
                            && (0.0..size.height as f32).contains(&at[1]);
                        let pixel = || rows[at[1] as usize * size.width as usize + at[0] as usize];
                        out.push(if is_in { pixel() } else { 0 });
                    }
                }
                Mask::from_part(picture, [part.left, part.top], part.size, &out)
            }
        };
        placed.map_err(|error| error.to_string())
    }
}
