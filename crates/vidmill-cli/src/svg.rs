//! A picture of where the time goes: CPU time by stage against the limit, and how the times of each stage spread.
//!
//! It stands alone (no fonts, scripts or links), and follows the reader's choice of light or dark.

use std::fmt::Write as _;

use vidmill::Percentiles;
use vidmill::bench::Report;

use crate::bench::{counted, number, wrapped};

const WIDTH: f64 = 920.0;
const MARGIN: f64 = 32.0;
/// Where names end and drawings begin.
const LEFT: f64 = 168.0;
/// Where drawings end and numbers begin.
const RIGHT: f64 = 690.0;
const BAR: f64 = 34.0;
const ROW: f64 = 30.0;

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;font-size:13px;fill:#1f2328}
.title{font-size:20px;font-weight:600}.head{font-size:14px;font-weight:600}.soft{fill:#656d76}.in{fill:#fff;font-weight:600}
.end{text-anchor:end}.mid{text-anchor:middle}.small{font-size:12px}
.page{fill:#fff}.line{stroke:#d0d7de;stroke-width:1}.limit{stroke:#1f2328;stroke-width:1.5;stroke-dasharray:5 4}
.decode{fill:#2f6db5}.preprocess{fill:#17806f}.infer{fill:#c2541a}.task{fill:#7c4db3}.rest{fill:#6e7781}.whole{fill:#424a53}
.idle{fill:#eaeef2;stroke:#b6bfc8;stroke-width:1;stroke-dasharray:3 3}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.in{fill:#fff}.page{fill:#0d1117}.line{stroke:#30363d}\
.limit{stroke:#e6edf3}.decode{fill:#3f7fca}.preprocess{fill:#1d9080}.infer{fill:#cf6228}.task{fill:#8d61c4}.rest{fill:#6e7681}\
.whole{fill:#b1bac4}.idle{fill:#161b22;stroke:#484f58}}";

/// The picture, as SVG.
pub fn picture(report: &Report) -> String {
    let mut page = Page::default();
    let mut y = heading(&mut page, report);
    y = stages(&mut page, report, y + 42.0);
    y = spread(&mut page, report, y + 50.0);
    y = remarks(&mut page, report, y + 34.0);
    let title = format!("Where the time goes: {}", model_name(report));
    page.whole(y + MARGIN - 8.0, &title)
}

fn model_name(report: &Report) -> String {
    report.model.file_name().unwrap_or(report.model.as_os_str()).to_string_lossy().into_owned()
}

fn heading(page: &mut Page, report: &Report) -> f64 {
    let Report { source, runtime, limit, end_to_end, .. } = report;
    let share = limit.share * 100.0;
    let rate = number(end_to_end.frames_per_second);
    page.text(
        MARGIN,
        48.0,
        "title",
        &format!("{}: {rate} frames/s, {share:.0} % of the limit", shortened(&model_name(report), 40)),
    );
    let codec = source.codec.as_deref().map(|codec| format!(" {codec}")).unwrap_or_default();
    let name = match source.generated {
        true => "a generated clip".to_owned(),
        false => shortened(source.name.rsplit('/').next().unwrap_or(&source.name), 40),
    };
    page.text(
        MARGIN,
        72.0,
        "soft",
        &format!(
            "{name}, {}x{}{codec}; {} {}, {}; {} on {}",
            source.width,
            source.height,
            runtime.name,
            runtime.provider,
            runtime.precision,
            counted(report.parallelism.workers, "worker"),
            counted(report.cores, "core"),
        ),
    );
    72.0
}

/// One part of a bar: its class, the name in the legend, and milliseconds.
type Part = (&'static str, &'static str, f64);

/// Two bars: what the stages take, which is the limit; and what they came to, with all that is beside them.
fn stages(page: &mut Page, report: &Report, top: f64) -> f64 {
    let Report { cpu_ms, limit, end_to_end, cores, .. } = report;
    let alone: Vec<Part> = vec![
        ("decode", "decode", cpu_ms.decode),
        ("preprocess", "preprocess", cpu_ms.preprocess),
        ("infer", "infer", cpu_ms.infer),
        ("task", "task decode", cpu_ms.task),
    ];
    // Core time that passes in a frame's time, whoever uses it.
    let per_frame = |rate: f64| if rate > 0.0 { *cores as f64 * 1e3 / rate } else { 0.0 };
    let (there, least) = (per_frame(end_to_end.frames_per_second), per_frame(limit.frames_per_second));
    let shrunk = (end_to_end.cpu_ms / cpu_ms.sum().max(1e-9)).min(1.0);
    let mut together: Vec<Part> =
        alone.iter().map(|&(class, name, value)| (class, name, value * shrunk)).collect();
    together.push(("rest", "all else", cpu_ms.rest.max(0.0)));
    together.push(("idle", "unused", (there - end_to_end.cpu_ms).max(0.0)));
    let most = there.max(least).max(end_to_end.cpu_ms).max(1e-9);
    let scale = (RIGHT - LEFT) / most;

    page.text(MARGIN, top, "head", "Core time a frame, ms");
    let mut y = top + 36.0;
    let rate = |rate: f64| format!("{} frames/s", number(rate));
    let rows = [
        ("the limit", "each stage alone", &alone, rate(limit.frames_per_second)),
        ("end to end", "all at once", &together, rate(end_to_end.frames_per_second)),
    ];
    let first = y;
    for (name, what, parts, rate) in rows {
        page.text(LEFT - 14.0, y + 15.0, "end", name);
        page.text(LEFT - 14.0, y + 30.0, "end soft small", what);
        bar(page, parts, LEFT, y, scale);
        page.text(RIGHT + 18.0, y + 15.0, "", &rate);
        let sum: f64 = parts.iter().map(|part| part.2).sum();
        page.text(RIGHT + 18.0, y + 30.0, "soft small", &format!("{} ms of core time", number(sum)));
        y += BAR + 16.0;
    }
    let x = LEFT + least * scale;
    page.line("limit", [x, first - 8.0, x, y - 8.0]);
    page.text(x, first - 14.0, "mid small", "limit");
    let beside = together.drain(alone.len()..);
    legend(page, &alone.iter().copied().chain(beside).collect::<Vec<_>>(), y + 16.0)
}

/// The parts, one beside the other; the values of those that have room for them.
fn bar(page: &mut Page, parts: &[Part], left: f64, y: f64, scale: f64) {
    let mut x = left;
    for &(class, name, value) in parts {
        let width = value * scale;
        if width <= 0.0 {
            continue;
        }
        // A gap between neighbours that are wide enough to spare it.
        let drawn = if width > 10.0 { width - 1.0 } else { width };
        page.rect(class, x, y, drawn, BAR, &format!("{name}: {} ms", number(value)));
        if width > 38.0 {
            let class = if class == "idle" { "mid soft" } else { "mid in" };
            page.text(x + width / 2.0, y + BAR / 2.0 + 4.5, class, &number(value));
        }
        x += width;
    }
}

fn legend(page: &mut Page, parts: &[Part], y: f64) -> f64 {
    let mut x = LEFT;
    for &(class, name, value) in parts {
        let text = format!("{name} {}", number(value));
        page.rect(class, x, y - 10.0, 12.0, 12.0, name);
        page.text(x + 18.0, y, "soft small", &text);
        // Letters of this size are some 6.3 wide.
        x += 18.0 + text.chars().count() as f64 * 6.3 + 14.0;
    }
    y
}

/// A row for each stage: from its median to its 99th percentile, on a scale of powers of ten.
fn spread(page: &mut Page, report: &Report, top: f64) -> f64 {
    let Report { decode_one_thread, decode, preprocess, infer, task_decode, end_to_end, .. } = report;
    let threads = format!("decode, {}", counted(decode.threads, "thread"));
    let mut rows = vec![("decode", "decode, 1 thread", decode_one_thread.timing.ms)];
    if decode.threads != 1 {
        rows.push(("decode", &threads, decode.timing.ms));
    }
    rows.extend([
        ("preprocess", "preprocess", preprocess.timing.ms),
        ("infer", "infer, a call", infer.timing.ms),
        ("task", "task decode", task_decode.ms),
        ("whole", "decoded to written", end_to_end.latency_ms),
    ]);
    let axis = Axis::over(rows.iter().filter_map(|row| row.2));
    page.text(MARGIN, top, "head", "How times spread, ms");
    page.text(RIGHT + 18.0, top, "soft small", "p50 / p95 / p99");
    let first = top + 18.0;
    let bottom = first + ROW * rows.len() as f64;
    for tick in axis.ticks() {
        let x = axis.at(tick);
        page.line("line", [x, first, x, bottom]);
        page.text(x, bottom + 17.0, "mid soft small", &short(tick));
    }
    let mut y = first + ROW / 2.0;
    for (class, name, ms) in rows {
        page.text(LEFT - 14.0, y + 4.5, "end", name);
        match ms {
            Some(ms) => range(page, class, &axis, y, ms),
            None => page.text(RIGHT + 18.0, y + 4.5, "soft", "not measured"),
        }
        y += ROW;
    }
    bottom + 17.0
}

fn range(page: &mut Page, class: &str, axis: &Axis, y: f64, ms: Percentiles) {
    let Percentiles { p50, p95, p99 } = ms;
    let numbers = format!("{} / {} / {}", number(p50), number(p95), number(p99));
    let [a, b, c] = [p50, p95, p99].map(|value| axis.at(value));
    page.rect(class, a, y - 2.0, (c - a).max(1.0), 4.0, &numbers);
    page.rect(class, b - 1.5, y - 8.0, 3.0, 16.0, &format!("p95 {}", number(p95)));
    page.rect(class, c - 1.5, y - 8.0, 3.0, 16.0, &format!("p99 {}", number(p99)));
    page.dot(class, a, y, 7.0, &format!("p50 {}", number(p50)));
    page.text(RIGHT + 18.0, y + 4.5, "", &numbers);
}

fn remarks(page: &mut Page, report: &Report, top: f64) -> f64 {
    let mut y = top;
    page.line("line", [MARGIN, y - 18.0, WIDTH - MARGIN, y - 18.0]);
    for line in wrapped(&report.advice, 118) {
        y += 4.0;
        page.text(MARGIN, y, "", &line);
        y += 16.0;
    }
    y - 16.0
}

/// Positions of times, in powers of ten.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// That holds all of them.
    fn over(times: impl Iterator<Item = Percentiles>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for Percentiles { p50, p99, .. } in times {
            least = least.min(p50.max(1e-3));
            most = most.max(p99);
        }
        if most <= 0.0 || !least.is_finite() {
            return Self { low: -1.0, high: 1.0 };
        }
        let (low, high) = (least.log10() - 0.12, most.max(1e-3).log10() + 0.12);
        if high - low < 0.5 { Self { low: low - 0.25, high: high + 0.25 } } else { Self { low, high } }
    }

    fn at(&self, value: f64) -> f64 {
        let place = (value.max(1e-3).log10() - self.low) / (self.high - self.low);
        LEFT + place.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    /// 1, 2 and 5 times powers of ten, or the powers alone where there are many.
    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.high - self.low > 2.2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = self.low.floor() as i32..=self.high.ceil() as i32;
        let all = powers.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|tick| (self.low..=self.high).contains(&tick.log10())).collect()
    }
}

/// A round number without zeros at its end.
fn short(value: f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6)
}

/// The end of a name that is too long.
fn shortened(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most {
        return name.to_owned();
    }
    let end: String = name.chars().skip(count + 1 - most).collect();
    format!("\u{2026}{end}")
}

/// Elements, in the order in which they are drawn.
#[derive(Default)]
struct Page(String);

impl Page {
    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.put(format_args!(r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{}</text>"#, escaped(text)));
    }

    /// With what a pointer that rests on it is told.
    fn rect(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64, told: &str) {
        self.put(format_args!(
            r#"<rect class="{class}" x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}"><title>{}</title></rect>"#,
            escaped(told)
        ));
    }

    fn dot(&mut self, class: &str, x: f64, y: f64, radius: f64, told: &str) {
        self.put(format_args!(
            r#"<circle class="{class}" cx="{x:.2}" cy="{y:.2}" r="{radius}"><title>{}</title></circle>"#,
            escaped(told)
        ));
    }

    fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        self.put(format_args!(
            r#"<line class="{class}" x1="{x1:.2}" y1="{y1:.2}" x2="{x2:.2}" y2="{y2:.2}"/>"#
        ));
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Into memory nothing fails.
        let _ = writeln!(self.0, "{element}");
    }

    fn whole(&self, height: f64, title: &str) -> String {
        let title = escaped(title);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img" aria-label="{title}">
<title>{title}</title>
<style>{STYLE}</style>
<rect class="page" width="{WIDTH}" height="{height:.0}"/>
{}</svg>
"#,
            self.0
        )
    }
}

/// Text that no name of a file can end early. What XML cannot hold at all is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            letter if letter.is_control() && !matches!(letter, '\t' | '\n') => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_picture() {
        assert_eq!(escaped("a<b>&\"c\"\u{1}\u{ffff}é"), "a&lt;b&gt;&amp;&quot;c&quot;é");
    }

    #[test]
    fn axes_hold_what_they_are_over() {
        let of = |p50, p99| Percentiles { p50, p95: p50, p99 };
        let axis = Axis::over([of(0.4, 0.5), of(20.0, 90.0)].into_iter());
        assert!(axis.at(0.4) > LEFT && axis.at(90.0) < RIGHT && axis.at(0.4) < axis.at(90.0));
        assert_eq!(axis.ticks(), [1.0, 10.0, 100.0]);
        let narrow = Axis::over(std::iter::once(of(5.0, 5.0)));
        assert!(narrow.at(5.0) > LEFT && narrow.at(5.0) < RIGHT);
        assert_eq!(narrow.ticks(), [5.0, 10.0]);
        assert!(!Axis::over(std::iter::empty()).ticks().is_empty());
        assert!(Axis::over(std::iter::once(of(0.0, 0.0))).at(0.0).is_finite());
    }

    #[test]
    fn long_names_and_numbers_are_cut() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("a long name", 5), "\u{2026}name");
        assert_eq!(short(0.1 + 0.2), "0.3");
    }
}
