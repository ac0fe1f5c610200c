//! Boxes, masks, poses, names and banners, drawn straight onto YUV planes.
//!
//! In: a [`Picture`] and what was found in it, in its pixels. Out: the same picture, annotated. Lines and text grow with the picture,
//! so that they read alike at 360p and at 4K. Colours are given as red, green, blue and turned into the picture's own
//! codes; chroma, at half resolution, gets the share of a shape that covers it.

mod canvas;
mod labels;
mod palette;
mod panel;
mod pose;
mod region;
mod stroke;
#[cfg(test)]
mod tests;
mod text;

use crate::{Mask, Picture, Rect, Size};

use canvas::{Area, Canvas, Paint};
use labels::Labels;
pub use palette::{class_color, track_color};
pub use panel::PanelLine;
pub use pose::COCO_BONES;
use region::Film;
use text::Lettering;

/// Most lines that a banner takes; what is longer is cut with an ellipsis.
const BANNER_LINES: usize = 3;

/// Height of the smallest letters that can be read.
const SMALLEST: f64 = 14.0;

/// The share of the picture that names may hide before they are written smaller.
const CROWDED: f64 = 0.2;

/// Background of banners: a red that white text reads well on.
const BANNER_COLOR: [u8; 3] = [150, 22, 28];

/// Something that was found, and how to show it. All but the colour may be left out: `..Annotation::default()`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Annotation<'a> {
    /// The box, in pixels of the picture. May lie partly or wholly outside; one that is not finite is not drawn, and that is the default.
    pub rect: Rect,
    /// Colour of the box, of the mask, and of the background of the name: red, green, blue.
    pub color: [u8; 3],
    /// What stands at the box, such as `person 0.91`; nothing when empty. Where there is no box, it stands at what else is drawn.
    pub text: &'a str,
    /// Corners of a slanted box or a quadrilateral in pixels, in order around it. Drawn in place of `rect` if all are finite.
    pub corners: Option<[[f32; 2]; 4]>,
    /// The object's pixels: drawn as a sheer tint with a contour. Of the picture's size; what is outside is cut off.
    pub mask: Option<&'a Mask>,
    /// Joints: x and y in pixels, and a confidence; see [`Painter::keypoint_confidence`].
    pub keypoints: &'a [[f32; 3]],
    /// Pairs of joints to connect, such as [`COCO_BONES`]. Those that are not there are not connected.
    pub bones: &'a [[usize; 2]],
}

impl Default for Annotation<'_> {
    /// Nothing to draw, in white.
    fn default() -> Self {
        Self {
            rect: Rect::new(f32::NAN, f32::NAN, f32::NAN, f32::NAN),
            color: [255; 3],
            text: "",
            corners: None,
            mask: None,
            keypoints: &[],
            bones: &[],
        }
    }
}

/// Draws annotations. It keeps the letters it has drawn, so one painter should serve a whole video.
#[derive(Debug)]
pub struct Painter {
    lettering: Lettering,
    film: Film,
    keypoint_confidence: f32,
}

/// Line widths and letter sizes for a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Style {
    /// Width of a box's line in pixels.
    line: i64,
    /// Height of a line of text in pixels, from ascender to descender.
    text: u16,
    /// Space left and right of a text.
    padding: i64,
}

impl Style {
    fn new(size: Size) -> Self {
        // A long, thin picture must not get lines as thick as itself, nor letters too small to read.
        let side = f64::from(size.width.min(size.height).max(size.width.max(size.height) / 4));
        let text = (side / 30.0).round().clamp(SMALLEST, 400.0);
        Self {
            line: ((side / 270.0).round() as i64).clamp(2, 24),
            text: text as u16,
            padding: (text / 4.0).round() as i64,
        }
    }
    /// Smaller letters where there are so many names that they would hide the picture and each other. In steps, so that a video's names do
    /// not change their size with each object that comes or goes.
    fn for_labels(self, size: Size, annotations: &[Annotation<'_>]) -> Self {
        let letters: usize =
            annotations.iter().map(|annotation| annotation.text.chars().take(40).count()).sum();
        // A letter is about half as wide as it is high.
        let share =
            |text: f64| letters as f64 * text * text / 2.0 / (f64::from(size.width) * f64::from(size.height));
        let smaller = [1.0, 0.7, 0.5].map(|scale| (f64::from(self.text) * scale).round().max(SMALLEST));
        let text = smaller.into_iter().find(|text| share(*text) < CROWDED).unwrap_or(smaller[2]);
        if text as u16 == self.text {
            return self;
        }
        Self { text: text as u16, padding: (text / 4.0).round() as i64, ..self }
    }
    /// Width of a mask's contour in pixels.
    fn contour(self) -> f32 {
        (self.line as f32 / 2.0).max(1.5)
    }
}

impl Default for Painter {
    fn default() -> Self {
        Self::new()
    }
}

impl Painter {
    /// A painter with an empty store of letters. It draws joints from a confidence of 0.5 on.
    pub fn new() -> Self {
        Self { lettering: Lettering::new(), film: Film::default(), keypoint_confidence: 0.5 }
    }

    /// Sets from which confidence on joints are drawn, and bones where both of their joints are.
    #[must_use]
    pub fn keypoint_confidence(self, least: f32) -> Self {
        Self { keypoint_confidence: least, ..self }
    }

    /// Draws all masks, then all boxes, then all joints and bones, then all names, so that no line crosses a name. Later ones lie on top;
    /// names are placed so that they do not cover each other as long as there is room, in the order of the annotations.
    pub fn annotate(&mut self, picture: &mut Picture, annotations: &[Annotation<'_>]) {
        let style = Style::new(picture.size());
        let labelled = style.for_labels(picture.size(), annotations);
        let mut canvas = Canvas::new(picture);
        let masks = annotations.iter().filter_map(|annotation| Some((annotation.mask?, annotation.color)));
        for (mask, color) in masks {
            self.film.paint(&mut canvas, mask, style.contour(), color);
        }
        for annotation in annotations {
            if let Some(corners) = annotation.quadrilateral() {
                stroke::outline(&mut canvas, corners, style.line as f32, annotation.color);
            } else if let Some(area) = outline(annotation.rect, canvas.area()) {
                draw_box(&mut canvas, area, style.line, annotation.color);
            }
        }
        let least = self.keypoint_confidence;
        for Annotation { keypoints, bones, .. } in annotations {
            pose::draw(&mut canvas, keypoints, bones, least, style.line as f32);
        }
        let mut labels = Labels::default();
        for annotation in annotations.iter().filter(|annotation| !annotation.text.is_empty()) {
            let anchors = annotation.anchors(canvas.area(), i64::from(labelled.text), least);
            if !anchors.is_empty() {
                self.draw_label(&mut canvas, &mut labels, &anchors, labelled, annotation);
            }
        }
    }

    /// Tints the parts of a picture, each in its colour and with a contour. Masks are of the picture's size; what is outside is cut off.
    pub fn regions(&mut self, picture: &mut Picture, regions: &[(&Mask, [u8; 3])]) {
        let style = Style::new(picture.size());
        let mut canvas = Canvas::new(picture);
        for (mask, color) in regions {
            self.film.paint(&mut canvas, mask, style.contour(), *color);
        }
    }

    /// Draws a panel in the upper left corner: the likeliest classes of a frame with their confidences, or the classes of its regions.
    /// Lines for which the picture is too low are left out.
    pub fn panel(&mut self, picture: &mut Picture, lines: &[PanelLine<'_>]) {
        let style = Style::new(picture.size());
        panel::draw(&mut self.lettering, &mut Canvas::new(picture), style, lines);
    }

    /// Draws a strip over the whole width at the top, with `text` in up to three lines.
    pub fn banner(&mut self, picture: &mut Picture, text: &str) {
        let style = Style::new(picture.size());
        let mut canvas = Canvas::new(picture);
        let picture = canvas.area();
        let room = picture.right - 2 * style.padding;
        let lines = self.lettering.wrap(text, style.text, room, BANNER_LINES);
        let row = i64::from(style.text);
        let bottom = lines.len() as i64 * row + 2 * style.padding;
        canvas.fill(Area { bottom, ..picture }, BANNER_COLOR);
        for (i, line) in lines.iter().enumerate() {
            let top = style.padding + i as i64 * row;
            canvas.paint(&line.stencil(style.padding, top), [255; 3], Paint::Solid);
        }
    }

    fn draw_label(
        &mut self,
        canvas: &mut Canvas<'_>,
        labels: &mut Labels,
        anchors: &[Area],
        style: Style,
        annotation: &Annotation<'_>,
    ) {
        let picture = canvas.area();
        let line = self.lettering.line(annotation.text, style.text, picture.right - 2 * style.padding);
        let (width, height) = (line.width() + 2 * style.padding, i64::from(style.text));
        let place = labels.place(anchors, width, height, picture);
        canvas.fill(place, annotation.color);
        let ink = palette::ink_on(annotation.color);
        canvas.paint(&line.stencil(place.left + style.padding, place.top), ink, Paint::Solid);
    }
}

impl Annotation<'_> {
    /// The corners, if all are finite.
    fn quadrilateral(&self) -> Option<[[f32; 2]; 4]> {
        self.corners.filter(|corners| corners.as_flattened().iter().all(|value| value.is_finite()))
    }

    /// The visible parts of the picture that the name may stand at, best first; none if nothing is visible.
    fn anchors(&self, picture: Area, row: i64, least: f32) -> Vec<Area> {
        let whole = match self.quadrilateral() {
            Some(corners) => outline(bounds(&corners), picture),
            None => outline(self.rect, picture),
        };
        let whole = whole
            .or_else(|| outline(self.mask?.bounds()?, picture))
            .or_else(|| pose::area(self.keypoints, least, picture));
        let top = self.quadrilateral().and_then(|corners| top_of(corners, picture, row));
        let visible = [top, whole].into_iter().flatten().map(|area| area.intersect(picture));
        visible.filter(|area| !area.is_empty()).collect()
    }
}

/// The smallest upright box around points.
fn bounds(points: &[[f32; 2]; 4]) -> Rect {
    let side = |axis: usize, pick: fn(f32, f32) -> f32| points.iter().map(|p| p[axis]).reduce(pick);
    let side = |axis, pick| side(axis, pick).unwrap_or(f32::NAN);
    Rect::new(side(0, f32::min), side(1, f32::min), side(0, f32::max), side(1, f32::max))
}

/// The upper side of a quadrilateral where it is about level, else its uppermost corner.
fn top_of(corners: [[f32; 2]; 4], picture: Area, row: i64) -> Option<Area> {
    let sides = [0, 1, 2, 3].map(|i| [corners[i], corners[(i + 1) % 4]]);
    let [a, b] = sides.into_iter().min_by(|[a, b], [c, d]| (a[1] + b[1]).total_cmp(&(c[1] + d[1])))?;
    let (high, low) = if a[1] <= b[1] { (a, b) } else { (b, a) };
    let is_level = low[1] - high[1] <= row as f32;
    let (x1, x2) = if is_level { (a[0].min(b[0]), a[0].max(b[0])) } else { (high[0], high[0]) };
    outline(Rect::new(x1, high[1], x2, high[1]), picture)
}

/// The box in whole pixels if any of it is inside the picture. Far ends are cut a little outside of it.
fn outline(rect: Rect, picture: Area) -> Option<Area> {
    if !rect.is_finite() || rect.x2 < rect.x1 || rect.y2 < rect.y1 {
        return None;
    }
    let pixel = |value: f32, end: i64| (value.round() as i64).clamp(-64, end + 64);
    let (left, top) = (pixel(rect.x1, picture.right), pixel(rect.y1, picture.bottom));
    // However small, a box is one pixel at least.
    let right = pixel(rect.x2, picture.right).max(left + 1);
    let bottom = pixel(rect.y2, picture.bottom).max(top + 1);
    let area = Area { left, top, right, bottom };
    (!area.intersect(picture).is_empty()).then_some(area)
}

/// Four lines along the inside of `area`.
fn draw_box(canvas: &mut Canvas<'_>, area: Area, line: i64, color: [u8; 3]) {
    let Area { left, top, right, bottom } = area;
    if right - left <= 2 * line || bottom - top <= 2 * line {
        return canvas.fill(area, color);
    }
    canvas.fill(Area { bottom: top + line, ..area }, color);
    canvas.fill(Area { top: bottom - line, ..area }, color);
    canvas.fill(Area { left, right: left + line, top: top + line, bottom: bottom - line }, color);
    canvas.fill(Area { left: right - line, right, top: top + line, bottom: bottom - line }, color);
}
