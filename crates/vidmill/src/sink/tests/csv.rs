use std::path::Path;

use super::super::csv::HEADER;
use super::conformance::{Seen, Subject, suite};
use super::{NO_NAMES, described, detection, dropped, failed, full, ok, record, text, whole_run};
use crate::record::{Found, Outcome};

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
        "source,frame,pts,time,status,x1,y1,x2,y2,confidence,class_id,class,message,outputs,\
         track_id,corners,keypoints,mask,classes,text,text_confidence,embedding,detections,masks\n\
         street.mp4,0,0,0.0,ok,12.1,40.0,88.5,210.3,0.91,0,person,,,,,,,,,,,,\n\
         street.mp4,0,0,0.0,ok,1e-7,0.0,16777216.0,3.5,0.5,2,car,,,,,,,,,,,,\n\
         street.mp4,1,512,0.04,ok,,,,,,,,,,,,,,,,,,,\n\
         street.mp4,2,1024,0.08,failed,,,,,,,,no memory,,,,,,,,,,,\n\
         street.mp4,3,1536,0.12,dropped,,,,,,,,too late,,,,,,,,,,,\n\
         street.mp4,4,,,ok,,,,,,,,,,,,,,,,,,,\n"
    );
}

/// The cells of a row after `message`.
fn further(row: &[String]) -> [&str; 11] {
    std::array::from_fn(|column| &*row[13 + column])
}

const MASK: &str = r#"{"size":[2,3],"counts":"0140"}"#;

#[test]
fn all_that_a_detection_has_is_in_its_row() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.csv");
    whole_run(&path, NO_NAMES, [ok(0, vec![full(detection([1.0; 4], 0.5, 2, "car"))])]);
    let rows = rows(&path);
    assert_eq!(rows.len(), 1);
    let masks = format!(r#"[{{"class_id":1,"class":"sky","mask":{MASK}}}]"#);
    assert_eq!(
        further(&rows[0]),
        [
            r#"{"a":[1,2]}"#,
            "12",
            "[[1.0,2.0],[3.0,2.5],[3.0,4.0],[1.0,3.5]]",
            "[[1.5,2.5,0.75],[-2.0,3.5,0.0]]",
            MASK,
            r#"[{"class_id":3,"class":"red","confidence":0.75},{"class_id":0,"class":"a, b","confidence":0.25}]"#,
            "AB \n12",
            "0.5",
            "[0.25,-1.0,3e-7]",
            r#"[{"xyxy":[1.0,1.0,1.0,1.0],"confidence":0.5,"class_id":2,"class":"car","text":"7, \"up\""}]"#,
            &masks,
        ]
    );
}

#[test]
fn what_a_frame_has_is_in_a_row_without_a_box() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.csv");
    let (one, outputs) = (|| detection([1.0; 4], 0.5, 2, "car"), || described().outputs);
    let both = |found: Found| {
        record("a.mp4", 0, Outcome::Ok(Found { detections: Some(vec![one(), one()]), ..found }))
    };
    let just_outputs = || Found { outputs: outputs(), ..Found::default() };
    let inner = Found { detections: Some(vec![full(one())]), ..just_outputs() };
    whole_run(
        &path,
        NO_NAMES,
        [
            record("a.mp4", 0, Outcome::Ok(described())),
            both(described()),
            both(just_outputs()),
            record("a.mp4", 0, Outcome::Ok(inner)),
        ],
    );
    let rows = rows(&path);
    let classes = r#"[{"class_id":3,"class":"street, wet","confidence":0.75}]"#;
    let masks = format!(
        r#"[{{"class_id":1,"class":"sky","mask":{MASK}}},{{"class_id":4,"class":"road","mask":{MASK}}}]"#
    );
    let outputs = r#"[1,{"b":null}]"#;
    let of_frame = [outputs, "", "", "", "", classes, "STOP", "0.875", "[1.0,-0.5]", "", &masks];
    let (nothing, mut only) = ([""; 11], [""; 11]);
    only[0] = outputs;
    let boxes: Vec<bool> = rows.iter().map(|row| !row[5].is_empty()).collect();
    assert_eq!(boxes, [false, false, true, true, true, true, false, true]);
    let expected = [of_frame, of_frame, nothing, nothing, only, nothing, only];
    assert_eq!(rows[..7].iter().map(|row| further(row)).collect::<Vec<_>>(), expected);
    assert_eq!(further(&rows[7])[0], r#"{"a":[1,2]}"#);
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
