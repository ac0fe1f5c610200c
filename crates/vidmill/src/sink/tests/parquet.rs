use std::fs::File;
use std::path::Path;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row, RowAccessor};
use ::parquet::schema::printer::print_schema;
use proptest::prelude::*;
use vidmill_image::Mask;

use super::super::parquet::{SCHEMA, convert, journal_path};
use super::super::{SinkError, create};
use super::conformance::{Seen, Subject, suite};
use super::jsonl::seen as journal_seen;
use super::{
    NO_NAMES, any_record, described, detection, dropped, failed, ok, record, run, whole_run, write_all,
};
use crate::record::{Class, Detection, Found, Json, Keypoint, Outcome, Record, Region};

const SUBJECT: Subject =
    Subject { ending: "parquet", read: seen, unfinished: ("parquet.partial.jsonl", journal_seen) };
suite!(parquet);

fn reader(path: &Path) -> SerializedFileReader<File> {
    SerializedFileReader::new(File::open(path).unwrap()).unwrap()
}

/// Read back row by row through the library's own reader, which knows nothing of how the columns were written.
fn records(path: &Path) -> Vec<Record> {
    reader(path).into_iter().map(|row| record_of(&row.unwrap())).collect()
}

fn record_of(row: &Row) -> Record {
    let message = || row.get_string(5).unwrap().clone();
    let nothing = |columns: &[&str]| {
        assert!(columns.iter().all(|column| field(row, column).is_none()), "{row}");
    };
    let outcome = match row.get_string(4).unwrap().as_str() {
        "ok" => {
            nothing(&["message", "attempts"]);
            let detections = list(row, "detections", |one| detection_of(group(one)));
            Outcome::Ok(Found { detections, ..further_of(row) })
        }
        "failed" => {
            nothing(&["detections"]);
            assert_eq!(further_of(row), Found::default());
            Outcome::Failed { error: message(), attempts: row.get_int(6).unwrap() as u32 }
        }
        status => {
            nothing(&["attempts", "detections"]);
            assert_eq!((status, further_of(row)), ("dropped", Found::default()));
            Outcome::Dropped { reason: message() }
        }
    };
    Record {
        source: row.get_string(0).unwrap().as_str().into(),
        frame: row.get_long(1).unwrap() as u64,
        pts: row.get_long(2).ok(),
        time: row.get_double(3).ok(),
        outcome,
    }
}

/// A value that is there.
fn field<'a>(row: &'a Row, name: &str) -> Option<&'a Field> {
    let (_, field) = row.get_column_iter().find(|(column, _)| *column == name).unwrap();
    Some(field).filter(|field| **field != Field::Null)
}

fn group(field: &Field) -> &Row {
    let Field::Group(group) = field else { panic!("{field:?}") };
    group
}

fn elements<T>(field: &Field, one: impl Fn(&Field) -> T) -> Vec<T> {
    let Field::ListInternal(list) = field else { panic!("{field:?}") };
    list.elements().iter().map(one).collect()
}

fn list<T>(row: &Row, name: &str, one: impl Fn(&Field) -> T) -> Option<Vec<T>> {
    field(row, name).map(|field| elements(field, one))
}

fn string(field: &Field) -> String {
    let Field::Str(text) = field else { panic!("{field:?}") };
    text.clone()
}

fn float(field: &Field) -> f32 {
    let Field::Float(number) = field else { panic!("{field:?}") };
    *number
}

fn int(field: &Field) -> u32 {
    let Field::Int(number) = field else { panic!("{field:?}") };
    *number as u32
}

fn class_id_and_name(row: &Row) -> (u32, std::sync::Arc<str>) {
    (int(field(row, "class_id").unwrap()), string(field(row, "class").unwrap()).into())
}

fn mask_of(field_of: &Field) -> Mask {
    let mask = group(field_of);
    let size = list(mask, "size", int).unwrap();
    let counts = string(field(mask, "counts").unwrap());
    serde_json::from_value(serde_json::json!({ "size": size, "counts": counts })).unwrap()
}

fn json(field: &Field) -> Json {
    // JSON is a string to this reader.
    Json::new(string(field)).unwrap()
}

fn further_of(row: &Row) -> Found {
    let class = |one: &Field| {
        let (class_id, class) = class_id_and_name(group(one));
        Class { class_id, class, confidence: float(field(group(one), "confidence").unwrap()) }
    };
    let region = |one: &Field| {
        let (class_id, class) = class_id_and_name(group(one));
        Region { class_id, class, mask: mask_of(field(group(one), "mask").unwrap()) }
    };
    Found {
        detections: None,
        classes: list(row, "classes", class),
        masks: list(row, "masks", region),
        text: field(row, "text").map(string),
        text_confidence: field(row, "text_confidence").map(float),
        embedding: list(row, "embedding", float),
        outputs: field(row, "outputs").map(json),
    }
}

fn detection_of(row: &Row) -> Detection {
    let number = |column| row.get_float(column).unwrap();
    let Found { classes, masks, text, text_confidence, embedding, outputs, .. } = further_of(row);
    let corners = list(row, "corners", |point| elements(point, float).try_into().unwrap());
    let keypoint = |point: &Field| match elements(point, float)[..] {
        [x, y] => Keypoint::Plain([x, y]),
        [x, y, confidence] => Keypoint::Sure([x, y, confidence]),
        _ => panic!("{point:?}"),
    };
    let (class_id, class) = class_id_and_name(row);
    Detection {
        xyxy: [0, 1, 2, 3].map(number),
        confidence: number(4),
        class_id,
        class,
        track_id: field(row, "track_id").map(|_| row.get_long(7).unwrap() as u64),
        corners: corners.map(|corners| corners.try_into().unwrap()),
        keypoints: list(row, "keypoints", keypoint),
        mask: field(row, "mask").map(mask_of),
        classes,
        text,
        text_confidence,
        embedding,
        detections: field(row, "detections").map(|inner| serde_json::from_str(&string(inner)).unwrap()),
        masks,
        outputs,
    }
}

fn seen(path: &Path) -> Vec<Seen> {
    let of_frame = |record: Record| match record.outcome {
        Outcome::Ok(found) => {
            found.detections().iter().map(|found| (record.frame, found.xyxy, found.confidence)).collect()
        }
        _ => Vec::new(),
    };
    records(path).into_iter().flat_map(of_frame).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever is null, empty or nested at whichever place.
    #[test]
    fn any_record_comes_back(all in proptest::collection::vec(any_record(i32::MAX as u64), 0..8)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.parquet");
        whole_run(&path, NO_NAMES, all.clone());
        prop_assert_eq!(records(&path), all);
    }
}

#[test]
fn every_record_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.parquet");
    let hostile = "two\nlines, \"交通\" 🚦";
    let mut picture = ok(0, vec![detection([0.1, 1e-30, 3.0, 4.0], 0.3, 2_000_000_000, hostile)]);
    (picture.pts, picture.time) = (None, None);
    let all: Vec<_> = run(100)
        .chain([picture, failed(1, ""), failed(2, hostile), dropped(3, hostile), ok(4, vec![])])
        .chain([record(hostile, 0, Outcome::Ok(vec![].into())), record("a.png", 1, Outcome::Ok(described()))])
        .collect();
    whole_run(&path, NO_NAMES, all.clone());
    assert_eq!(records(&path), all);
}

#[test]
fn the_schema_is_that_of_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.parquet");
    whole_run(&path, NO_NAMES, run(3));
    let mut printed = Vec::new();
    print_schema(&mut printed, reader(&path).metadata().file_metadata().schema());
    let words = |text: &str| text.to_lowercase().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&String::from_utf8(printed).unwrap().replace("BYTE_ARRAY", "binary")), words(SCHEMA));
}

/// However long the run, a row group is bounded by rows, by detections and by text.
#[test]
fn row_groups_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let groups = |name: &str, all: &mut dyn Iterator<Item = Record>| -> Vec<(i64, i64)> {
        let path = directory.path().join(name);
        whole_run(&path, NO_NAMES, all);
        let metadata = reader(&path).metadata().clone();
        metadata.row_groups().iter().map(|group| (group.num_rows(), group.column(12).num_values())).collect()
    };
    let few = groups("rows.parquet", &mut (0..70_000).map(|frame| ok(frame, vec![])));
    assert_eq!(few, [(32_768, 32_768), (32_768, 32_768), (4464, 4464)]);

    let crowd = vec![detection([1.0, 2.0, 3.0, 4.0], 0.5, 0, "person"); 300];
    let many = groups("detections.parquet", &mut (0..400).map(|frame| ok(frame, crowd.clone())));
    assert_eq!(many, [(219, 65_700), (181, 54_300)]);

    let long = |frame| failed(frame, &format!("{frame}{}", "x".repeat(1 << 20)));
    let vector = Found { embedding: Some(vec![0.5; 1 << 18]), ..Found::default() };
    let vectors = groups(
        "vectors.parquet",
        &mut (0..9).map(|frame| record("a.mp4", frame, Outcome::Ok(vector.clone()))),
    );
    assert_eq!(vectors.iter().map(|group| group.0).collect::<Vec<_>>(), [4, 4, 1]);

    let texts = groups("text.parquet", &mut (0..9).map(long));
    assert_eq!(texts.iter().map(|group| group.0).collect::<Vec<_>>(), [4, 4, 1]);
}

#[test]
fn nothing_of_an_earlier_run_stands_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.parquet");
    whole_run(&path, NO_NAMES, run(3));
    let sink = create(&path, NO_NAMES).unwrap();
    assert!(!path.exists());
    drop(sink);
    assert!(!path.exists() && journal_path(&path).exists());
}

#[test]
fn the_journal_of_a_crash_makes_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, crashed) = (directory.path().join("whole.parquet"), directory.path().join("crashed.parquet"));
    whole_run(&whole, NO_NAMES, run(500));
    let mut sink = create(&crashed, NO_NAMES).unwrap();
    write_all(&mut *sink, run(500));
    sink.flush().unwrap();
    drop(sink);
    convert(&journal_path(&crashed), &crashed).unwrap();
    assert_eq!(std::fs::read(&crashed).unwrap(), std::fs::read(&whole).unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn when_the_conversion_fails_the_journal_is_kept_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.parquet");
    std::os::unix::fs::symlink("/dev/full", directory.path().join("out.parquet.tmp")).unwrap();
    let mut sink = create(&path, NO_NAMES).unwrap();
    write_all(&mut *sink, run(10));
    let error = sink.finish().unwrap_err();
    assert!(matches!(error, SinkError::Conversion { .. }), "{error:?}");
    let message = error.to_string();
    let journal = journal_path(&path);
    assert!(message.contains("No space left") && message.contains("free some space"), "{message}");
    assert!(message.ends_with(&format!("kept as JSON Lines in {}", journal.display())), "{message}");
    assert_eq!(super::jsonl::records(&journal), run(10).collect::<Vec<_>>());
    assert!(!path.exists());
}
