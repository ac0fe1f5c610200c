//! What every sink must do, and what each format must look like.

mod coco;
mod conformance;
mod csv;
mod jsonl;
mod parquet;

use std::path::Path;
use std::process::Command;

use super::{Format, Sink, create};
use crate::record::{Detection, Outcome, Record};

const NO_NAMES: &[&str] = &[];

fn detection(xyxy: [f32; 4], confidence: f32, class_id: u32, class: &str) -> Detection {
    Detection { xyxy, confidence, class_id, class: class.into(), ..Detection::default() }
}

fn record(source: &str, frame: u64, outcome: Outcome) -> Record {
    let (pts, time) = (Some(frame as i64 * 512), Some(frame as f64 * 0.04));
    Record { source: source.into(), frame, pts, time, outcome }
}

fn ok(frame: u64, detections: Vec<Detection>) -> Record {
    record("street.mp4", frame, Outcome::Ok(detections.into()))
}

fn failed(frame: u64, error: &str) -> Record {
    record("street.mp4", frame, Outcome::Failed { error: error.to_owned(), attempts: 3 })
}

fn dropped(frame: u64, reason: &str) -> Record {
    record("street.mp4", frame, Outcome::Dropped { reason: reason.to_owned() })
}

/// A run with every kind of frame. Its numbers are multiples of 1/4, so that widths and sums are exact.
fn run(frames: u64) -> impl Iterator<Item = Record> {
    (0..frames).map(|frame| match frame % 7 {
        5 => failed(frame, "the worker died (signal 9)"),
        6 => dropped(frame, "the source is live and the queue is full"),
        some => ok(frame, (0..some as u32).map(|n| boxed(frame, n)).collect()),
    })
}

fn boxed(frame: u64, n: u32) -> Detection {
    let left = (frame % 1000) as f32 + n as f32 * 0.25;
    detection([left, 2.0, left + 10.5, 40.25], 1.0 - n as f32 * 0.125, n, "person")
}

fn write_all(sink: &mut dyn Sink, records: impl IntoIterator<Item = Record>) {
    for record in records {
        sink.write(&record).unwrap();
    }
}

/// Writes `records` to `path` as a whole run.
fn whole_run(path: &Path, class_names: &[&str], records: impl IntoIterator<Item = Record>) {
    let mut sink = create(path, class_names).unwrap();
    write_all(&mut *sink, records);
    sink.finish().unwrap();
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// This very test again, alone in a process of its own, started by the shell command `start` (which gets its command
/// line as `"$@"`); `directory` tells it that it is the child.
fn again(test: &str, start: &str, directory: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", start, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, directory);
    command
}

const CHILD: &str = "VIDMILL_SINK_TEST_CHILD";

#[test]
fn the_ending_names_the_format() {
    let of = |path: &str| Format::of(Path::new(path));
    assert_eq!(of("a.jsonl").unwrap(), Format::Jsonl);
    assert_eq!(of("b/a.NDJSON").unwrap(), Format::Jsonl);
    assert_eq!(of("a.b.csv").unwrap(), Format::Csv);
    assert_eq!(of("a.json").unwrap(), Format::Coco);
    assert_eq!(of("a.parquet").unwrap(), Format::Parquet);
    for path in ["a.xml", "a", ".csv", "jsonl"] {
        let error = of(path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot tell the format of {path} from")), "{error}");
        assert!(error.contains(".jsonl") && error.contains(".parquet"), "{error}");
    }
}

#[test]
fn a_dash_is_standard_output() {
    if std::env::var_os(CHILD).is_some() {
        return whole_run(Path::new("-"), NO_NAMES, run(5));
    }
    let directory = tempfile::tempdir().unwrap();
    let name = "sink::tests::a_dash_is_standard_output";
    let output = again(name, "exec \"$@\"", directory.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let file = directory.path().join("same.jsonl");
    whole_run(&file, NO_NAMES, run(5));
    assert!(String::from_utf8(output.stdout).unwrap().contains(&text(&file)));
}
