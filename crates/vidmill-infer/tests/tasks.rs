//! From descriptions to plans, and from numbers to boxes; no runtime needed.

mod common;

use common::Random;
use vidmill_image::{ChannelOrder, ElementType, Geometry, Mask, Rect, ResizeMode, Size, TensorLayout};
use vidmill_infer::{
    Batch, DecodeError, Detection, Dim, Element, Error, Found, Keypoint, ModelInfo, Outputs, Region,
    TaskOptions, TaskPlan, TensorInfo, TensorView, Text,
};

/// A tensor of a model; 0 stands for any number.
fn tensor(name: &str, element: Element, dims: &[u64]) -> TensorInfo {
    let dim = |&size: &u64| if size == 0 { Dim::Dynamic("any".into()) } else { Dim::Fixed(size) };
    TensorInfo { name: name.to_owned(), element, shape: dims.iter().map(dim).collect() }
}

fn model(input: &[u64], outputs: &[(&str, &[u64])], metadata: &[(&str, &str)]) -> ModelInfo {
    ModelInfo {
        path: "m.onnx".into(),
        inputs: vec![tensor("images", Element::F32, input)],
        outputs: outputs.iter().map(|(name, dims)| tensor(name, Element::F32, dims)).collect(),
        metadata: metadata.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ..ModelInfo::default()
    }
}

fn plan(info: &ModelInfo, options: &TaskOptions) -> TaskPlan {
    TaskPlan::recognise(info, options).unwrap_or_else(|error| panic!("{error}"))
}

fn family(info: &ModelInfo) -> &'static str {
    plan(info, &TaskOptions::default()).family()
}

const VGA: &[u64] = &[1, 3, 640, 640];

#[test]
fn usual_exports_are_recognised() {
    let any = &[0, 3, 0, 0];
    let names = ("names", "{0: 'a', 1: 'b'}");
    for (expected, input, outputs, metadata) in [
        ("yolov5", VGA, vec![("output0", &[1u64, 25200, 85] as &[u64])], vec![]),
        ("yolov5", VGA, vec![("output0", &[1, 25200, 6])], vec![]),
        ("yolov5", &[1, 3, 1280, 1280], vec![("output0", &[1, 102_000, 85])], vec![]),
        ("yolov5", any, vec![("output0", &[0, 0, 7])], vec![("stride", "32"), names]),
        (
            "yolov5",
            &[1, 3, 320, 320],
            vec![("out", &[1, 6300, 85]), ("a", &[1, 3, 40, 40, 85]), ("b", &[1, 3, 20, 20, 85])],
            vec![],
        ),
        ("yolov8", VGA, vec![("output0", &[1, 84, 8400])], vec![]),
        ("yolov8", VGA, vec![("output0", &[1, 5, 8400])], vec![]),
        ("yolov8", &[1, 3, 384, 640], vec![("output0", &[1, 84, 5040])], vec![]),
        ("yolov8", any, vec![("output0", &[0, 6, 0])], vec![names]),
        ("end-to-end", VGA, vec![("output0", &[1, 300, 6])], vec![]),
        ("end-to-end", any, vec![("output0", &[0, 0, 6])], vec![("args", "{'nms': True}"), ("stride", "32")]),
        ("end-to-end", any, vec![("output0", &[0, 300, 6])], vec![("end2end", "True")]),
        ("yolox", VGA, vec![("output", &[1, 8400, 85])], vec![]),
        ("yolox", VGA, vec![("output", &[1, 8400, 6])], vec![]),
        ("ssd", &[1, 3, 240, 320], vec![("scores", &[1, 4420, 2]), ("boxes", &[1, 4420, 4])], vec![]),
        (
            "ssd",
            &[1, 300, 300, 3],
            vec![
                ("num_detections", &[1]),
                ("detection_boxes", &[1, 100, 4]),
                ("detection_scores", &[1, 100]),
                ("detection_classes", &[1, 100]),
            ],
            vec![],
        ),
        ("ssd", any, vec![("boxes", &[0, 4]), ("labels", &[0]), ("scores", &[0])], vec![]),
    ] {
        let info = model(input, &outputs, &metadata);
        assert_eq!(family(&info), expected, "{}", info.signature());
    }
}

#[test]
fn a_yolox_that_decodes_its_boxes_shows_in_the_graph() {
    let mut info = model(VGA, &[("output", &[1, 8400, 85])], &[]);
    info.operators.insert("Exp".to_owned(), 1);
    assert_eq!(family(&info), "yolox-decoded");
}

#[test]
fn what_is_not_recognised_shows_inputs_outputs_and_choices() {
    for (input, outputs, metadata) in [
        (VGA, vec![("numbers", &[1u64, 136] as &[u64])], vec![]),
        (VGA, vec![("mask", &[1, 1, 640, 640])], vec![]),
        (VGA, vec![("out", &[1, 777, 85])], vec![]),
        (VGA, vec![("output0", &[1, 116, 8400])], vec![("task", "segment")]),
        (VGA, vec![("output0", &[1, 55, 8400])], vec![("task", "pose")]),
        (VGA, vec![("cls_8", &[1, 1600, 80]), ("dis_8", &[1, 1600, 32])], vec![]),
        (&[0, 3, 0, 0], vec![("output", &[0, 0, 85])], vec![]),
    ] {
        let info = model(input, &outputs, &metadata);
        let message = TaskPlan::recognise(&info, &TaskOptions::default()).unwrap_err().to_string();
        for part in
            [info.inputs[0].to_string(), info.outputs[0].to_string(), "--task".into(), "yolox-decoded".into()]
        {
            assert!(message.contains(&part), "{part} is missing in: {message}");
        }
    }
}

#[test]
fn inputs_that_are_no_single_image_are_refused() {
    let good = model(VGA, &[("output0", &[1, 84, 8400])], &[]);
    let with = |inputs: Vec<TensorInfo>| ModelInfo { inputs, ..good.clone() };
    for inputs in [
        vec![],
        vec![tensor("a", Element::F32, VGA), tensor("b", Element::F32, &[1])],
        vec![tensor("a", Element::F64, VGA)],
        vec![tensor("a", Element::F32, &[1, 3, 640])],
        vec![tensor("a", Element::F32, &[1, 4, 640, 640])],
        vec![tensor("a", Element::F32, &[1, 3, 640, 1 << 40])],
    ] {
        let error = TaskPlan::recognise(&with(inputs), &TaskOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error}");
    }
}

#[test]
fn inputs_are_made_as_each_kind_wants_them() {
    let yolo = plan(&model(VGA, &[("o", &[1, 84, 8400])], &[]), &TaskOptions::default());
    let spec = yolo.spec();
    assert_eq!(
        (spec.channels, spec.resize, spec.scale),
        (ChannelOrder::Rgb, ResizeMode::Letterbox, 1.0 / 255.0)
    );
    assert_eq!((spec.layout, spec.element, spec.pad), (TensorLayout::Nchw, ElementType::F32, 114));
    assert_eq!(yolo.batch(), Batch::Fixed(1));

    let yolox = plan(&model(&[0, 3, 416, 416], &[("o", &[0, 3549, 85])], &[]), &TaskOptions::default());
    let spec = yolox.spec();
    assert_eq!(
        (spec.channels, spec.resize, spec.scale),
        (ChannelOrder::Bgr, ResizeMode::LetterboxTopLeft, 1.0)
    );
    assert_eq!(yolox.batch(), Batch::Dynamic);
    assert_eq!(yolox.labels().name(2), "car");

    let faces = model(&[1, 3, 240, 320], &[("scores", &[1, 4420, 2]), ("boxes", &[1, 4420, 4])], &[]);
    let ssd = plan(&faces, &TaskOptions::default());
    let spec = ssd.spec();
    assert_eq!((spec.size, spec.resize), (Size::new(320, 240), ResizeMode::Stretch));
    assert_eq!((spec.scale, spec.mean, spec.std), (1.0, [127.0; 3], [128.0; 3]));
}

#[test]
fn metadata_of_our_own_rules_the_input() {
    let names = serde_json::to_string(&["a", "b"]).unwrap();
    let metadata = [
        ("vidmill.task", "end-to-end"),
        ("vidmill.color", "bgr"),
        ("vidmill.range", "255"),
        ("vidmill.resize", "letterbox"),
        ("vidmill.pad", "0"),
        ("vidmill.names", names.as_str()),
        ("vidmill.nms", "needed"),
    ];
    let info = model(&[1, 512, 512, 3], &[("detections", &[1, 100, 6])], &metadata);
    let plan = plan(&info, &TaskOptions::default());
    let spec = plan.spec();
    assert_eq!((spec.layout, spec.channels, spec.scale), (TensorLayout::Nhwc, ChannelOrder::Bgr, 1.0));
    assert_eq!((spec.pad, spec.size), (0, Size::new(512, 512)));
    assert_eq!(plan.labels().name(1), "b");
    assert!(plan.why().iter().any(|line| line.contains("vidmill.nms = needed")), "{:?}", plan.why());

    let bad = model(VGA, &[("o", &[1, 84, 8400])], &[("vidmill.task", "yolo99")]);
    let message = TaskPlan::recognise(&bad, &TaskOptions::default()).unwrap_err().to_string();
    assert!(message.contains("vidmill.task") && message.contains("yolo99"), "{message}");
}

#[test]
fn sizes_come_from_the_model_then_the_user_then_the_metadata() {
    let any = |metadata: &[(&str, &str)]| model(&[0, 3, 0, 0], &[("o", &[0, 84, 0])], metadata);
    let sized =
        |width, height| TaskOptions { imgsz: Some(Size::new(width, height)), ..TaskOptions::default() };
    let size = |info: &ModelInfo, options: &TaskOptions| plan(info, options).spec().size;
    assert_eq!(size(&any(&[]), &TaskOptions::default()), Size::new(640, 640));
    assert_eq!(size(&any(&[("imgsz", "[384, 512]")]), &TaskOptions::default()), Size::new(512, 384));
    assert_eq!(size(&any(&[("imgsz", "[384, 512]")]), &sized(330, 320)), Size::new(352, 320));
    assert_eq!(size(&any(&[("stride", "64")]), &sized(65, 1)), Size::new(128, 64));
    let fixed = model(VGA, &[("o", &[1, 84, 8400])], &[]);
    assert_eq!(size(&fixed, &sized(640, 640)), Size::new(640, 640));
    let error = TaskPlan::recognise(&fixed, &sized(320, 320)).unwrap_err();
    assert!(error.to_string().contains("640x640"), "{error}");
}

#[test]
fn labels_and_classes_are_checked_against_the_model() {
    let info = model(VGA, &[("o", &[1, 6, 8400])], &[("names", "{0: 'cat', 1: 'dog'}")]);
    let path = std::env::temp_dir().join(format!("vidmill-task-labels-{}.txt", std::process::id()));
    std::fs::write(&path, "wolf\nbear\n").unwrap();
    let with_file = TaskOptions { labels: Some(path.clone()), ..TaskOptions::default() };
    assert_eq!(plan(&info, &with_file).labels().name(0), "wolf");
    std::fs::write(&path, "wolf\nbear\nfox\n").unwrap();
    let error = TaskPlan::recognise(&info, &with_file).unwrap_err();
    assert!(error.to_string().contains("names 3 classes, the model has 2"), "{error}");
    std::fs::remove_file(&path).unwrap();

    let classes = |names: &[&str]| TaskOptions {
        classes: names.iter().map(|&name| name.to_owned()).collect(),
        ..TaskOptions::default()
    };
    assert!(TaskPlan::recognise(&info, &classes(&["dog", "0"])).is_ok());
    let error = TaskPlan::recognise(&info, &classes(&["dgo"])).unwrap_err();
    assert!(error.to_string().contains("'dog'"), "{error}");
    assert!(TaskPlan::recognise(&info, &classes(&["2"])).is_err());
}

#[test]
fn options_out_of_range_are_refused() {
    let info = model(VGA, &[("o", &[1, 84, 8400])], &[]);
    for options in [
        TaskOptions { conf: Some(1.5), ..TaskOptions::default() },
        TaskOptions { conf: Some(f32::NAN), ..TaskOptions::default() },
        TaskOptions { iou: Some(-0.1), ..TaskOptions::default() },
        TaskOptions { max_det: Some(0), ..TaskOptions::default() },
        TaskOptions { task: Some("yolo99".into()), ..TaskOptions::default() },
    ] {
        assert!(TaskPlan::recognise(&info, &options).is_err(), "{options:?}");
    }
}

/// A frame as large as the input, so that boxes come out as the model gave them.
fn plain(plan: &TaskPlan) -> Geometry {
    Geometry::new(plan.spec().size, plan.spec().size, ResizeMode::Stretch)
}

fn decode(plan: &TaskPlan, tensors: &[(&str, &[usize], &[f32])]) -> Result<Vec<Detection>, DecodeError> {
    let views = tensors.iter().map(|&(name, shape, data)| TensorView { name, shape, data }).collect();
    plan.decode(&Outputs::new(1, views), 0, &plain(plan)).map(|found| found.detections.unwrap_or_default())
}

fn shown(found: &[Detection]) -> Vec<([f32; 4], f32, u32)> {
    found.iter().map(|d| ([d.rect.x1, d.rect.y1, d.rect.x2, d.rect.y2], d.confidence, d.class_id)).collect()
}

/// A plan for an input of 32x32 pixels: 16 + 4 + 1 = 21 cells.
fn small(outputs: &[(&str, &[u64])], metadata: &[(&str, &str)], options: &TaskOptions) -> TaskPlan {
    plan(&model(&[1, 3, 32, 32], outputs, metadata), options)
}

#[test]
fn yolov5_rows() {
    let plan = small(&[("o", &[1, 63, 7])], &[], &TaskOptions::default());
    let mut data = vec![0.0; 63 * 7];
    data[7..14].copy_from_slice(&[10.0, 12.0, 8.0, 4.0, 0.8, 0.25, 0.75]);
    data[14..21].copy_from_slice(&[20.0, 20.0, 8.0, 4.0, 0.2, 1.0, 1.0]);
    data[21..28].copy_from_slice(&[20.0, 20.0, 8.0, 4.0, 0.5, 0.5, 0.5]);
    let found = decode(&plan, &[("o", &[1, 63, 7], &data)]).unwrap();
    assert_eq!(shown(&found), [([6.0, 10.0, 14.0, 14.0], 0.8 * 0.75, 1)]);
}

#[test]
fn yolox_rows_are_decoded_on_their_grids() {
    let plan = small(&[("o", &[1, 21, 6])], &[], &TaskOptions::default());
    assert_eq!(plan.family(), "yolox");
    let mut data = vec![0.0; 21 * 6];
    // Cell 6 of the first grid is (2, 1) of stride 8; cell 17 is (1, 0) of stride 16.
    data[36..42].copy_from_slice(&[0.5, 0.25, 0.0, 2.0f32.ln(), 0.9, 1.0]);
    data[102..108].copy_from_slice(&[-0.5, 0.5, 0.5f32.ln(), 0.0, 1.0, 0.5]);
    let found = decode(&plan, &[("o", &[1, 21, 6], &data)]).unwrap();
    assert_eq!(shown(&found), [([16.0, 2.0, 24.0, 18.0], 0.9, 0), ([4.0, 0.0, 12.0, 16.0], 0.5, 0)]);
    let decoded = TaskOptions { task: Some("yolox-decoded".into()), ..TaskOptions::default() };
    let plan = small(&[("o", &[1, 21, 6])], &[], &decoded);
    data[36..42].copy_from_slice(&[10.0, 12.0, 8.0, 4.0, 0.9, 1.0]);
    data[102..108].fill(0.0);
    let found = decode(&plan, &[("o", &[1, 21, 6], &data)]).unwrap();
    assert_eq!(shown(&found), [([6.0, 10.0, 14.0, 14.0], 0.9, 0)]);
}

#[test]
fn final_rows_are_sorted_filtered_and_left_alone() {
    let rows = [
        [1.0, 2.0, 3.0, 4.0, 0.5, 1.0],
        [1.0, 2.0, 3.0, 4.0, 0.9, 1.0],
        [1.0, 2.0, 3.0, 4.0, 0.5, 0.0],
        [5.0, 5.0, 9.0, 9.0, 0.25, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 9.0, 9.0, 0.8, -1.0],
    ];
    let data = rows.concat();
    let info: &[(&str, &[u64])] = &[("o", &[1, 6, 6])];
    let plan = small(info, &[], &TaskOptions::default());
    let found = decode(&plan, &[("o", &[1, 6, 6], &data)]).unwrap();
    let rect = [1.0, 2.0, 3.0, 4.0];
    assert_eq!(shown(&found), [(rect, 0.9, 1), (rect, 0.5, 1), (rect, 0.5, 0)]);

    let plan = small(info, &[("vidmill.nms", "needed")], &TaskOptions::default());
    let found = decode(&plan, &[("o", &[1, 6, 6], &data)]).unwrap();
    assert_eq!(shown(&found), [(rect, 0.9, 1), (rect, 0.5, 0)]);

    let only = TaskOptions { classes: vec!["0".into()], max_det: Some(1), ..TaskOptions::default() };
    let found = decode(&small(info, &[], &only), &[("o", &[1, 6, 6], &data)]).unwrap();
    assert_eq!(shown(&found), [(rect, 0.5, 0)]);
}

#[test]
fn ssd_scores_skip_the_background_unless_names_say_there_is_none() {
    let info: &[(&str, &[u64])] = &[("scores", &[1, 2, 3]), ("boxes", &[1, 2, 4])];
    let boxes = [0.0, 0.25, 0.5, 0.75, 0.5, 0.5, 1.0, 1.0];
    let scores = [0.9, 0.3, 0.6, 0.1, 0.7, 0.2];
    let tensors: [(&str, &[usize], &[f32]); 2] =
        [("scores", &[1, 2, 3], &scores), ("boxes", &[1, 2, 4], &boxes)];
    let found = decode(&small(info, &[], &TaskOptions::default()), &tensors).unwrap();
    assert_eq!(shown(&found), [([16.0, 16.0, 32.0, 32.0], 0.7, 0), ([0.0, 8.0, 16.0, 24.0], 0.6, 1)]);
    let named = [("names", "['a', 'b', 'c']")];
    let found = decode(&small(info, &named, &TaskOptions::default()), &tensors).unwrap();
    assert_eq!(found.iter().map(|d| d.class_id).collect::<Vec<_>>(), [0, 1]);
    let pixels = [("vidmill.units", "pixels"), ("vidmill.background", "none")];
    let found = decode(&small(info, &pixels, &TaskOptions::default()), &tensors).unwrap();
    assert_eq!(shown(&found)[0], ([0.0, 0.25, 0.5, 0.75], 0.9, 0));
}

#[test]
fn tensorflow_and_torchvision_outputs() {
    let info: &[(&str, &[u64])] = &[
        ("detection_boxes", &[1, 3, 4]),
        ("detection_classes", &[1, 3]),
        ("detection_scores", &[1, 3]),
        ("num_detections", &[1]),
    ];
    let boxes = [0.25, 0.0, 0.75, 0.5, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0];
    let found = decode(
        &small(info, &[], &TaskOptions::default()),
        &[
            ("detection_boxes", &[1, 3, 4], &boxes),
            ("detection_classes", &[1, 3], &[18.0, 3.0, 3.0]),
            ("detection_scores", &[1, 3], &[0.6, 0.9, 0.9]),
            ("num_detections", &[1], &[2.0]),
        ],
    )
    .unwrap();
    assert_eq!(shown(&found), [([0.0, 0.0, 32.0, 32.0], 0.9, 3), ([0.0, 8.0, 16.0, 24.0], 0.6, 18)]);

    let info: &[(&str, &[u64])] = &[("boxes", &[0, 4]), ("labels", &[0]), ("scores", &[0])];
    let plan = small(info, &[], &TaskOptions::default());
    let found = decode(
        &plan,
        &[("boxes", &[1, 4], &[1.0, 2.0, 3.0, 4.0]), ("labels", &[1], &[7.0]), ("scores", &[1], &[0.5])],
    )
    .unwrap();
    assert_eq!(shown(&found), [([1.0, 2.0, 3.0, 4.0], 0.5, 7)]);
    let none =
        decode(&plan, &[("boxes", &[0, 4], &[]), ("labels", &[0], &[]), ("scores", &[0], &[])]).unwrap();
    assert!(none.is_empty());
    let uneven = decode(
        &plan,
        &[("boxes", &[1, 4], &[1.0; 4]), ("labels", &[2], &[7.0; 2]), ("scores", &[1], &[0.5])],
    );
    assert!(matches!(uneven, Err(DecodeError::Shape { .. })), "{uneven:?}");
}

#[test]
fn boxes_return_to_the_displayed_frame_and_are_clipped_to_it() {
    let info = model(VGA, &[("o", &[1, 4, 6])], &[]);
    let plan = plan(&info, &TaskOptions::default());
    // 1280x720 in 640x640: half size, 140 pixels of padding above and below.
    let geometry = Geometry::new(Size::new(1280, 720), Size::new(640, 640), ResizeMode::Letterbox);
    let data = [
        [100.0, 240.0, 200.0, 340.0, 0.9, 0.0],
        [-10.0, 100.0, 50.0, 190.0, 0.8, 0.0],
        [10.0, 20.0, 50.0, 120.0, 0.7, 0.0],
        [630.0, 490.0, 700.0, 700.0, 0.6, 0.0],
    ]
    .concat();
    let outputs = Outputs::new(1, vec![TensorView { name: "o", shape: &[1, 4, 6], data: &data }]);
    let found = plan.decode(&outputs, 0, &geometry).unwrap().detections.unwrap();
    assert_eq!(
        shown(&found),
        [
            ([200.0, 200.0, 400.0, 400.0], 0.9, 0),
            ([0.0, 0.0, 100.0, 100.0], 0.8, 0),
            ([1260.0, 700.0, 1280.0, 720.0], 0.6, 0),
        ]
    );
}

#[test]
fn numbers_that_are_not_finite_fail_the_item_alone() {
    let plan = plan(&model(&[0, 3, 32, 32], &[("o", &[0, 2, 6])], &[]), &TaskOptions::default());
    let mut data = vec![0.5; 24];
    data[12 + 7] = f32::NAN;
    let outputs = Outputs::new(2, vec![TensorView { name: "o", shape: &[2, 2, 6], data: &data }]);
    assert!(plan.decode(&outputs, 0, &plain(&plan)).is_ok());
    match plan.decode(&outputs, 1, &plain(&plan)).unwrap_err() {
        DecodeError::NonFinite { output, index, value } => {
            assert_eq!((output.as_str(), index), ("o", 7));
            assert!(value.is_nan());
        }
        other => panic!("{other}"),
    }
    assert!(matches!(plan.decode(&outputs, 2, &plain(&plan)), Err(DecodeError::Item { item: 2, batch: 2 })));
}

#[test]
fn a_box_that_overflows_fails_the_item() {
    let plan = small(&[("o", &[1, 21, 6])], &[], &TaskOptions::default());
    let mut data = vec![0.0; 21 * 6];
    data[6..12].copy_from_slice(&[0.0, 0.0, 200.0, 0.0, 1.0, 1.0]);
    let error = decode(&plan, &[("o", &[1, 21, 6], &data)]).unwrap_err();
    assert!(matches!(error, DecodeError::NonFinite { index: 6, .. }), "{error}");
}

#[test]
fn outputs_of_other_shapes_fail_with_both_shapes() {
    let plan = small(&[("o", &[1, 6, 21])], &[], &TaskOptions::default());
    for shape in
        [&[1usize, 5, 21] as &[usize], &[1, 6, 20], &[6, 21], &[2, 6, 21], &[1, 1, 6, 21], &[0, 6, 21]]
    {
        let data = vec![0.0; shape.iter().product()];
        match decode(&plan, &[("o", shape, &data)]).unwrap_err() {
            DecodeError::Shape { expected, found, .. } => {
                assert_eq!((expected.as_str(), found.as_slice()), ("[1, 6, 21]", shape));
            }
            other => panic!("{other}"),
        }
    }
    assert!(matches!(decode(&plan, &[]), Err(DecodeError::Missing { .. })));
}

/// The reading of YOLOv8's output as its documentation tells it, one box after the other.
fn naive_yolov8(data: &[f32], columns: usize, classes: usize, conf: f32) -> Vec<([f32; 4], f32, u32)> {
    let mut found = Vec::new();
    for column in 0..columns {
        let at = |row: usize| data[row * columns + column];
        let best =
            (0..classes).rev().max_by(|&a, &b| at(4 + a).total_cmp(&at(4 + b))).expect("there are classes");
        let score = at(4 + best);
        if score > conf {
            let (cx, cy, w, h) = (at(0), at(1), at(2), at(3));
            found.push(([cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0], score, best as u32));
        }
    }
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found
}

#[test]
fn yolov8_columns_equal_the_naive_reading() {
    let mut random = Random(5);
    for classes in [1usize, 2, 3, 18] {
        let rows = 4 + classes;
        let outputs: &[(&str, &[u64])] = &[("o", &[1, rows as u64, 21])];
        // Overlaps are never over 1, so that nothing is suppressed.
        let options = TaskOptions { iou: Some(1.0), ..TaskOptions::default() };
        let plan = small(outputs, &[], &options);
        for _ in 0..40 {
            let data: Vec<f32> = (0..rows * 21)
                .map(|n| match n / 21 {
                    0 | 1 => 8.0 + 16.0 * random.unit(),
                    2 | 3 => 1.0 + 15.0 * random.unit(),
                    // Coarse, so that equal scores come up.
                    _ => (random.unit() * 10.0).floor() / 10.0,
                })
                .collect();
            let found = decode(&plan, &[("o", &[1, rows, 21], &data)]).unwrap();
            assert_eq!(shown(&found), naive_yolov8(&data, 21, classes, 0.25));
        }
    }
}

#[test]
fn what_somebody_else_found_is_put_in_pixels_of_the_frame() {
    let options = TaskOptions {
        task: Some("outputs".into()),
        conf: Some(0.5),
        max_det: Some(3),
        ..TaskOptions::default()
    };
    let plan = plan(&model(&[0, 3, 640, 640], &[], &[]), &options);
    // Half the size, 140 rows of padding above.
    let geometry = Geometry::new(Size::new(1280, 720), plan.spec().size, plan.spec().resize);
    let given = |x1: f32, confidence| {
        Detection::new(Rect { x1, y1: 240.0, x2: x1 + 100.0, y2: 340.0 }, confidence, 3)
    };
    let finish = |detections: Vec<Detection>| plan.finish_given(detections.into(), &geometry);
    let all = vec![given(0.0, 0.6), given(100.0, 0.9), given(200.0, 0.5), given(-200.0, 0.8)];
    let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    let found = plan.finish_given(Found { names, ..all.clone().into() }, &geometry).unwrap();
    assert_eq!(found.names, ["b", "a"], "by confidence; what is not sure enough or outside is left out");
    let kept = found.detections.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(shown(&kept[..1]), [([200.0, 200.0, 400.0, 400.0], 0.9, 3)]);
    let few = Found { names: vec!["a".into()], ..all.into() };
    assert!(matches!(plan.finish_given(few, &geometry), Err(DecodeError::Names { names: 1, detections: 4 })));
    assert!(matches!(finish(vec![given(f32::NAN, 0.6)]), Err(DecodeError::NonFinite { index: 0, .. })));
    assert!(finish(vec![given(0.0, 1.5)]).is_err());

    // All that has a place goes along, also of what was found within a detection.
    let input = plan.spec().size;
    let mut rows = vec![0; 640 * 640];
    rows[240 * 640 + 100] = 1;
    let mask = || Mask::from_rows(input, &rows).unwrap();
    let keypoint = |x, y, confidence| Keypoint { x, y, confidence };
    let inner = Found {
        detections: Some(vec![given(100.0, 0.1)]),
        regions: Some(vec![Region { class_id: 7, mask: mask() }]),
        text: Some(Text { text: "A 1".into(), confidence: 0.75 }),
        ..Found::default()
    };
    let full = Detection {
        corners: Some([[100.0, 240.0], [200.0, 250.0], [200.0, 340.0], [100.0, 330.0]]),
        keypoints: vec![keypoint(150.0, 290.0, Some(0.5)), keypoint(0.0, 140.0, None)],
        mask: Some(mask()),
        inside: Some(Box::new(inner)),
        ..given(100.0, 0.9)
    };
    let mut pixels = vec![0; 1280 * 720];
    for place in [200 * 1280 + 200, 200 * 1280 + 201, 201 * 1280 + 200, 201 * 1280 + 201] {
        pixels[place] = 1;
    }
    let displayed = Mask::from_rows(geometry.displayed, &pixels).unwrap();
    let regions = || Some(vec![Region { class_id: 1, mask: mask() }]);
    let found = Found { regions: regions(), ..vec![full.clone()].into() };
    let found = plan.finish_given(found, &geometry).unwrap();
    assert_eq!(found.regions.unwrap()[0].mask, displayed);
    let one = found.detections.unwrap().swap_remove(0);
    assert_eq!(one.corners, Some([[200.0, 200.0], [400.0, 220.0], [400.0, 400.0], [200.0, 380.0]]));
    assert_eq!(one.keypoints, [keypoint(300.0, 300.0, Some(0.5)), keypoint(0.0, 0.0, None)]);
    assert_eq!(one.mask.as_ref(), Some(&displayed));
    let inside = one.inside.unwrap();
    assert_eq!(shown(&inside.detections.unwrap()), [([200.0, 200.0, 400.0, 400.0], 0.1, 3)]);
    assert_eq!((&inside.regions.unwrap()[0].mask, inside.text.unwrap().confidence), (&displayed, 0.75));

    let small = Mask::empty(Size::new(320, 320)).unwrap();
    let wrong = finish(vec![Detection { mask: Some(small), ..full.clone() }]).unwrap_err().to_string();
    assert_eq!(
        wrong,
        "a mask is 320x320, and the model's input 640x640: make masks of the size of the input"
    );
    let bad = vec![keypoint(f32::INFINITY, 0.0, None)];
    assert!(finish(vec![Detection { keypoints: bad, ..full.clone() }]).is_err());
    let bad = Found { embedding: Some(vec![0.0, f32::NAN]), ..Found::default() };
    let inside = Some(Box::new(bad.clone()));
    assert!(
        finish(vec![Detection { inside, ..full }]).is_err() && plan.finish_given(bad, &geometry).is_err()
    );
}
