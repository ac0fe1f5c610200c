use std::fs::File;
use std::path::Path;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row, RowAccessor};
use ::parquet::schema::printer::print_schema;

use super::super::parquet::{SCHEMA, convert, journal_path};
use super::super::{SinkError, create};
use super::conformance::{Seen, Subject, suite};
use super::jsonl::seen as journal_seen;
use super::{NO_NAMES, detection, dropped, failed, ok, record, run, whole_run, write_all};
use crate::record::{Detection, Found, Json, Outcome, Record};

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
    let columns: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
    let message = || row.get_string(5).unwrap().clone();
    let outcome = match row.get_string(4).unwrap().as_str() {
        "ok" => {
            assert_eq!((columns[5], columns[6]), (&Field::Null, &Field::Null));
            let list = row.get_list(7).unwrap();
            let detections = Some(list.elements().iter().map(detection_of).collect());
            let outputs = row.get_string(8).ok().map(|text| Json::new(text.clone()).unwrap());
            Outcome::Ok(Found { detections, outputs, ..Found::default() })
        }
        "failed" => {
            assert_eq!(columns[7], &Field::Null);
            Outcome::Failed { error: message(), attempts: row.get_int(6).unwrap() as u32 }
        }
        status => {
            assert_eq!((status, columns[6], columns[7]), ("dropped", &Field::Null, &Field::Null));
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

fn detection_of(field: &Field) -> Detection {
    let Field::Group(group) = field else { panic!("{field:?}") };
    let number = |column| group.get_float(column).unwrap();
    let class_id = group.get_int(5).unwrap() as u32;
    detection([0, 1, 2, 3].map(number), number(4), class_id, group.get_string(6).unwrap())
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

#[test]
fn every_record_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.parquet");
    let hostile = "two\nlines, \"交通\" 🚦";
    let mut picture = ok(0, vec![detection([0.1, 1e-30, 3.0, 4.0], 0.3, 2_000_000_000, hostile)]);
    (picture.pts, picture.time) = (None, None);
    let all: Vec<_> = run(100)
        .chain([picture, failed(1, ""), failed(2, hostile), dropped(3, hostile), ok(4, vec![])])
        .chain([record(hostile, 0, Outcome::Ok(vec![].into()))])
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
