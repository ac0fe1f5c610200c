//! What every sink must do, and what each format must look like.

mod coco;
mod conformance;
mod csv;
mod jsonl;
mod mot;
mod parquet;

use std::path::Path;
use std::process::Command;

use proptest::option::of;
use proptest::prelude::*;
use vidmill_image::{Mask, Size};

use super::{Format, Sink, create};
use crate::record::{Class, Detection, Found, Json, Keypoint, Outcome, Record, Region};

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
        some => {
            let detections = (0..some as u32).map(|n| boxed(frame, n)).collect();
            let found = Found { text: (some == 1).then(|| "a \"sign\"".to_owned()), ..Vec::into(detections) };
            record("street.mp4", frame, Outcome::Ok(found))
        }
    })
}

/// A box; the third of a frame has all that detections may have.
fn boxed(frame: u64, n: u32) -> Detection {
    let left = (frame % 1000) as f32 + n as f32 * 0.25;
    let plain = detection([left, 2.0, left + 10.5, 40.25], 1.0 - n as f32 * 0.125, n, "person");
    if n == 2 { Detection { track_id: Some(frame + 1), ..full(plain) } } else { plain }
}

/// A detection with everything.
fn full(plain: Detection) -> Detection {
    let inner = Detection { text: Some("7, \"up\"".into()), ..plain.clone() };
    Detection {
        track_id: Some(12),
        corners: Some([[1.0, 2.0], [3.0, 2.5], [3.0, 4.0], [1.0, 3.5]]),
        keypoints: Some(vec![Keypoint::Sure([1.5, 2.5, 0.75]), Keypoint::Sure([-2.0, 3.5, 0.0])]),
        mask: Some(mask()),
        classes: Some(vec![class(3, "red", 0.75), class(0, "a, b", 0.25)]),
        text: Some("AB \n12".into()),
        text_confidence: Some(0.5),
        embedding: Some(vec![0.25, -1.0, 3e-7]),
        detections: Some(vec![inner]),
        masks: Some(vec![region(1, "sky")]),
        outputs: Some(Json::new(r#"{"a":[1,2]}"#.into()).unwrap()),
        ..plain
    }
}

fn class(class_id: u32, name: &str, confidence: f32) -> Class {
    Class { class_id, class: name.into(), confidence }
}

fn region(class_id: u32, name: &str) -> Region {
    Region { class_id, class: name.into(), mask: mask() }
}

/// Of 3 x 2 pixels, the first of the first row and the last of the second.
fn mask() -> Mask {
    Mask::from_rows(Size::new(3, 2), &[1, 0, 0, 0, 0, 1]).unwrap()
}

/// A frame with everything that is no detection.
fn described() -> Found {
    Found {
        detections: None,
        classes: Some(vec![class(3, "street, wet", 0.75)]),
        masks: Some(vec![region(1, "sky"), region(4, "road")]),
        text: Some("STOP".into()),
        text_confidence: Some(0.875),
        embedding: Some(vec![1.0, -0.5]),
        outputs: Some(Json::new("[1,{\"b\":null}]".into()).unwrap()),
    }
}

/// Any record whose whole numbers are at most `most`.
fn any_record(most: u64) -> impl Strategy<Value = Record> {
    let any_found = (
        of(proptest::collection::vec(any_detection(most), 0..4)),
        any_further(most),
        of(Just(Found { text: None, ..Vec::into(vec![]) })),
    );
    let attempts = 0..=u32::try_from(most).unwrap_or(u32::MAX);
    let outcome = prop_oneof![
        4 => any_found.prop_map(|(detections, further, empty)| {
            let found = Found { detections, ..further };
            Outcome::Ok(if found == Found::default() { empty.unwrap_or_else(described) } else { found })
        }),
        1 => (any::<String>(), attempts).prop_map(|(error, attempts)| Outcome::Failed { error, attempts }),
        1 => any::<String>().prop_map(|reason| Outcome::Dropped { reason }),
    ];
    let time = any::<Option<f64>>().prop_map(|time| time.filter(|time| time.is_finite()));
    (any::<String>(), 0..=most, any::<Option<i64>>(), time, outcome).prop_map(
        |(source, frame, pts, time, outcome)| Record { source: source.into(), frame, pts, time, outcome },
    )
}

/// What frames and detections both may have.
fn any_further(most: u64) -> impl Strategy<Value = Found> {
    let name = || any::<String>().prop_map(std::sync::Arc::from);
    let class = (any_class_id(most), name(), any_number()).prop_map(|(class_id, class, confidence)| Class {
        class_id,
        class,
        confidence,
    });
    let region = (any_class_id(most), name(), any_mask()).prop_map(|(class_id, class, mask)| Region {
        class_id,
        class,
        mask,
    });
    let json = any::<Vec<u8>>().prop_map(|bytes| Json::new(format!("{{\"v\":{bytes:?}}}")).unwrap());
    (
        of(proptest::collection::vec(class, 0..3)),
        of(proptest::collection::vec(region, 0..3)),
        any::<Option<String>>(),
        of(any_number()),
        of(proptest::collection::vec(any_number(), 0..5)),
        of(json),
    )
        .prop_map(|(classes, masks, text, text_confidence, embedding, outputs)| Found {
            detections: None,
            classes,
            masks,
            text,
            text_confidence,
            embedding,
            outputs,
        })
}

fn any_detection(most: u64) -> impl Strategy<Value = Detection> {
    let point = || [any_number(), any_number()];
    let keypoint = (point(), any_number(), any::<bool>()).prop_map(|([x, y], confidence, is_sure)| {
        if is_sure { Keypoint::Sure([x, y, confidence]) } else { Keypoint::Plain([x, y]) }
    });
    let plain = ([any_number(), any_number(), any_number(), any_number()], any_number(), any_class_id(most))
        .prop_map(|(xyxy, confidence, class_id)| detection(xyxy, confidence, class_id, "crossing \"🚦\""));
    let places = (
        of(0..=most),
        of([point(), point(), point(), point()]),
        of(proptest::collection::vec(keypoint, 0..3)),
        of(any_mask()),
    );
    let inner = of(proptest::collection::vec(plain.clone(), 0..3));
    (plain, places, any_further(most), inner).prop_map(|(plain, places, further, detections)| {
        let (track_id, corners, keypoints, mask) = places;
        let Found { detections: _, classes, masks, text, text_confidence, embedding, outputs } = further;
        Detection {
            track_id,
            corners,
            keypoints,
            mask,
            classes,
            text,
            text_confidence,
            embedding,
            detections,
            masks,
            outputs,
            ..plain
        }
    })
}

fn any_number() -> impl Strategy<Value = f32> + Clone {
    any::<f32>().prop_filter("finite", |number| number.is_finite())
}

fn any_class_id(most: u64) -> impl Strategy<Value = u32> + Clone {
    0..=u32::try_from(most).unwrap_or(u32::MAX)
}

fn any_mask() -> impl Strategy<Value = Mask> {
    (1..9u32, 1..9u32).prop_flat_map(|(width, height)| {
        let pixels = proptest::collection::vec(0..2u8, (width * height) as usize);
        pixels.prop_map(move |rows| Mask::from_rows(Size::new(width, height), &rows).unwrap())
    })
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
    assert_eq!(of("a.txt").unwrap(), Format::Mot);
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
