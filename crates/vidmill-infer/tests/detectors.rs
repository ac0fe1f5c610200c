//! Detectors beyond YOLO's usual heads: which is taken for which, and what their numbers become. tests/torch/parity compares them with
//! their authors' code on many more.

mod common;

use std::collections::BTreeMap;

use common::Random;
use vidmill_image::{ChannelOrder, Geometry, ResizeMode, Size};
use vidmill_infer::{
    DecodeError, Detection, Dim, Element, ModelInfo, Outputs, Task, TaskOptions, TaskPlan, TensorInfo,
    TensorView,
};

type Shapes<'a> = &'a [(&'a str, &'a [u64])];

/// A tensor of a model; 0 stands for any number. Labels and counts are whole numbers.
fn tensor(name: &str, dims: &[u64]) -> TensorInfo {
    let dim = |&size: &u64| if size == 0 { Dim::Dynamic("any".into()) } else { Dim::Fixed(size) };
    let is_whole = ["labels", "tmp_2", "2001"].iter().any(|part| name.ends_with(part)) && dims.len() < 3;
    let element = if is_whole { Element::I64 } else { Element::F32 };
    TensorInfo { name: name.to_owned(), element, shape: dims.iter().map(dim).collect() }
}

fn model(input: &[u64], outputs: Shapes<'_>, metadata: &[(&str, &str)], operators: &[&str]) -> ModelInfo {
    ModelInfo {
        path: "m.onnx".into(),
        sha256: String::new(),
        producer: String::new(),
        opset: None,
        inputs: vec![tensor("images", input)],
        outputs: outputs.iter().map(|(name, dims)| tensor(name, dims)).collect(),
        metadata: metadata.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        operators: operators.iter().map(|&name| (name.to_owned(), 1)).collect::<BTreeMap<_, _>>(),
        weights: None,
        data: Vec::new(),
        cards: Default::default(),
    }
}

fn plan(info: &ModelInfo) -> TaskPlan {
    TaskPlan::recognise(info, &TaskOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn named(info: &ModelInfo, task: &str) -> TaskPlan {
    let options = TaskOptions { task: Some(task.to_owned()), ..TaskOptions::default() };
    TaskPlan::recognise(info, &options).unwrap_or_else(|error| panic!("{error}"))
}

const VGA: &[u64] = &[1, 3, 640, 640];
const YUNET: Shapes<'static> = &[
    ("cls_8", &[1, 1600, 1]),
    ("cls_16", &[1, 400, 1]),
    ("cls_32", &[1, 100, 1]),
    ("obj_8", &[1, 1600, 1]),
    ("obj_16", &[1, 400, 1]),
    ("obj_32", &[1, 100, 1]),
    ("bbox_8", &[1, 1600, 4]),
    ("bbox_16", &[1, 400, 4]),
    ("bbox_32", &[1, 100, 4]),
    ("kps_8", &[1, 1600, 10]),
    ("kps_16", &[1, 400, 10]),
    ("kps_32", &[1, 100, 10]),
];
const SCRFD: Shapes<'static> = &[
    ("448", &[12800, 1]),
    ("471", &[3200, 1]),
    ("494", &[800, 1]),
    ("451", &[12800, 4]),
    ("474", &[3200, 4]),
    ("497", &[800, 4]),
    ("454", &[12800, 10]),
    ("477", &[3200, 10]),
    ("500", &[800, 10]),
];
const CENTERFACE: Shapes<'static> = &[
    ("537", &[1, 1, 160, 160]),
    ("538", &[1, 2, 160, 160]),
    ("539", &[1, 2, 160, 160]),
    ("540", &[1, 10, 160, 160]),
];
const NANODET: Shapes<'static> = &[
    ("cls_pred_stride_8", &[1, 1600, 80]),
    ("cls_pred_stride_16", &[1, 400, 80]),
    ("cls_pred_stride_32", &[1, 100, 80]),
    ("dis_pred_stride_8", &[1, 1600, 32]),
    ("dis_pred_stride_16", &[1, 400, 32]),
    ("dis_pred_stride_32", &[1, 100, 32]),
];
const PICODET: Shapes<'static> = &[
    ("transpose_0.tmp_0", &[1, 1600, 80]),
    ("transpose_2.tmp_0", &[1, 400, 80]),
    ("transpose_4.tmp_0", &[1, 100, 80]),
    ("transpose_6.tmp_0", &[1, 25, 80]),
    ("transpose_1.tmp_0", &[1, 1600, 32]),
    ("transpose_3.tmp_0", &[1, 400, 32]),
    ("transpose_5.tmp_0", &[1, 100, 32]),
    ("transpose_7.tmp_0", &[1, 25, 32]),
];
const PADDLE: Shapes<'static> = &[("multiclass_nms3_0.tmp_0", &[0, 6]), ("multiclass_nms3_0.tmp_2", &[0])];
const BATCH: Shapes<'static> = &[
    ("graph2_num_predictions", &[1, 1]),
    ("graph2_pred_boxes", &[1, 300, 4]),
    ("graph2_pred_scores", &[1, 300]),
    ("graph2_pred_classes", &[1, 300]),
];

/// What each usual export is taken for: family, input, outputs, metadata, operators.
type Export = (
    &'static str,
    &'static [u64],
    Shapes<'static>,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const EXPORTS: &[Export] = &[
    ("rt-detr", VGA, &[("output0", &[1, 300, 6])], &[("head", "RTDETRDecoder")], &[]),
    ("rt-detr", VGA, &[("output0", &[1, 300, 84])], &[("description", "Ultralytics rtdetr-l model")], &[]),
    ("rt-detr", VGA, &[("output0", &[0, 0, 6])], &[], &["GridSample", "TopK"]),
    ("end-to-end", VGA, &[("output0", &[0, 300, 6])], &[], &["TopK"]),
    (
        "rt-detr",
        VGA,
        &[("logits", &[0, 300, 80]), ("pred_boxes", &[0, 300, 4])],
        &[],
        &["GridSample", "TopK"],
    ),
    ("rt-detr", VGA, &[("logits", &[0, 300, 80]), ("pred_boxes", &[0, 300, 4])], &[], &[]),
    ("detr", VGA, &[("logits", &[0, 100, 92]), ("pred_boxes", &[0, 100, 4])], &[], &["Softmax"]),
    ("detr", VGA, &[("logits", &[0, 125, 3]), ("pred_boxes", &[0, 125, 4])], &[], &["Softmax"]),
    (
        "detr",
        VGA,
        &[("pred_logits", &[0, 300, 3]), ("pred_boxes", &[0, 300, 4])],
        &[("names", "['a', 'b']")],
        &[],
    ),
    (
        "deformable-detr",
        VGA,
        &[("logits", &[0, 300, 91]), ("pred_boxes", &[0, 300, 4])],
        &[],
        &["GridSample"],
    ),
    ("rf-detr", &[1, 3, 560, 560], &[("dets", &[1, 300, 4]), ("labels", &[1, 300, 91])], &[], &[]),
    ("yolo-nas", VGA, &[("904", &[1, 8400, 4]), ("913", &[1, 8400, 80])], &[], &[]),
    ("yolo-nas", VGA, &[("graph2_flat_predictions", &[0, 7])], &[], &[]),
    ("yolo-nas", VGA, BATCH, &[], &[]),
    ("yolov7-end-to-end", VGA, &[("output", &[0, 7])], &[], &[]),
    ("damo-yolo", VGA, &[("output", &[1, 8400, 80]), ("1234", &[1, 8400, 4])], &[], &[]),
    ("pp-yoloe", VGA, &[("tmp_17", &[1, 8400, 4]), ("concat_14.tmp_0", &[1, 80, 8400])], &[], &[]),
    ("pp-yoloe", VGA, PADDLE, &[], &["Sigmoid"]),
    ("picodet", &[1, 3, 320, 320], PADDLE, &[], &["HardSwish"]),
    ("picodet", &[1, 3, 320, 320], PICODET, &[], &[]),
    ("nanodet", &[1, 3, 320, 320], NANODET, &[], &[]),
    ("nanodet", &[1, 3, 320, 320], &[("output", &[1, 2125, 112])], &[], &[]),
    ("nanodet", &[1, 3, 416, 416], &[("output", &[1, 3598, 112])], &[], &[]),
    ("nanodet", &[1, 3, 320, 320], &[("output", &[1, 2100, 112])], &[], &[]),
    ("nanodet", &[1, 3, 320, 320], &[("output", &[1, 2100, 34])], &[("names", "['a', 'b']")], &[]),
    ("yolox", &[1, 3, 320, 320], &[("output", &[1, 2100, 85])], &[], &[]),
    ("yolox", &[1, 3, 320, 320], &[("output", &[1, 2100, 34])], &[], &[]),
    ("fastestdet", &[1, 3, 352, 352], &[("758", &[1, 7, 22, 22])], &[("names", "['a', 'b']")], &[]),
    ("fastestdet", &[1, 3, 352, 352], &[("758", &[1, 85, 22, 22])], &[], &[]),
    ("yunet", &[1, 3, 320, 320], YUNET, &[], &[]),
    ("scrfd", VGA, SCRFD, &[], &[]),
    ("centerface", VGA, CENTERFACE, &[], &[]),
    ("ssd", &[1, 3, 240, 320], &[("scores", &[1, 4420, 2]), ("boxes", &[1, 4420, 4])], &[], &[]),
    ("ssd", VGA, &[("2000", &[0, 4]), ("2001", &[0]), ("2002", &[0])], &[], &[]),
    ("ssd", VGA, &[("2000", &[0, 4]), ("2002", &[0]), ("2001", &[0])], &[], &[]),
];

#[test]
fn usual_exports_are_told_apart() {
    for &(family, input, outputs, metadata, operators) in EXPORTS {
        let info = model(input, outputs, metadata, operators);
        assert_eq!(plan(&info).family(), family, "{}", info.signature());
        assert_eq!(plan(&info).task(), Task::Detect);
    }
}

#[test]
fn a_map_of_classes_is_no_fastestdet() {
    let info = model(&[1, 3, 352, 352], &[("758", &[1, 21, 22, 22])], &[], &["Resize"]);
    assert_eq!(plan(&info).family(), "class-maps");
}

#[test]
fn an_official_rt_detr_is_told_the_size_of_the_frame() {
    let outputs: Shapes<'_> = &[("labels", &[0, 300]), ("boxes", &[0, 300, 4]), ("scores", &[0, 300])];
    let info = model(&[0, 3, 640, 640], outputs, &[], &[]);
    assert_eq!(named(&info, "d-fine").family(), "rt-detr");
    // Without an input for the size, boxes of three dimensions are taken for TensorFlow's, in 0..1.
    assert_eq!(plan(&info).family(), "ssd");
}

#[test]
fn inputs_are_made_as_the_authors_make_them() {
    let spec = |at: &str, task: Option<&str>| {
        let &(_, input, outputs, metadata, operators) =
            EXPORTS.iter().find(|export| export.0 == at).expect("it is in the list");
        let info = model(input, outputs, metadata, operators);
        task.map_or_else(|| plan(&info), |task| named(&info, task)).spec().clone()
    };
    let imagenet = [0.485, 0.456, 0.406];
    for (family, channels, resize, white, mean) in [
        ("rt-detr", ChannelOrder::Rgb, ResizeMode::Stretch, 1.0, [0.0; 3]),
        ("detr", ChannelOrder::Rgb, ResizeMode::Stretch, 1.0, imagenet),
        ("rf-detr", ChannelOrder::Rgb, ResizeMode::Stretch, 1.0, imagenet),
        ("yolo-nas", ChannelOrder::Rgb, ResizeMode::Letterbox, 1.0, [0.0; 3]),
        ("damo-yolo", ChannelOrder::Rgb, ResizeMode::LetterboxTopLeft, 255.0, [0.0; 3]),
        ("pp-yoloe", ChannelOrder::Rgb, ResizeMode::Stretch, 1.0, [0.0; 3]),
        ("picodet", ChannelOrder::Rgb, ResizeMode::Stretch, 1.0, imagenet),
        ("nanodet", ChannelOrder::Bgr, ResizeMode::Letterbox, 255.0, [103.53, 116.28, 123.675]),
        ("fastestdet", ChannelOrder::Bgr, ResizeMode::Stretch, 1.0, [0.0; 3]),
        ("yunet", ChannelOrder::Bgr, ResizeMode::LetterboxTopLeft, 255.0, [0.0; 3]),
        ("scrfd", ChannelOrder::Rgb, ResizeMode::LetterboxTopLeft, 255.0, [127.5; 3]),
        ("centerface", ChannelOrder::Rgb, ResizeMode::Stretch, 255.0, [0.0; 3]),
    ] {
        let spec = spec(family, None);
        assert_eq!((spec.channels, spec.resize, spec.mean), (channels, resize, mean), "{family}");
        assert_eq!((spec.scale * 255.0).round(), white, "{family}");
    }
}

#[test]
fn classes_and_points_have_their_names() {
    let info = model(&[1, 3, 560, 560], &[("dets", &[1, 300, 4]), ("labels", &[1, 300, 91])], &[], &[]);
    let labels = plan(&info).labels().clone();
    assert_eq!((labels.name(1).as_ref(), labels.name(90).as_ref()), ("person", "toothbrush"));
    let info = model(&[1, 3, 320, 320], YUNET, &[], &[]);
    let plan = plan(&info);
    assert_eq!(plan.labels().name(0), "face");
    assert_eq!(plan.keypoint_names(), ["right_eye", "left_eye", "nose", "right_mouth", "left_mouth"]);
}

/// A frame as large as the input, so that boxes come out as the model gave them.
fn decode(
    plan: &TaskPlan,
    batch: usize,
    item: usize,
    tensors: &[(&str, &[usize], &[f32])],
) -> Result<Vec<Detection>, DecodeError> {
    let geometry = Geometry::new(plan.spec().size, plan.spec().size, ResizeMode::Stretch);
    let views = tensors.iter().map(|&(name, shape, data)| TensorView { name, shape, data }).collect();
    plan.decode(&Outputs::new(batch, views), item, &geometry)
        .map(|found| found.detections.unwrap_or_default())
}

fn shown(found: &[Detection]) -> Vec<([f32; 4], f32, u32)> {
    found.iter().map(|d| ([d.rect.x1, d.rect.y1, d.rect.x2, d.rect.y2], d.confidence, d.class_id)).collect()
}

#[test]
fn a_query_may_be_of_several_classes_unless_scores_are_a_softmax() {
    let boxes = [0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5, 1.0];
    let rects = [[8.0, 12.0, 24.0, 20.0], [0.0, 0.0, 16.0, 32.0]];
    let outputs: Shapes<'_> = &[("logits", &[1, 2, 3]), ("pred_boxes", &[1, 2, 4])];
    let info = model(&[1, 3, 32, 32], outputs, &[], &[]);
    let both = |logits: &[f32], task: &str| {
        let tensors: [(&str, &[usize], &[f32]); 2] =
            [("logits", &[1, 2, 3], logits), ("pred_boxes", &[1, 2, 4], &boxes)];
        let found = decode(&named(&info, task), 1, 0, &tensors).unwrap();
        let rounded = |(rect, score, class): ([f32; 4], f32, u32)| (rect, (score * 1e4).round() / 1e4, class);
        shown(&found).into_iter().map(rounded).collect::<Vec<_>>()
    };
    let third = 3.0f32.ln();
    let found = both(&[third, 0.0, -9.0, -9.0, -9.0, -9.0], "rt-detr");
    assert_eq!(found, [(rects[0], 0.75, 0), (rects[0], 0.5, 1)]);
    // Of three pairs that pass, as many count as there are queries.
    let found = both(&[third, 0.0, -9.0, -9.0, -9.0, 0.1], "rt-detr");
    assert_eq!(
        found.iter().map(|(rect, _, class)| (*rect, *class)).collect::<Vec<_>>(),
        [(rects[0], 0), (rects[1], 2)]
    );
    // The last score is of no object.
    let found = both(&[0.0, 0.0, -90.0, 0.0, 90.0, 0.0], "detr");
    assert_eq!(found, [(rects[1], 1.0, 1), (rects[0], 0.5, 0)]);
    assert!(both(&[0.0, 0.0, 9.0, 0.0, 0.0, 9.0], "detr").is_empty());
}

#[test]
fn rows_of_a_whole_batch_are_given_to_their_frames() {
    let info = model(&[2, 3, 32, 32], PADDLE, &[], &[]);
    let plan = plan(&info);
    let rows =
        [[3.0, 0.9, 1.0, 2.0, 3.0, 4.0], [-1.0, 0.9, 1.0, 2.0, 3.0, 4.0], [5.0, 0.8, 5.0, 6.0, 7.0, 8.0]]
            .concat();
    let counted = |counts: &[f32], item| {
        let tensors: [(&str, &[usize], &[f32]); 2] =
            [(PADDLE[0].0, &[3, 6], &rows), (PADDLE[1].0, &[counts.len()], counts)];
        decode(&plan, 2, item, &tensors)
    };
    assert_eq!(shown(&counted(&[2.0, 1.0], 0).unwrap()), [([1.0, 2.0, 3.0, 4.0], 0.9, 3)]);
    assert_eq!(shown(&counted(&[2.0, 1.0], 1).unwrap()), [([5.0, 6.0, 7.0, 8.0], 0.8, 5)]);
    assert!(counted(&[0.0, 3.0], 0).unwrap().is_empty());
    for counts in [&[2.0, 2.0][..], &[f32::MAX, f32::MAX], &[3.0], &[f32::NAN, 1.0]] {
        let error = counted(counts, 1).unwrap_err();
        assert!(matches!(error, DecodeError::Shape { .. } | DecodeError::NonFinite { .. }), "{error}");
    }
    assert!(matches!(counted(&[2.0, 1.0], 2), Err(DecodeError::Item { item: 2, batch: 2 })));

    let flat = model(&[2, 3, 32, 32], &[("flat_predictions", &[0, 7])], &[], &[]);
    let rows = [[0.0, 1.0, 2.0, 3.0, 4.0, 0.9, 7.0], [1.0, 5.0, 6.0, 7.0, 8.0, 0.6, 2.0]].concat();
    for (item, wanted) in [(0, ([1.0, 2.0, 3.0, 4.0], 0.9, 7)), (1, ([5.0, 6.0, 7.0, 8.0], 0.6, 2))] {
        let found =
            decode(&named(&flat, "yolo-nas"), 2, item, &[("flat_predictions", &[2, 7], &rows)]).unwrap();
        assert_eq!(shown(&found), [wanted]);
    }
}

#[test]
fn a_distance_is_the_mean_of_its_distribution() {
    // 32 x 32 pixels: 16 + 4 + 1 + 1 cells; 2 classes and 8 bins a side.
    let info = model(&[1, 3, 32, 32], &[("output", &[1, 22, 34])], &[("names", "['a', 'b']")], &[]);
    let mut data = vec![0.0f32; 22 * 34];
    // Cell 5 of the first grid is (1, 1) of stride 8; NanoDet-Plus counts from its corner.
    let row = &mut data[5 * 34..6 * 34];
    row[1] = 0.75;
    for (side, bin) in [0usize, 1, 2, 0].into_iter().enumerate() {
        row[2 + side * 8 + bin] = 200.0;
    }
    let found = decode(&plan(&info), 1, 0, &[("output", &[1, 22, 34], &data)]).unwrap();
    assert_eq!(shown(&found), [([8.0, 0.0, 24.0, 8.0], 0.75, 1)]);
}

#[test]
fn faces_have_their_points_in_the_frame() {
    let shapes: Vec<(&str, Vec<u64>)> = YUNET
        .iter()
        .map(|(name, dims)| {
            let rows = match name.rsplit('_').next() {
                Some("8") => 16,
                Some("16") => 4,
                _ => 1,
            };
            (*name, vec![1, rows, dims[2]])
        })
        .collect();
    let outputs: Vec<(&str, &[u64])> = shapes.iter().map(|(name, dims)| (*name, dims.as_slice())).collect();
    let plan = plan(&model(&[1, 3, 32, 32], &outputs, &[], &[]));
    let mut data: Vec<Vec<f32>> =
        shapes.iter().map(|(_, dims)| vec![0.0; dims.iter().product::<u64>() as usize]).collect();
    // Cell (1, 1) of stride 16: centre (24, 20), 16 x 8 pixels.
    (data[1][3], data[4][3]) = (0.81, 1.5);
    data[7][12..16].copy_from_slice(&[0.5, 0.25, 0.0, 0.5f32.ln()]);
    data[10][30..40].copy_from_slice(&[0.0, 0.0, 0.5, 0.0, 0.25, 0.25, 0.0, 0.5, 0.5, 0.5]);
    let sizes: Vec<Vec<usize>> =
        shapes.iter().map(|(_, dims)| dims.iter().map(|&dim| dim as usize).collect()).collect();
    let views = shapes.iter().zip(&sizes).zip(&data);
    let views = views.map(|(((name, _), shape), data)| TensorView { name, shape, data }).collect();
    let geometry = Geometry::new(Size::new(64, 64), plan.spec().size, plan.spec().resize);
    let found = plan.decode(&Outputs::new(1, views), 0, &geometry).unwrap().detections.unwrap();
    assert_eq!(shown(&found), [([32.0, 32.0, 64.0, 48.0], 0.81f32.sqrt(), 0)]);
    let points: Vec<[f32; 2]> = found[0].keypoints.iter().map(|point| [point.x, point.y]).collect();
    assert_eq!(points, [[32.0, 32.0], [48.0, 32.0], [40.0, 40.0], [32.0, 48.0], [48.0, 48.0]]);
}

/// Numbers that break arithmetic.
const NASTY: [f32; 12] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e30,
    -1e30,
    4.3e9,
    -1.0,
    300.0,
    0.0,
];

#[test]
fn no_number_breaks_a_decoder() {
    let mut random = Random(77);
    let mut outcomes = [0, 0];
    for &(family, input, outputs, metadata, operators) in EXPORTS {
        let plan = plan(&model(input, outputs, metadata, operators));
        for round in 0..6 {
            let all: Vec<(&str, Vec<usize>, Vec<f32>)> = outputs
                .iter()
                .map(|(name, dims)| {
                    let shape: Vec<usize> =
                        dims.iter().map(|&dim| if dim == 0 { 1 } else { dim as usize }).collect();
                    let count = shape.iter().product();
                    let nasty = |random: &mut Random| NASTY[3 * usize::from(round > 1) + random.below(9)];
                    let mut number =
                        |_| if random.below(200) < round { nasty(&mut random) } else { random.unit() };
                    (*name, shape, (0..count).map(&mut number).collect())
                })
                .collect();
            let views: Vec<(&str, &[usize], &[f32])> =
                all.iter().map(|(name, shape, data)| (*name, shape.as_slice(), data.as_slice())).collect();
            match decode(&plan, 1, 0, &views) {
                Ok(found) => {
                    outcomes[0] += 1;
                    for detection in found {
                        assert!(detection.rect.is_finite(), "{family}: {detection:?}");
                        assert!((0.0..=1.0).contains(&detection.confidence), "{family}: {detection:?}");
                        let points = &detection.keypoints;
                        assert!(
                            points.iter().all(|point| point.x.is_finite() && point.y.is_finite()),
                            "{family}"
                        );
                    }
                }
                Err(error) => {
                    outcomes[1] += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 20), "{outcomes:?}");
}

#[test]
fn outputs_of_other_shapes_are_refused() {
    for &(family, input, outputs, metadata, operators) in EXPORTS {
        let plan = plan(&model(input, outputs, metadata, operators));
        for missing in 0..outputs.len() {
            let all: Vec<(&str, Vec<usize>, Vec<f32>)> = outputs
                .iter()
                .enumerate()
                .map(|(at, (name, dims))| {
                    let mut shape: Vec<usize> =
                        dims.iter().map(|&dim| if dim == 0 { 2 } else { dim as usize }).collect();
                    if at == missing {
                        shape.push(2);
                    }
                    let count = shape.iter().product();
                    (*name, shape, vec![0.5; count])
                })
                .collect();
            let views: Vec<(&str, &[usize], &[f32])> =
                all.iter().map(|(name, shape, data)| (*name, shape.as_slice(), data.as_slice())).collect();
            let error = decode(&plan, 1, 0, &views).unwrap_err();
            assert!(matches!(error, DecodeError::Shape { .. }), "{family}: {error}");
        }
    }
}
