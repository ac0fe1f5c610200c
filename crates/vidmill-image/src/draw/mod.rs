//! Boxes, names and banners, drawn straight onto YUV planes.
//!
//! In: a [`Picture`] and boxes in its pixels. Out: the same picture, annotated. Lines and text grow with the picture,
//! so that they read alike at 360p and at 4K. Colours are given as red, green, blue and turned into the picture's own
//! codes; chroma, at half resolution, gets the share of a shape that covers it.

mod canvas;
mod palette;
#[cfg(test)]
mod tests;
mod text;

use crate::{Picture, Rect, Size};

use canvas::{Area, Canvas};
pub use palette::class_color;
use text::{Lettering, Line};

/// Most lines that a banner takes; what is longer is cut with an ellipsis.
const BANNER_LINES: usize = 3;

/// Background of banners: a red that white text reads well on.
const BANNER_COLOR: [u8; 3] = [150, 22, 28];

/// A box with a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Annotation<'a> {
    /// The box, in pixels of the picture. May lie partly or wholly outside; one that is not finite is not drawn.
    pub rect: Rect,
    /// Colour of the box and of the background of its name: red, green, blue.
    pub color: [u8; 3],
    /// What stands at the box, such as `person 0.91`; nothing when empty.
    pub text: &'a str,
}

/// Draws annotations. It keeps the letters it has drawn, so one painter should serve a whole video.
#[derive(Debug)]
pub struct Painter {
    lettering: Lettering,
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
        let text = (side / 30.0).round().clamp(14.0, 400.0);
        Self {
            line: ((side / 270.0).round() as i64).clamp(2, 24),
            text: text as u16,
            padding: (text / 4.0).round() as i64,
        }
    }
}

impl Default for Painter {
    fn default() -> Self {
        Self::new()
    }
}

impl Painter {
    /// A painter with an empty store of letters.
    pub fn new() -> Self {
        Self { lettering: Lettering::new() }
    }

    /// Draws all boxes, then all names, so that no line crosses a name. Later ones lie on top.
    pub fn annotate(&mut self, picture: &mut Picture, annotations: &[Annotation<'_>]) {
        let style = Style::new(picture.size());
        let mut canvas = Canvas::new(picture);
        let visible = annotations
            .iter()
            .filter_map(|annotation| Some((annotation, outline(annotation.rect, canvas.area())?)));
        let visible: Vec<_> = visible.collect();
        for (annotation, area) in &visible {
            draw_box(&mut canvas, *area, style.line, annotation.color);
        }
        for (annotation, area) in &visible {
            self.draw_label(&mut canvas, *area, style, annotation);
        }
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
            canvas.paint(line.mask(style.padding, top), [255; 3]);
        }
    }

    fn draw_label(&mut self, canvas: &mut Canvas<'_>, area: Area, style: Style, annotation: &Annotation<'_>) {
        if annotation.text.is_empty() {
            return;
        }
        let picture = canvas.area();
        let line = self.lettering.line(annotation.text, style.text, picture.right - 2 * style.padding);
        let place = place_label(area, &line, style, picture);
        canvas.fill(place, annotation.color);
        canvas.paint(line.mask(place.left + style.padding, place.top), palette::ink_on(annotation.color));
    }
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

/// Above the box where there is room, else inside at its top; always within the picture where that is large enough.
fn place_label(area: Area, line: &Line, style: Style, picture: Area) -> Area {
    let (width, height) = (line.width() + 2 * style.padding, i64::from(style.text));
    let above = area.top - height;
    let top = if above >= 0 { above } else { area.top.max(0) };
    let top = top.min(picture.bottom - height).max(0);
    let left = area.left.min(picture.right - width).max(0);
    Area { left, top, right: left + width, bottom: top + height }
}
