//! Text as coverage.

use std::collections::HashMap;

use ab_glyph::{Font, FontRef, Glyph, GlyphId, PxScale, ScaleFont, point};

use super::canvas::{Area, Stencil};

/// Roboto Medium: Latin, Cyrillic, Greek. See `assets/README.md`.
const FONT: &[u8] = include_bytes!("../../assets/Roboto-Medium.ttf");

/// Letters kept at most; when there are more, all are forgotten.
pub(super) const KEPT: usize = 2048;

/// Characters of a text that are looked at; no label needs more, and time stays bounded.
const LONGEST: usize = 1024;

/// Positions between two pixels at which letters are drawn.
const SUBPIXELS: u8 = 4;

/// A letter's coverage, and where it stands from the pen.
#[derive(Clone, Debug)]
struct Bitmap {
    left: i64,
    top: i64,
    width: i64,
    coverage: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    glyph: u16,
    height: u16,
    subpixel: u8,
}

/// The font and the letters drawn so far.
#[derive(Debug)]
pub(super) struct Lettering {
    font: FontRef<'static>,
    letters: HashMap<Key, Option<Bitmap>>,
}

/// One line of text as coverage.
#[derive(Clone, Debug)]
pub(super) struct Line {
    width: i64,
    height: i64,
    coverage: Vec<u8>,
}

impl Line {
    /// Pixels across.
    pub(super) fn width(&self) -> i64 {
        self.width
    }
    /// The line with its upper left corner at (`left`, `top`).
    pub(super) fn stencil(&self, left: i64, top: i64) -> Stencil<'_> {
        let area = Area { left, top, right: left + self.width, bottom: top + self.height };
        Stencil { area, coverage: &self.coverage }
    }
}

impl Lettering {
    pub(super) fn new() -> Self {
        let font = FontRef::try_from_slice(FONT).expect("the embedded font is a whole TrueType file");
        Self { font, letters: HashMap::new() }
    }

    /// A line of text of `height` pixels, cut with an ellipsis when it is wider than `room`.
    pub(super) fn line(&mut self, text: &str, height: u16, room: i64) -> Line {
        let text = printable(text);
        let glyphs = self.layout(&text, height);
        let glyphs = if end(&glyphs) as i64 <= room { glyphs } else { self.cut(&text, height, room) };
        self.draw(&glyphs, height)
    }

    /// Breaks a text into at most `most` lines that fit `room`, at spaces where there are any.
    pub(super) fn wrap(&mut self, text: &str, height: u16, room: i64, most: usize) -> Vec<Line> {
        let text = printable(text);
        let mut rest = text.trim();
        let mut lines = Vec::new();
        while !rest.is_empty() && lines.len() + 1 < most {
            let fitting = self.fitting(rest, height, room);
            let broken = match rest[..fitting].rfind(' ') {
                Some(space) if fitting < rest.len() && space > 0 => space,
                _ => fitting,
            };
            lines.push(self.line(&rest[..broken], height, room));
            rest = rest[broken..].trim_start();
        }
        if !rest.is_empty() || lines.is_empty() {
            lines.push(self.line(rest, height, room));
        }
        lines
    }

    /// How many letters are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.letters.len()
    }

    /// Bytes of `text` that fit `room`, at least one character.
    fn fitting(&self, text: &str, height: u16, room: i64) -> usize {
        let glyphs = self.layout(text, height);
        let count = glyphs.iter().take_while(|placed| placed.end as i64 <= room).count().max(1);
        text.char_indices().nth(count).map_or(text.len(), |(at, _)| at)
    }

    fn cut(&self, text: &str, height: u16, room: i64) -> Vec<Placed> {
        let dots = end(&self.layout("\u{2026}", height)) as i64;
        let kept = self.fitting(text, height, room - dots);
        self.layout(&format!("{}\u{2026}", text[..kept].trim_end()), height)
    }

    /// Pen positions with kerning, in pixels.
    fn layout(&self, text: &str, height: u16) -> Vec<Placed> {
        let font = self.font.as_scaled(PxScale::from(f32::from(height)));
        let mut pen = 0.0;
        let mut last: Option<GlyphId> = None;
        let place = |character| {
            // A character that the font lacks is glyph 0: a box.
            let glyph = font.glyph_id(character);
            pen += last.map_or(0.0, |last| font.kern(last, glyph));
            let start = pen;
            pen += font.h_advance(glyph);
            last = Some(glyph);
            Placed { glyph, start, end: pen }
        };
        text.chars().map(place).collect()
    }

    fn draw(&mut self, glyphs: &[Placed], height: u16) -> Line {
        let width = (end(glyphs).ceil() as i64).max(0);
        let mut line = Line {
            width,
            height: i64::from(height),
            coverage: vec![0; width as usize * usize::from(height)],
        };
        let baseline = self.font.as_scaled(PxScale::from(f32::from(height))).ascent().round() as i64;
        for placed in glyphs {
            let quarters = (placed.start * f32::from(SUBPIXELS)).round() as i64;
            let (pixel, subpixel) =
                (quarters.div_euclid(i64::from(SUBPIXELS)), quarters.rem_euclid(i64::from(SUBPIXELS)));
            let key = Key { glyph: placed.glyph.0, height, subpixel: subpixel as u8 };
            if let Some(bitmap) = self.letter(key) {
                stamp(&mut line, bitmap, pixel, baseline);
            }
        }
        line
    }

    fn letter(&mut self, key: Key) -> Option<&Bitmap> {
        if self.letters.len() >= KEPT && !self.letters.contains_key(&key) {
            self.letters.clear();
        }
        let font = &self.font;
        self.letters.entry(key).or_insert_with(|| rasterise(font, key)).as_ref()
    }
}

/// A glyph with its pen position before and after.
#[derive(Clone, Copy, Debug)]
struct Placed {
    glyph: GlyphId,
    start: f32,
    end: f32,
}

fn end(glyphs: &[Placed]) -> f32 {
    glyphs.last().map_or(0.0, |placed| placed.end)
}

/// The text without line breaks and other control characters.
fn printable(text: &str) -> String {
    text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn rasterise(font: &FontRef<'_>, key: Key) -> Option<Bitmap> {
    let glyph = Glyph {
        id: GlyphId(key.glyph),
        scale: PxScale::from(f32::from(key.height)),
        position: point(f32::from(key.subpixel) / f32::from(SUBPIXELS), 0.0),
    };
    let outline = font.outline_glyph(glyph)?;
    let bounds = outline.px_bounds();
    let (width, height) = (bounds.width().ceil() as usize, bounds.height().ceil() as usize);
    let mut coverage = vec![0; width * height];
    outline.draw(|x, y, share| {
        if let Some(value) = coverage.get_mut(y as usize * width + x as usize) {
            *value = (share.clamp(0.0, 1.0) * 255.0).round() as u8;
        }
    });
    Some(Bitmap { left: bounds.min.x as i64, top: bounds.min.y as i64, width: width as i64, coverage })
}

/// Adds a letter to a line; parts outside of the line are lost.
fn stamp(line: &mut Line, bitmap: &Bitmap, pen: i64, baseline: i64) {
    for (i, &share) in bitmap.coverage.iter().enumerate() {
        let x = pen + bitmap.left + i as i64 % bitmap.width;
        let y = baseline + bitmap.top + i as i64 / bitmap.width;
        if (0..line.width).contains(&x) && (0..line.height).contains(&y) {
            let value = &mut line.coverage[(y * line.width + x) as usize];
            *value = value.saturating_add(share);
        }
    }
}
