//! Poses, masks, oriented boxes, classes, vectors: how such models are recognised, what small outputs mean, and what absurd ones do.

mod common;

use std::collections::BTreeMap;

use common::Random;
use vidmill_image::{ChannelOrder, Geometry, Rect, ResizeMode, Size};
use vidmill_infer::{
    Class, DecodeError, Dim, Element, Found, Keypoint, ModelInfo, Outputs, TaskOptions, TaskPlan, TensorInfo,
    TensorView,
};

type Dims<'a> = &'a [u64];

fn typed(name: &str, element: Element, dims: Dims<'_>) -> TensorInfo {
    let dim = |&size: &u64| if size == 0 { Dim::Dynamic("any".into()) } else { Dim::Fixed(size) };
    TensorInfo { name: name.to_owned(), element, shape: dims.iter().map(dim).collect() }
}

fn model(input: Dims<'_>, outputs: &[(&str, Dims<'_>)], metadata: &[(&str, &str)]) -> ModelInfo {
    ModelInfo {
        path: "m.onnx".into(),
        sha256: String::new(),
        producer: String::new(),
        opset: None,
        inputs: vec![typed("images", Element::F32, input)],
        outputs: outputs.iter().map(|(name, dims)| typed(name, Element::F32, dims)).collect(),
        metadata: metadata.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        operators: BTreeMap::new(),
        weights: None,
        data: Vec::new(),
        cards: Default::default(),
    }
}

fn plan(info: &ModelInfo, task: Option<&str>) -> TaskPlan {
    let options = TaskOptions { task: task.map(str::to_owned), ..TaskOptions::default() };
    TaskPlan::recognise(info, &options).unwrap_or_else(|error| panic!("{error}"))
}

fn family(info: &ModelInfo) -> Option<&'static str> {
    TaskPlan::recognise(info, &TaskOptions::default()).ok().map(|plan| plan.family())
}

/// Input and frame of the same 64 x 64 pixels.
const SMALL: Dims<'_> = &[1, 3, 64, 64];

fn decode(plan: &TaskPlan, outputs: &[(&str, &[usize], &[f32])]) -> Result<Found, DecodeError> {
    decode_in(plan, outputs, plan.spec().size)
}

fn decode_in(
    plan: &TaskPlan,
    outputs: &[(&str, &[usize], &[f32])],
    frame: Size,
) -> Result<Found, DecodeError> {
    let views = outputs.iter().map(|&(name, shape, data)| TensorView { name, shape, data }).collect();
    plan.decode(&Outputs::new(1, views), 0, &Geometry::new(frame, plan.spec().size, plan.spec().resize))
}

const VGA: Dims<'_> = &[1, 3, 640, 640];

#[test]
fn each_kind_is_recognised_by_what_is_its_own() {
    let pose = ("task", "pose");
    let shape = ("kpt_shape", "[17, 3]");
    let pair = ("names", "{0: 'a', 1: 'b'}");
    type Told<'a> = (Option<&'a str>, Dims<'a>, &'a [(&'a str, Dims<'a>)], &'a [(&'a str, &'a str)]);
    let cases: &[Told<'_>] = &[
        (Some("yolov8-pose"), VGA, &[("output0", &[1, 56, 8400])], &[pose, shape]),
        (Some("yolov8-pose"), VGA, &[("output0", &[1, 300, 57])], &[pose, shape]),
        (Some("yolov8-pose"), VGA, &[("output0", &[1, 56, 8400])], &[]),
        (Some("yolov8"), VGA, &[("output0", &[1, 56, 8400])], &[("task", "detect")]),
        (Some("yolov8"), VGA, &[("output0", &[1, 55, 8400])], &[]),
        (Some("yolov8-seg"), VGA, &[("output0", &[1, 116, 8400]), ("output1", &[1, 32, 160, 160])], &[]),
        (Some("yolov8-seg"), VGA, &[("output0", &[1, 25200, 117]), ("output1", &[1, 32, 160, 160])], &[]),
        (Some("yolov8-seg"), VGA, &[("output0", &[1, 300, 38]), ("output1", &[1, 32, 160, 160])], &[]),
        (Some("yolov8-obb"), VGA, &[("output0", &[1, 20, 8400])], &[("task", "obb")]),
        (Some("yolov8"), VGA, &[("output0", &[1, 20, 8400])], &[]),
        (Some("classifier"), &[1, 3, 224, 224], &[("logits", &[1, 1000])], &[]),
        (Some("classifier"), &[0, 3, 224, 224], &[("logits", &[0, 1000, 1, 1])], &[]),
        (Some("classifier"), &[0, 3, 224, 224], &[("out", &[0, 2])], &[pair]),
        (Some("classifier"), &[0, 3, 224, 224], &[("out", &[0, 7])], &[("task", "classify")]),
        (None, &[0, 3, 112, 112], &[("out", &[0, 512])], &[]),
        (None, &[0, 3, 224, 224], &[("out", &[0, 7])], &[pair]),
        (Some("class-maps"), &[1, 3, 512, 512], &[("logits", &[1, 150, 128, 128])], &[]),
        (
            Some("class-maps"),
            &[1, 3, 520, 520],
            &[("out", &[1, 21, 520, 520]), ("aux", &[1, 21, 520, 520])],
            &[],
        ),
        (Some("class-maps"), &[1, 3, 256, 256], &[("x", &[1, 2, 256, 256])], &[pair]),
        (Some("classifier"), &[1, 3, 224, 224], &[("x", &[1, 6])], &[("names", "['a','b','c','d','e','f']")]),
        (None, &[1, 3, 256, 192], &[("heatmaps", &[1, 17, 64, 48])], &[]),
        (None, &[1, 3, 256, 256], &[("picture", &[1, 3, 256, 256])], &[]),
        (None, &[1, 3, 256, 256], &[("depth", &[1, 1, 256, 256])], &[]),
        (None, &[1, 3, 256, 256], &[("depth", &[1, 256, 256])], &[]),
    ];
    for (expected, input, outputs, metadata) in cases {
        let info = model(input, outputs, metadata);
        assert_eq!(family(&info), *expected, "{}", info.signature());
    }
}

#[test]
fn whole_numbers_for_each_pixel_are_classes() {
    let mut info = model(SMALL, &[], &[]);
    info.outputs = vec![typed("map", Element::I64, &[1, 64, 64])];
    assert_eq!(family(&info), Some("class-map"));
    info.outputs = vec![typed("map", Element::U8, &[1, 1, 64, 64])];
    assert_eq!(family(&info), Some("class-map"));
}

#[test]
fn what_only_the_user_can_know_is_taken_from_the_task() {
    let one = model(&[1, 3, 256, 256], &[("mask", &[1, 1, 256, 256])], &[]);
    assert_eq!(plan(&one, Some("semantic")).family(), "foreground");
    let many = model(&[1, 3, 256, 256], &[("x", &[1, 5, 256, 256])], &[]);
    assert_eq!(plan(&many, Some("semantic")).family(), "class-maps");
    let vector = model(&[1, 3, 112, 112], &[("hidden", &[1, 49, 768]), ("image_embeds", &[1, 512])], &[]);
    assert_eq!(plan(&vector, Some("embed")).family(), "embedding");
    let seven = model(&[1, 3, 224, 224], &[("x", &[1, 7])], &[]);
    assert_eq!(plan(&seven, Some("classify")).family(), "classifier");
}

#[test]
fn classifiers_are_fed_as_their_authors_feed_them() {
    let imagenet = model(&[1, 3, 224, 224], &[("logits", &[1, 1000])], &[]);
    let plan_of = |metadata: &[(&str, &str)]| {
        let info = ModelInfo { metadata: model(SMALL, &[], metadata).metadata, ..imagenet.clone() };
        plan(&info, None)
    };
    let usual = plan_of(&[]);
    assert_eq!(usual.spec().resize, ResizeMode::CenterCropFrom(Size::new(256, 256)));
    assert_eq!((usual.spec().mean, usual.spec().channels), ([0.485, 0.456, 0.406], ChannelOrder::Rgb));
    assert_eq!(usual.labels().name(0), "tench");
    assert_eq!(usual.labels().name(999), "toilet tissue");
    let ultralytics = plan_of(&[("task", "classify")]);
    assert_eq!((ultralytics.spec().resize, ultralytics.spec().mean), (ResizeMode::CenterCrop, [0.0; 3]));
    let whole = plan_of(&[("vidmill.crop", "1")]);
    assert_eq!(whole.spec().resize, ResizeMode::CenterCropFrom(Size::new(224, 224)));
    let info = ModelInfo {
        metadata: model(SMALL, &[], &[("vidmill.crop", "0.9"), ("vidmill.resize", "stretch")]).metadata,
        ..imagenet.clone()
    };
    let error = TaskPlan::recognise(&info, &TaskOptions::default()).unwrap_err().to_string();
    assert!(error.contains("vidmill.crop") && error.contains("center-crop"), "{error}");
    // Of any size, and of TensorFlow with its background.
    let any = model(&[0, 3, 0, 0], &[("logits", &[0, 1001])], &[]);
    assert_eq!(plan(&any, None).spec().size, Size::new(224, 224));
    assert_eq!(
        (plan(&any, None).labels().name(0), plan(&any, None).labels().name(1)),
        ("background".into(), "tench".into())
    );
}

#[test]
fn keypoints_are_named_and_joined() {
    let info = model(VGA, &[("output0", &[1, 56, 8400])], &[("task", "pose"), ("kpt_shape", "[17, 3]")]);
    let coco = plan(&info, None);
    assert_eq!((coco.keypoint_names()[0].as_str(), coco.keypoint_names().len()), ("nose", 17));
    assert_eq!(coco.skeleton().len(), 19);
    let info = model(
        VGA,
        &[("output0", &[1, 9, 8400])],
        &[
            ("task", "pose"),
            ("kpt_shape", "[2, 2]"),
            ("kpt_names", "{0: ['head', 'tail']}"),
            ("vidmill.skeleton", "[[0, 1]]"),
        ],
    );
    let own = plan(&info, None);
    assert_eq!(own.keypoint_names(), ["head", "tail"]);
    assert_eq!(own.skeleton(), [[0, 1]]);
    let none = plan(&model(VGA, &[("output0", &[1, 84, 8400])], &[]), None);
    assert!(none.keypoint_names().is_empty() && none.skeleton().is_empty());
}

#[test]
fn a_pose_is_read_number_by_number() {
    let metadata = [("task", "pose"), ("kpt_shape", "[2, 3]"), ("end2end", "True")];
    let plan = plan(&model(SMALL, &[("o", &[1, 2, 12])], &metadata), None);
    #[rustfmt::skip]
    let rows = [
        10.0, 10.0, 30.0, 50.0, 0.9, 0.0,  12.0, 14.0, 0.75,  -8.0, 70.0, 0.25,
        1.0, 1.0, 5.0, 5.0, 0.2, 0.0,  0.0, 0.0, 0.0,  0.0, 0.0, 0.0,
    ];
    let found = decode_in(&plan, &[("o", &[1, 2, 12], &rows)], Size::new(128, 128)).unwrap();
    let [person] = found.detections.as_deref().unwrap() else { panic!("{found:?}") };
    assert_eq!(person.rect, Rect::new(20.0, 20.0, 60.0, 100.0));
    let point = |x, y, confidence| Keypoint { x, y, confidence: Some(confidence) };
    // One lies outside of the frame, and stays there.
    assert_eq!(person.keypoints, [point(24.0, 28.0, 0.75), point(-16.0, 140.0, 0.25)]);
}

#[test]
fn a_mask_is_cut_out_of_its_box() {
    let metadata = [("task", "segment"), ("end2end", "True")];
    let outputs: [(&str, Dims<'_>); 2] = [("o", &[1, 2, 7]), ("p", &[1, 1, 16, 16])];
    let plan = plan(&model(SMALL, &outputs, &metadata), None);
    // The left half of the only prototype is over 0; its edge is half way between columns 7 and 8, at pixel 32.
    let prototype: Vec<f32> = (0..256).map(|n| if n % 16 < 8 { 1.0 } else { -1.0 }).collect();
    #[rustfmt::skip]
    let rows = [
        20.0, 10.0, 50.0, 13.0, 0.9, 0.0, 1.0,
        // Where nothing of the mask is left, there is no object.
        0.0, 0.0, 20.0, 20.0, 0.8, 0.0, -1.0,
    ];
    let found = decode(&plan, &[("o", &[1, 2, 7], &rows), ("p", &[1, 1, 16, 16], &prototype)]).unwrap();
    let [object] = found.detections.as_deref().unwrap() else { panic!("{found:?}") };
    let mask = object.mask.as_ref().unwrap();
    assert_eq!(mask.size(), Size::new(64, 64));
    assert_eq!(mask.bounds(), Some(Rect::new(20.0, 10.0, 32.0, 13.0)));
    assert_eq!(mask.area(), 12 * 3);
}

#[test]
fn corners_go_round_clockwise_from_the_upper_left() {
    let plan = plan(&model(SMALL, &[("o", &[1, 2, 7])], &[("task", "obb"), ("end2end", "True")]), None);
    let turned = std::f32::consts::FRAC_PI_2;
    let rows = [20.0, 30.0, 10.0, 4.0, 0.9, 1.0, 0.0, 40.0, 30.0, 10.0, 4.0, 0.8, 0.0, turned];
    let found = decode(&plan, &[("o", &[1, 2, 7], &rows)]).unwrap();
    let [flat, upright] = found.detections.as_deref().unwrap() else { panic!("{found:?}") };
    assert_eq!(flat.corners.unwrap(), [[15.0, 28.0], [25.0, 28.0], [25.0, 32.0], [15.0, 32.0]]);
    assert_eq!((flat.rect, flat.class_id), (Rect::new(15.0, 28.0, 25.0, 32.0), 1));
    let near = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).abs() < 1e-4 && (a[1] - b[1]).abs() < 1e-4;
    let expected = [[42.0, 25.0], [42.0, 35.0], [38.0, 35.0], [38.0, 25.0]];
    assert!(upright.corners.unwrap().into_iter().zip(expected).all(|(a, b)| near(a, b)), "{upright:?}");
}

#[test]
fn the_surest_classes_come_first_whatever_their_confidence() {
    let names = ("names", "{0: 'a', 1: 'b', 2: 'c'}");
    let info = model(SMALL, &[("o", &[1, 3])], &[names]);
    let options = |top_k, classes: &[&str]| TaskOptions {
        top_k: Some(top_k),
        classes: classes.iter().map(|&name| name.to_owned()).collect(),
        conf: Some(0.9),
        ..TaskOptions::default()
    };
    let classes = |options: &TaskOptions, info: &ModelInfo, scores: &[f32]| {
        let plan = TaskPlan::recognise(info, options).unwrap();
        decode(&plan, &[("o", &[1, 3], scores)]).map(|found| found.classes.unwrap())
    };
    let class = |class_id, confidence| Class { class_id, confidence };
    // Probabilities are told by their sum.
    let found = classes(&options(2, &[]), &info, &[0.25, 0.25, 0.5]).unwrap();
    assert_eq!(found, [class(2, 0.5), class(0, 0.25)]);
    assert_eq!(classes(&options(5, &["b"]), &info, &[0.25, 0.25, 0.5]).unwrap(), [class(1, 0.25)]);
    // Logits are not, and a graph without softmax gives no others.
    let found = classes(&options(3, &[]), &info, &[0.0, 0.0, f32::ln(2.0)]).unwrap();
    assert!((found[0].confidence - 0.5).abs() < 1e-6, "{found:?}");
    let mut bare = info.clone();
    bare.operators.insert("Conv".to_owned(), 1);
    let found = classes(&options(3, &[]), &bare, &[0.25, 0.25, 0.5]).unwrap();
    assert!(found[0].confidence < 0.4, "{found:?}");
    // Whoever calls logits probabilities is told.
    let said = model(SMALL, &[("o", &[1, 3])], &[names, ("vidmill.scores", "probabilities")]);
    let error = classes(&options(3, &[]), &said, &[3.0, 0.0, -1.0]).unwrap_err();
    assert!(matches!(error, DecodeError::Confidence { .. }), "{error}");
    let zero = TaskPlan::recognise(&info, &options(0, &[])).unwrap_err().to_string();
    assert!(zero.contains("--top-k 0"), "{zero}");
}

#[test]
fn vectors_come_out_as_they_are_or_of_length_one() {
    let info = model(SMALL, &[("o", &[1, 2])], &[]);
    let embedding = |normalize| {
        let options = TaskOptions { normalize, task: Some("embed".to_owned()), ..TaskOptions::default() };
        let plan = TaskPlan::recognise(&info, &options).unwrap();
        decode(&plan, &[("o", &[1, 2], &[3.0, -4.0])]).unwrap().embedding.unwrap()
    };
    assert_eq!(embedding(false), [3.0, -4.0]);
    assert_eq!(embedding(true), [0.6, -0.8]);
}

#[test]
fn regions_have_the_size_of_the_frame_and_share_it_out() {
    let info = model(
        SMALL,
        &[("o", &[1, 3, 8, 8])],
        &[("names", "{0: 'a', 1: 'b', 2: 'c'}"), ("vidmill.resize", "letterbox")],
    );
    let plan = plan(&info, None);
    let mut random = Random(4);
    let maps: Vec<f32> = (0..3 * 64).map(|_| random.below(9) as f32).collect();
    // Letterboxed, stood on its side, smaller and larger than the map.
    for frame in [Size::new(640, 480), Size::new(30, 100), Size::new(5, 3), Size::new(1, 1)] {
        let regions = decode_in(&plan, &[("o", &[1, 3, 8, 8], &maps)], frame).unwrap().regions.unwrap();
        let area: u32 = regions.iter().map(|region| region.mask.area()).sum();
        assert_eq!(area, frame.width * frame.height, "every pixel has just one class");
        assert!(regions.iter().all(|region| region.mask.size() == frame));
    }
}

#[test]
fn what_a_crop_cuts_off_is_in_no_region() {
    let metadata = [("names", "{0: 'a', 1: 'b'}"), ("vidmill.resize", "center-crop")];
    let plan = plan(&model(SMALL, &[("o", &[1, 2, 64, 64])], &metadata), None);
    let maps = [vec![1.0; 4096], vec![0.0; 4096]].concat();
    let found = decode_in(&plan, &[("o", &[1, 2, 64, 64], &maps)], Size::new(192, 64)).unwrap();
    let [region] = found.regions.as_deref().unwrap() else { panic!("{found:?}") };
    assert_eq!(region.mask.bounds(), Some(Rect::new(64.0, 0.0, 128.0, 64.0)));
}

#[test]
fn numbers_that_are_no_classes_fail_the_frame() {
    let mut info = model(SMALL, &[], &[]);
    info.outputs = vec![typed("o", Element::I64, &[1, 2, 2])];
    let plan = plan(&info, None);
    let of = |last: f32| decode(&plan, &[("o", &[1, 2, 2], &[0.0, 1.0, 2.0, last])]);
    assert_eq!(of(2.0).unwrap().regions.unwrap().len(), 3);
    for bad in [-1.0, 0.5, 1e9] {
        let error = of(bad).unwrap_err();
        assert_eq!(error, DecodeError::Class { output: "o".into(), index: 3, value: bad });
    }
}

/// Every kind over absurd numbers, in odd frames: an error or a sane result, never a crash.
#[test]
fn absurd_numbers_are_errors_or_harmless() {
    let plans = [
        (
            plan(&model(SMALL, &[("o", &[1, 56, 84])], &[("task", "pose"), ("kpt_shape", "[17, 3]")]), None),
            vec![vec![1, 56, 84]],
        ),
        (plan(&model(SMALL, &[("o", &[1, 20, 84])], &[("task", "obb")]), None), vec![vec![1, 20, 84]]),
        (
            plan(&model(SMALL, &[("o", &[1, 40, 84]), ("p", &[1, 32, 16, 16])], &[]), None),
            vec![vec![1, 40, 84], vec![1, 32, 16, 16]],
        ),
        (plan(&model(SMALL, &[("o", &[1, 7])], &[]), Some("classify")), vec![vec![1, 7]]),
        (plan(&model(SMALL, &[("o", &[1, 5, 16, 16])], &[]), Some("semantic")), vec![vec![1, 5, 16, 16]]),
        (plan(&model(SMALL, &[("o", &[1, 1, 16, 16])], &[]), Some("semantic")), vec![vec![1, 1, 16, 16]]),
        (plan(&model(SMALL, &[("o", &[1, 9])], &[]), Some("embed")), vec![vec![1, 9]]),
    ];
    const ABSURD: [f32; 10] =
        [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, 1e30, -1e30, f32::MIN_POSITIVE, 0.0, -0.0, 0.99];
    let mut random = Random(77);
    let (mut fine, mut failed) = (0, 0);
    for round in 0..120 {
        for (plan, shapes) in &plans {
            // Some rounds without NaN and infinities, and one in five with probable numbers only.
            let lowest = if round % 3 == 0 { 0 } else { 2 };
            let data: Vec<Vec<f32>> = shapes
                .iter()
                .map(|shape| {
                    let number = |n: usize| match round % 5 {
                        0 => (n % 101) as f32 / 101.0,
                        _ => ABSURD[lowest + random.below(ABSURD.len() - lowest)],
                    };
                    (0..shape.iter().product()).map(number).collect()
                })
                .collect();
            let names = ["o", "p"];
            let views = names.iter().zip(shapes.iter().zip(&data));
            let views: Vec<_> = views.map(|(name, (shape, data))| (*name, &shape[..], &data[..])).collect();
            for frame in [Size::new(64, 64), Size::new(1, 1), Size::new(3, 700), Size::new(1920, 2)] {
                match decode_in(plan, &views, frame) {
                    Ok(found) => {
                        fine += 1;
                        for detection in found.detections.iter().flatten() {
                            assert!(detection.rect.is_finite());
                            let corners = detection.corners.iter().flatten().flatten();
                            assert!(corners.into_iter().all(|number| number.is_finite()));
                            assert!(detection.keypoints.iter().all(|p| p.x.is_finite() && p.y.is_finite()));
                        }
                        assert!(found.embedding.iter().flatten().all(|number| number.is_finite()));
                    }
                    Err(error) => {
                        failed += 1;
                        assert!(!error.to_string().is_empty());
                    }
                }
            }
        }
    }
    assert!(fine > 200 && failed > 200, "{fine} fine, {failed} failed");
}

/// Prototypes of noise are the most that masks can be: their time and memory are bounded by the box, and 300 of them are done at once.
#[test]
fn masks_of_noise_are_masks() {
    let metadata = [("task", "segment"), ("end2end", "True")];
    let outputs: [(&str, Dims<'_>); 2] = [("o", &[1, 4, 38]), ("p", &[1, 32, 16, 16])];
    let plan = plan(&model(SMALL, &outputs, &metadata), None);
    let mut random = Random(9);
    let mut noise =
        |count: usize| -> Vec<f32> { (0..count).map(|_| random.below(201) as f32 / 100.0 - 1.0).collect() };
    let (mut rows, prototypes) = (noise(4 * 38), noise(32 * 256));
    for row in rows.chunks_exact_mut(38) {
        row[..6].copy_from_slice(&[3.0, 3.0, 61.0, 61.0, 0.9, 0.0]);
    }
    let views: [(&str, &[usize], &[f32]); 2] =
        [("o", &[1, 4, 38], &rows), ("p", &[1, 32, 16, 16], &prototypes)];
    let found = decode_in(&plan, &views, Size::new(640, 640)).unwrap();
    for detection in found.detections.unwrap() {
        let inside = detection.mask.unwrap().bounds().unwrap();
        assert!(inside.x1 >= 30.0 && inside.y1 >= 30.0 && inside.x2 <= 610.0 && inside.y2 <= 610.0);
    }
}
