use std::path::Path;

use proptest::prelude::*;

use super::super::SinkError;
use super::super::jsonl::{self, JsonlSink, ReadError};
use super::conformance::{Seen, Subject, suite};
use super::{NO_NAMES, any_record, detection, dropped, failed, ok, text, whole_run};
use crate::record::{Outcome, Record};
use crate::sink::Sink;

const SUBJECT: Subject = Subject { ending: "jsonl", read: seen, unfinished: ("jsonl", seen) };
suite!(jsonl);

pub(super) fn seen(path: &Path) -> Vec<Seen> {
    let mut all = Vec::new();
    for record in records(path) {
        if let Outcome::Ok(found) = record.outcome {
            all.extend(found.detections().iter().map(|found| (record.frame, found.xyxy, found.confidence)));
        }
    }
    all
}

pub(super) fn records(path: &Path) -> Vec<Record> {
    jsonl::read(path).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The contract: other programs rely on these very bytes.
#[test]
fn the_lines_are_those_of_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    let mut person = ok(120, vec![detection([12.1, 40.0, 88.5, 210.3], 0.91, 0, "person")]);
    (person.pts, person.time) = (Some(61440), Some(4.8));
    let mut picture = ok(0, vec![]);
    (picture.pts, picture.time) = (None, None);
    whole_run(&path, NO_NAMES, [person, picture, failed(121, "no memory"), dropped(122, "too late")]);
    assert_eq!(
        text(&path),
        r#"{"source":"street.mp4","frame":120,"pts":61440,"time":4.8,"status":"ok","detections":[{"xyxy":[12.1,40.0,88.5,210.3],"confidence":0.91,"class_id":0,"class":"person"}]}
{"source":"street.mp4","frame":0,"pts":null,"time":null,"status":"ok","detections":[]}
{"source":"street.mp4","frame":121,"pts":61952,"time":4.84,"status":"failed","error":"no memory","attempts":3}
{"source":"street.mp4","frame":122,"pts":62464,"time":4.88,"status":"dropped","reason":"too late"}
"#
    );
}

/// The examples of docs/RECORD.md are records, to the last byte.
#[test]
fn the_documentation_shows_records() {
    let page = include_str!("../../../../../docs/RECORD.md");
    let examples: Vec<&str> = page.lines().filter(|line| line.starts_with(r#"{"source""#)).collect();
    assert!(examples.len() >= 13);
    for line in examples {
        let record: Record = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
    }
}

proptest! {
    /// Any text, any finite number: what is read back is what was written, to the last bit.
    #[test]
    fn any_record_comes_back(all in proptest::collection::vec(any_record(u64::MAX), 0..8)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        whole_run(&path, NO_NAMES, all.clone());
        prop_assert_eq!(text(&path).lines().count(), all.len());
        prop_assert_eq!(records(&path), all);
    }
}

#[test]
fn a_line_cut_off_is_told_after_the_whole_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    whole_run(&path, NO_NAMES, [ok(0, vec![]), ok(1, vec![])]);
    let whole = text(&path);
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let mut records = jsonl::read(&path).unwrap();
    assert_eq!(records.next().unwrap().unwrap(), ok(0, vec![]));
    assert!(matches!(records.next().unwrap(), Err(ReadError::Torn { line: 2, .. })));
    assert!(records.next().is_none());
}

#[test]
fn a_line_that_is_no_record_is_told_by_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    let start = r#"{"source":"a.mp4","frame":1,"pts":1,"time":0.1,"#;
    for (line, complaint) in [
        (r#""status":"failed","attempts":1}"#, "no `error`"),
        (r#""status":"ok"}"#, "no `detections`"),
        (r#""status":"dropped","error":"x"}"#, "no `reason`"),
        (r#""status":"lost","reason":"x"}"#, "unknown variant `lost`"),
        (r#""status":"ok","detections":[{"xyxy":[1,2,3]}]}"#, "array of length 4"),
    ] {
        std::fs::write(&path, format!("{start}{line}\n")).unwrap();
        let error = jsonl::read(&path).unwrap().next().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("line 1 of ") && error.contains(complaint), "{error}");
    }
}

#[test]
fn keys_yet_to_come_are_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.jsonl");
    let line =
        r#"{"source":"a.png","frame":4,"pts":null,"time":null,"status":"ok","detections":[],"track":[1]}"#;
    std::fs::write(&path, format!("{line}\n")).unwrap();
    let record = &records(&path)[0];
    assert_eq!((record.frame, &record.outcome), (4, &Outcome::Ok(vec![].into())));
}

#[test]
#[cfg(unix)]
fn a_reader_who_left_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = std::thread::spawn({
        let path = path.clone();
        move || drop(std::fs::File::open(path).unwrap())
    });
    let mut sink = JsonlSink::create(&path).unwrap();
    reader.join().unwrap();
    sink.write(&ok(0, vec![])).unwrap();
    let error = sink.flush().unwrap_err();
    assert!(matches!(error, SinkError::Closed { .. }), "{error:?}");
}
