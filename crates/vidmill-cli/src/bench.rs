//! `vidmill bench`: where the time goes, stage by stage, against the limit.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::Path;

use indicatif::ProgressBar;
use vidmill::Percentiles;
use vidmill::bench::{BenchError, BenchOptions, Report, Timing, measure};

use crate::args::BenchArgs;
use crate::exit_status::ExitStatus;
use crate::signals::Signals;
use crate::{Programs, allocations, complain, complain_with_hints, plan, svg};

/// Threads that never wait have more of a core than this on a machine that does nothing else.
const QUIET: f64 = 0.93;

/// `typed` is the command line; `programs` what worker processes run, unless it is this program.
pub fn bench(args: &BenchArgs, typed: &[OsString], programs: Option<Programs>) -> ExitStatus {
    let run = match check(args).and_then(|()| plan::bench(args, typed, programs)) {
        Ok(run) => run,
        Err(error) => {
            complain(&error);
            return ExitStatus::Usage;
        }
    };
    let (stop, signals) = match Signals::begin() {
        Ok(begun) => begun,
        Err(status) => return status,
    };
    let allocations = allocations::start();
    let options = BenchOptions { run, rounds: args.repeat, time: args.seconds, allocations };
    match shown(|say| measure(&options, &stop, say)) {
        Ok(report) => tell(args, &report),
        Err(error) => {
            let status = ExitStatus::of_bench_error(&error, signals.last());
            if !matches!(status, ExitStatus::Interrupted(_)) {
                complain_with_hints(&error, &error.hints());
            }
            status
        }
    }
}

/// What can be known before anything is measured.
fn check(args: &BenchArgs) -> Result<(), String> {
    if args.then.is_some() {
        return Err(
            "--then: one model is measured, not two that follow each other: measure each of them alone"
                .into(),
        );
    }
    let Some(svg) = &args.svg else { return Ok(()) };
    let folder = svg.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(format!("--svg {}: there is no folder {}", svg.display(), folder.display()));
    }
    if svg.is_dir() {
        return Err(format!("--svg {}: this is a folder: name a file in it", svg.display()));
    }
    Ok(())
}

/// Measures, and shows in a terminal what is being measured.
fn shown(
    measure: impl FnOnce(&mut dyn FnMut(&str)) -> Result<Report, BenchError>,
) -> Result<Report, BenchError> {
    if !io::stderr().is_terminal() {
        return measure(&mut |_| {});
    }
    let spinner = ProgressBar::new_spinner();
    let result = measure(&mut |part| {
        // Once for each part: a thread that draws would take part in what is measured.
        spinner.set_message(format!("measuring: {part}"));
        spinner.tick();
    });
    spinner.finish_and_clear();
    result
}

fn tell(args: &BenchArgs, report: &Report) -> ExitStatus {
    if args.json {
        match serde_json::to_string_pretty(report) {
            Ok(text) => show!("{text}"),
            Err(error) => {
                complain(&error);
                return ExitStatus::Failed;
            }
        }
    } else {
        print(report);
    }
    if let Some(path) = &args.svg {
        if let Err(error) = std::fs::write(path, svg::picture(report)) {
            complain(&format!("cannot write the picture {}: {error}", path.display()));
            return ExitStatus::Failed;
        }
        say!("wrote {}", path.display());
    }
    if report.end_to_end.failed > 0 { ExitStatus::SomeFailed } else { ExitStatus::Ok }
}

fn print(report: &Report) {
    let lines = |about: Vec<(&str, String)>| {
        about.into_iter().flat_map(|(label, text)| labelled(label, &text)).collect::<Vec<_>>()
    };
    let titles = ["", "frames/s", "CPU ms", "p50 ms", "p95 ms", "p99 ms"];
    let [name, rate, cpu, times @ ..] = titles;
    let titles = format!("{name:<22}{rate:>10}{cpu:>9}{}", times.map(|title| format!("{title:>9}")).concat());
    let table = rows(report).into_iter().map(|(name, timing, note)| row(&name, &timing, &note));
    let table: Vec<String> = std::iter::once(titles).chain(table).collect();
    let whole = whole(report).into_iter().chain(disturbed(report)).collect();
    let parts = [lines(head(report)), table, lines(whole), lines(limit(report))];
    show!("{}", parts.map(|part| part.join("\n")).join("\n\n"));
}

/// A text with what it is about before it, in lines that are not too long.
fn labelled(label: &str, text: &str) -> Vec<String> {
    let lines = wrapped(text, 100).into_iter().enumerate();
    lines.map(|(n, line)| format!("{:<9}{line}", if n == 0 { label } else { "" })).collect()
}

/// What is measured.
fn head(report: &Report) -> Vec<(&'static str, String)> {
    let Report { source, runtime, parallelism, .. } = report;
    let codec = source.codec.as_ref().map(|codec| format!(" {codec}")).unwrap_or_default();
    let format = source.pixel_format.as_ref().map(|format| format!(" {format}")).unwrap_or_default();
    let shape = format!("{}x{}{codec}{format}", source.width, source.height);
    let named = if source.generated { source.name.clone() } else { format!("{} ({shape})", source.name) };
    let workers =
        counted(parallelism.workers, if parallelism.isolated { "worker process" } else { "worker" });
    let threads = counted(parallelism.threads.max(1), "thread");
    let measured = [counted(report.rounds, "round"), counted(report.cores, "core")];
    vec![
        ("model", format!("{} ({})", report.model.display(), report.task)),
        ("source", named),
        (
            "runs on",
            format!(
                "{} {} {}, {}; {workers} of {threads}, batch {}",
                runtime.name, runtime.version, runtime.provider, runtime.precision, parallelism.batch
            ),
        ),
        ("measured", format!("each part for {} s, in {}; {}", report.seconds, measured[0], measured[1])),
    ]
}

/// The stages, each with what else is to be told of it.
fn rows(report: &Report) -> Vec<(String, Timing, String)> {
    let Report { decode_one_thread, decode, preprocess, infer, infer_all_workers, .. } = report;
    let mut rows = vec![("decode, 1 thread".to_owned(), decode_one_thread.timing, String::new())];
    if decode.threads != 1 {
        rows.push((format!("decode, {}", counted(decode.threads, "thread")), decode.timing, String::new()));
    }
    let speed = format!(
        "{:.1} GB/s by {}; a plain copy: {:.1} GB/s",
        preprocess.gb_per_second, preprocess.simd, preprocess.memcpy_gb_per_second
    );
    rows.push(("preprocess".to_owned(), preprocess.timing, speed));
    let batch = if infer.batch > 1 { format!("of {} frames", infer.batch) } else { String::new() };
    rows.push(("infer, 1 worker".to_owned(), infer.timing, batch));
    rows.push(("task decode".to_owned(), report.task_decode, String::new()));
    if infer_all_workers.workers > 1 {
        let name = format!("infer, {}", counted(infer_all_workers.workers, "worker"));
        rows.push((name, infer_all_workers.timing, String::new()));
    }
    let whole = &report.end_to_end;
    let timing = Timing {
        frames: whole.frames,
        frames_per_second: whole.frames_per_second,
        cpu_ms: whole.cpu_ms,
        ms: whole.latency_ms,
    };
    rows.push(("end to end".to_owned(), timing, "from decoded to written".to_owned()));
    rows
}

fn row(name: &str, timing: &Timing, note: &str) -> String {
    let times = match timing.ms {
        Some(Percentiles { p50, p95, p99 }) => {
            [p50, p95, p99].map(|ms| format!("{:>9}", number(ms))).concat()
        }
        None => format!("{:>9}", "-").repeat(3),
    };
    let (rate, cpu) = (number(timing.frames_per_second), number(timing.cpu_ms));
    let note = if note.is_empty() { String::new() } else { format!("  {note}") };
    format!("{name:<22}{rate:>10}{cpu:>9}{times}{note}")
}

/// What else is known of end to end.
fn whole(report: &Report) -> Vec<(&'static str, String)> {
    let whole = &report.end_to_end;
    let mut memory = Vec::new();
    if let Some(bytes) = whole.peak_memory_bytes {
        memory.push(format!("{} MiB at most", bytes >> 20));
    }
    if whole.worker_peak_memory_bytes > 0 {
        memory.push(format!("{} MiB in the largest worker process", whole.worker_peak_memory_bytes >> 20));
    }
    if let (Some(count), Some(bytes)) = (whole.allocations_per_frame, whole.allocated_bytes_per_frame) {
        let kilobytes = number(bytes / 1e3);
        memory.push(format!(
            "{} allocations ({kilobytes} kB) a frame outside FFmpeg and the runtime",
            number(count)
        ));
    }
    memory.push(format!("{} page faults a frame", number(whole.page_faults_per_frame)));
    let [reader, workers] = [whole.reader_waits, whole.workers_wait].map(|share| share * 100.0);
    let waiting = format!(
        "the reader for a free slot {reader:.0} % of its time, the workers for frames {workers:.0} %"
    );
    let mut lines = vec![("memory", memory.join("; ")), ("waiting", waiting)];
    if whole.failed > 0 {
        lines.push(("failed", counted(usize::try_from(whole.failed).unwrap_or(usize::MAX), "frame")));
    }
    lines
}

/// What is to be known where the machine was not vidmill's alone.
fn disturbed(report: &Report) -> Option<(&'static str, String)> {
    let share = report.core_share;
    (share < QUIET).then(|| {
        let had = share * 100.0;
        let text = format!(
            "other programs are running: a thread that never waits had {had:.0} % of a core; measure again without them"
        );
        ("note", text)
    })
}

/// The limit, and what is to be said of it.
fn limit(report: &Report) -> Vec<(&'static str, String)> {
    let Report { limit, cpu_ms, .. } = report;
    let of = if limit.by_device {
        "what the device does of the model alone".to_owned()
    } else {
        let cores = counted(report.cores, "core");
        let [sum, decode, preprocess, infer, task] =
            [limit.cpu_ms, cpu_ms.decode, cpu_ms.preprocess, cpu_ms.infer, cpu_ms.task].map(number);
        format!(
            "{cores} / {sum} ms (decode {decode} + preprocess {preprocess} + infer {infer} + task decode {task})"
        )
    };
    let (most, reached) = (number(limit.frames_per_second), number(report.end_to_end.frames_per_second));
    vec![
        ("limit", format!("{most} frames/s = {of}")),
        ("reached", format!("{reached} frames/s: {:.0} % of the limit", limit.share * 100.0)),
        ("so", report.advice.clone()),
    ]
}

/// Lines of at most so many letters, broken between words.
pub fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// "1 core", "2 cores".
pub fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ if what.ends_with('s') => format!("{count} {what}es"),
        _ => format!("{count} {what}s"),
    }
}

/// Three digits that matter: 0.123, 1.23, 12.3, 123.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_matter() {
        let cases = [
            (0.0, "0.000"),
            (0.0123, "0.012"),
            (0.9996, "1.00"),
            (9.996, "10.0"),
            (99.96, "100"),
            (1234.5, "1234"),
            (-0.5, "-0.500"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn things_are_counted() {
        assert_eq!(counted(1, "core"), "1 core");
        assert_eq!(counted(2, "worker process"), "2 worker processes");
        assert_eq!(counted(2, "core"), "2 cores");
    }

    #[test]
    fn long_texts_are_broken_between_words() {
        assert_eq!(wrapped("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrapped("abcdefgh ij", 4), ["abcdefgh", "ij"]);
        let lines = labelled("memory", &"word ".repeat(30));
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("memory   word") && lines[1].starts_with("         word"));
    }

    #[test]
    fn rows_line_up() {
        let timing = Timing { frames: 9, frames_per_second: 161.0, cpu_ms: 6.213, ms: None };
        let plain = row("decode, 1 thread", &timing, "");
        let ms = Some(Percentiles { p50: 1.0, p95: 20.0, p99: 300.0 });
        let full = row("end to end", &Timing { ms, ..timing }, "");
        assert_eq!(plain.len(), full.len());
        assert!(plain.ends_with("161     6.21        -        -        -"), "{plain}");
        assert!(full.ends_with("1.00     20.0      300"), "{full}");
    }
}
