//! What is true of a frame as a whole, in its upper left corner.

use super::canvas::{Area, Canvas, Paint, Pane};
use super::text::Lettering;
use super::{Style, palette};

/// A line of a panel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PanelLine<'a> {
    /// What it says, such as a class's name.
    pub text: &'a str,
    /// Confidence, or share of the frame, from 0 to 1: shown as a bar and a number. None is drawn if it is not finite.
    pub share: Option<f32>,
    /// Colour of the bar, or of a small square where there is none: red, green, blue.
    pub color: [u8; 3],
}

/// How much of the ground is black.
const GROUND: u8 = 165;

pub(super) fn draw(
    lettering: &mut Lettering,
    canvas: &mut Canvas<'_>,
    style: Style,
    lines: &[PanelLine<'_>],
) {
    let picture = canvas.area();
    let (text, padding) = (i64::from(style.text), style.padding);
    let row = text + padding;
    // As many as the picture has room for.
    let room = ((picture.bottom - 2 * padding) / row).max(1) as usize;
    let lines = &lines[..lines.len().min(room)];
    if lines.is_empty() {
        return;
    }
    let share = |line: &PanelLine<'_>| line.share.filter(|share| share.is_finite());
    let has_shares = lines.iter().any(|line| share(line).is_some());
    // Square or bar, the text, the number; a third of the picture for the text at most.
    let bar = if has_shares { 3 * text } else { text / 2 };
    let named: Vec<_> = lines
        .iter()
        .map(|line| lettering.line(line.text, style.text, (picture.right / 3).max(text)))
        .collect();
    let numbers: Vec<_> = lines
        .iter()
        .map(|line| share(line).map(|share| lettering.line(&format!("{share:.2}"), style.text, 4 * text)))
        .collect();
    let widest = named.iter().map(|line| line.width()).max().unwrap_or(0);
    let widest_number = numbers.iter().flatten().map(|line| line.width()).max().unwrap_or(0);
    let number_at = padding + bar + padding;
    let text_at = number_at + if has_shares { widest_number + padding } else { 0 };
    let ground = Area {
        left: 0,
        top: 0,
        right: text_at + widest + padding,
        bottom: lines.len() as i64 * row + padding,
    };
    canvas.paint(&Pane { area: ground, coverage: GROUND }, [0; 3], Paint::Solid);
    for (i, line) in lines.iter().enumerate() {
        let top = padding + i as i64 * row;
        let thin = (text / 4).max(2);
        let track = Area { left: padding, top: top + thin, right: padding + bar, bottom: top + text - thin };
        match share(line) {
            Some(share) => {
                let filled = (bar as f32 * share.clamp(0.0, 1.0)).round() as i64;
                canvas.paint(&Pane { area: track, coverage: 60 }, [255; 3], Paint::Solid);
                canvas.fill(Area { right: padding + filled, ..track }, line.color);
            }
            None => canvas.fill(Area { right: padding + text / 2, ..track }, line.color),
        }
        if let Some(number) = &numbers[i] {
            canvas.paint(&number.stencil(number_at, top), palette::ink_on([0; 3]), Paint::Solid);
        }
        canvas.paint(&named[i].stencil(text_at, top), palette::ink_on([0; 3]), Paint::Solid);
    }
}
