use std::path::Path;

use serde_json::Value;

use super::super::{SinkError, create};
use super::conformance::{Seen, Subject, suite};
use super::{NO_NAMES, described, detection, failed, full, ok, record, text, whole_run};
use crate::record::{Detection, Found, Keypoint, Outcome, Record};

const SUBJECT: Subject = Subject { ending: "json", read: seen, unfinished: ("json", seen) };
suite!(coco);

/// As detectors name and order them.
#[rustfmt::skip]
const YOLO_NAMES: [&str; 80] = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
];

/// The ten numbers of COCO's 1 to 90 that no category has.
const GAPS: [u64; 10] = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];

fn results(path: &Path) -> Vec<Value> {
    serde_json::from_str(&text(path)).unwrap()
}

fn seen(path: &Path) -> Vec<Seen> {
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let one = |result: Value| {
        let [x, y, width, height] = [0, 1, 2, 3].map(|side| number(&result["bbox"][side]));
        let score = number(&result["score"]);
        (result["image_id"].as_u64().unwrap(), [x, y, x + width, y + height], score)
    };
    results(path).into_iter().map(one).collect()
}

fn category_ids(class_names: &[&str], class_ids: impl IntoIterator<Item = u32>) -> Vec<u64> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    let detections = class_ids.into_iter().map(|id| detection([0.0; 4], 0.5, id, "any")).collect();
    whole_run(&path, class_names, [ok(0, detections)]);
    results(&path).iter().map(|result| result["category_id"].as_u64().unwrap()).collect()
}

fn picture(source: &str, frame: u64) -> Record {
    let outcome = Outcome::Ok(vec![detection([0.0; 4], 0.5, 0, "person")].into());
    Record { pts: None, time: None, ..record(source, frame, outcome) }
}

#[test]
fn the_file_is_that_of_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    let two = vec![
        detection([12.1, 40.0, 88.5, 210.3], 0.91, 0, "person"),
        detection([1.0, 2.0, 4.0, 6.0], 0.5, 79, "toothbrush"),
    ];
    let last = ok(9, vec![detection([0.0, 0.0, 1.0, 1.0], 0.25, 11, "stop sign")]);
    whole_run(&path, &YOLO_NAMES, [ok(7, two), failed(8, "no memory"), last]);
    assert_eq!(
        text(&path),
        r#"[
{"image_id":7,"category_id":1,"bbox":[12.1,40.0,76.4,170.3],"score":0.91},
{"image_id":7,"category_id":90,"bbox":[1.0,2.0,3.0,4.0],"score":0.5},
{"image_id":9,"category_id":13,"bbox":[0.0,0.0,1.0,1.0],"score":0.25}
]
"#
    );
}

#[test]
fn masks_corners_keypoints_and_tracks_have_their_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    let all = full(detection([1.0, 2.0, 4.0, 6.0], 0.5, 2, "car"));
    let slanted = Detection { mask: None, keypoints: None, track_id: None, ..all.clone() };
    let plain = Some(vec![Keypoint::Plain([1.0, 2.0]), Keypoint::Plain([3.0, 4.5])]);
    let unsure = Detection { mask: None, corners: None, keypoints: plain, track_id: None, ..all.clone() };
    // What stands beside detections is left out.
    let found = Found { detections: Some(vec![all, slanted, unsure]), ..described() };
    whole_run(&path, NO_NAMES, [record("street.mp4", 7, Outcome::Ok(found))]);
    let start = r#"{"image_id":7,"category_id":2,"bbox":[1.0,2.0,3.0,4.0],"score":0.5,"#;
    assert_eq!(
        text(&path),
        format!(
            r#"[
{start}"segmentation":{{"size":[2,3],"counts":"0140"}},"keypoints":[1.5,2.5,0.75,-2.0,3.5,0.0],"track_id":12}},
{start}"segmentation":[[1.0,2.0,3.0,2.5,3.0,4.0,1.0,3.5]]}},
{start}"keypoints":[1.0,2.0,1.0,3.0,4.5,1.0]}}
]
"#
        )
    );
}

#[test]
fn results_without_detections_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = create(&directory.path().join("out.json"), NO_NAMES).unwrap();
    let error = sink.write(&record("a.mp4", 3, Outcome::Ok(described()))).unwrap_err();
    assert!(matches!(error, SinkError::NoPlace { frame: 3, .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains("frame 3 of a.mp4 has classes, masks, text, embedding, outputs instead"),
        "{message}"
    );
    assert!(message.ends_with("write .jsonl, .csv or .parquet"), "{message}");
}

#[test]
fn coco_models_get_coco_ids() {
    let expected: Vec<u64> = (1..=90).filter(|id| !GAPS.contains(id)).collect();
    assert_eq!(category_ids(&YOLO_NAMES, 0..80), expected);
    let mut darknet = YOLO_NAMES;
    for (index, name) in [(3, "motorbike"), (4, "aeroplane"), (57, "sofa"), (58, "pottedplant")] {
        darknet[index] = name;
    }
    (darknet[60], darknet[62]) = ("diningtable", "tvmonitor");
    assert_eq!(category_ids(&darknet, 0..80), expected);
}

#[test]
fn other_models_keep_their_numbers() {
    let mut shuffled = YOLO_NAMES;
    shuffled.swap(10, 20);
    for names in [&["person", "head"][..], &YOLO_NAMES[..79], &shuffled, NO_NAMES] {
        assert_eq!(category_ids(names, [0, 1, 11, 90]), [0, 1, 11, 90]);
    }
}

#[test]
fn a_second_video_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    let mut sink = create(&path, NO_NAMES).unwrap();
    sink.write(&ok(0, vec![])).unwrap();
    for second in [record("yard.mp4", 0, Outcome::Ok(vec![].into())), picture("a/7.jpg", 7)] {
        let error = sink.write(&second).unwrap_err();
        assert!(matches!(error, SinkError::ImageIdTaken { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(&*second.source) && message.contains("street.mp4"), "{message}");
        assert!(message.contains("give a directory as the output"), "{message}");
    }
    sink.finish().unwrap();
    assert_eq!(results(&path), [] as [Value; 0]);
}

#[test]
fn pictures_are_told_by_their_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    let mut sink = create(&path, NO_NAMES).unwrap();
    sink.write(&picture("val/000000000139.jpg", 0)).unwrap();
    sink.write(&picture("val/000000000020.JPG", 1)).unwrap();
    sink.write(&picture("val/cat.png", 2)).unwrap();
    let error = sink.write(&picture("other/139.png", 3)).unwrap_err();
    assert!(matches!(error, SinkError::ImageIdTaken { image_id: 139, .. }), "{error:?}");
    assert!(sink.write(&ok(500, vec![])).is_err(), "a video among pictures");
    sink.finish().unwrap();
    let ids: Vec<_> = results(&path).iter().map(|result| result["image_id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [139, 20, 2]);
}

/// A raw stream has no times either, and its name may be a number.
#[test]
fn a_video_without_times_is_no_picture() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.json");
    whole_run(&path, NO_NAMES, [picture("0001.h264", 0), picture("0001.h264", 1)]);
    let ids: Vec<_> = results(&path).iter().map(|result| result["image_id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [0, 1]);
}

#[test]
fn a_width_beyond_all_numbers_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = create(&directory.path().join("out.json"), NO_NAMES).unwrap();
    let wide = detection([-3e38, 0.0, 3e38, 1.0], 0.5, 0, "person");
    let error = sink.write(&ok(0, vec![wide])).unwrap_err();
    assert!(matches!(error, SinkError::NonFinite { field: "bbox", .. }), "{error:?}");
}
