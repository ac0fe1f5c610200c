use std::path::Path;

use super::super::csv::HEADER;
use super::conformance::{Seen, Subject, suite};
use super::{NO_NAMES, detection, dropped, failed, ok, record, text, whole_run};
use crate::record::Outcome;

const SUBJECT: Subject = Subject { ending: "csv", read: seen, unfinished: ("csv", seen) };
suite!(csv);

/// Read by the `csv` crate, which also checks that all rows are of one length.
fn rows(path: &Path) -> Vec<Vec<String>> {
    let mut reader = ::csv::Reader::from_path(path).unwrap();
    assert_eq!(reader.headers().unwrap(), HEADER.trim_end().split(',').collect::<Vec<_>>());
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn seen(path: &Path) -> Vec<Seen> {
    let detections = rows(path).into_iter().filter(|row| !row[5].is_empty());
    let number = |row: &[String], column: usize| row[column].parse().unwrap();
    detections
        .map(|row| (row[1].parse().unwrap(), [5, 6, 7, 8].map(|side| number(&row, side)), number(&row, 9)))
        .collect()
}

#[test]
fn every_frame_has_a_row() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.csv");
    let two = vec![
        detection([12.1, 40.0, 88.5, 210.3], 0.91, 0, "person"),
        detection([1e-7, 0.0, 16777216.0, 3.5], 0.5, 2, "car"),
    ];
    let mut picture = ok(4, vec![]);
    (picture.pts, picture.time) = (None, None);
    whole_run(
        &path,
        NO_NAMES,
        [ok(0, two), ok(1, vec![]), failed(2, "no memory"), dropped(3, "too late"), picture],
    );
    assert_eq!(
        text(&path),
        "source,frame,pts,time,status,x1,y1,x2,y2,confidence,class_id,class,message,outputs\n\
         street.mp4,0,0,0.0,ok,12.1,40.0,88.5,210.3,0.91,0,person,,\n\
         street.mp4,0,0,0.0,ok,1e-7,0.0,16777216.0,3.5,0.5,2,car,,\n\
         street.mp4,1,512,0.04,ok,,,,,,,,,\n\
         street.mp4,2,1024,0.08,failed,,,,,,,,no memory,\n\
         street.mp4,3,1536,0.12,dropped,,,,,,,,too late,\n\
         street.mp4,4,,,ok,,,,,,,,,\n"
    );
}

#[test]
fn any_text_comes_back() {
    for hostile in
        ["a, b", "say \"hi\"", "two\nlines", "two\r\nlines", "straße 交通 🚦", "\"", ",", "\r", " padded "]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        let detections = vec![detection([0.0; 4], 0.5, 1, hostile)];
        let failure = Outcome::Failed { error: hostile.to_owned(), attempts: 1 };
        let records = [record(hostile, 0, Outcome::Ok(detections.into())), record("a.mp4", 1, failure)];
        whole_run(&path, NO_NAMES, records);
        let rows = rows(&path);
        assert_eq!((&*rows[0][0], &*rows[0][11], &*rows[1][12]), (hostile, hostile, hostile));
    }
}
