//! Text: finders (DB) and readers (CTC). Beside tests/torch/parity/paddle_text.py: what is recognised, sizes, and absurd numbers.

mod common;

use std::collections::BTreeMap;

use common::Random;
use vidmill_image::{ChannelOrder, Geometry, ResizeMode, Size};
use vidmill_infer::{
    DecodeError, Dim, Element, Error, Found, ModelInfo, Outputs, Task, TaskOptions, TaskPlan, TensorInfo,
    TensorView,
};

/// A tensor of a model; 0 stands for any number.
fn tensor(name: &str, dims: &[u64]) -> TensorInfo {
    let dim = |&size: &u64| if size == 0 { Dim::Dynamic("any".into()) } else { Dim::Fixed(size) };
    TensorInfo { name: name.to_owned(), element: Element::F32, shape: dims.iter().map(dim).collect() }
}

fn model(input: &[u64], output: (&str, &[u64]), metadata: &[(&str, &str)]) -> ModelInfo {
    ModelInfo {
        path: "m.onnx".into(),
        sha256: String::new(),
        producer: String::new(),
        opset: None,
        inputs: vec![tensor("x", input)],
        outputs: vec![tensor(output.0, output.1)],
        metadata: metadata.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        operators: BTreeMap::new(),
        ..ModelInfo::default()
    }
}

fn finder() -> ModelInfo {
    model(&[0, 3, 0, 0], ("sigmoid_0.tmp_0", &[0, 1, 0, 0]), &[])
}

fn reader() -> ModelInfo {
    model(&[0, 3, 0, 0], ("softmax_11.tmp_0", &[0, 0, 5]), &[("character", "a\nb\nc")])
}

fn plan(info: &ModelInfo) -> TaskPlan {
    TaskPlan::recognise(info, &TaskOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn size(width: u32, height: u32) -> Size {
    Size::new(width, height)
}

#[test]
fn paddles_models_are_recognised_and_others_are_not_taken_for_them() {
    let found = plan(&finder());
    assert_eq!(
        (found.family(), found.task(), found.labels().name(0).as_ref()),
        ("db", Task::FindText, "text")
    );
    assert_eq!(
        (found.spec().channels, found.spec().mean, found.spec().std),
        (ChannelOrder::Bgr, [0.5; 3], [0.5; 3])
    );
    let read = plan(&reader());
    assert_eq!(
        (read.family(), read.task(), read.spec().resize),
        ("ctc", Task::ReadText, ResizeMode::FitHeight)
    );
    for other in [
        model(&[0, 3, 0, 0], ("depth", &[0, 1, 0, 0]), &[]),
        model(&[0, 3, 0, 0], ("sigmoid_0.tmp_0", &[0, 2, 0, 0]), &[]),
        model(&[0, 3, 0, 0], ("softmax_11.tmp_0", &[0, 0, 9]), &[("character", "a\nb\nc")]),
        model(&[0, 3, 0, 0], ("softmax_11.tmp_0", &[0, 0, 5]), &[]),
    ] {
        let error = TaskPlan::recognise(&other, &TaskOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Unrecognised { .. }), "{error}");
    }
    let named = |task: &str, info: &ModelInfo| {
        TaskPlan::recognise(info, &TaskOptions { task: Some(task.to_owned()), ..TaskOptions::default() })
    };
    assert!(named("db", &model(&[0, 3, 0, 0], ("depth", &[0, 1, 0, 0]), &[])).is_ok());
    let error = named("ctc", &model(&[0, 3, 0, 0], ("out", &[0, 0, 5]), &[])).unwrap_err().to_string();
    assert!(error.contains("--labels"), "{error}");
    let error = named("ctc", &model(&[0, 3, 0, 0], ("out", &[0, 0, 9]), &[("character", "a\nb\nc")]));
    assert!(error.unwrap_err().to_string().contains("3 characters, and its output has 9 columns"));
}

/// Sizes that PaddleOCR's and RapidOCR's own resizing gives.
#[test]
fn the_input_follows_the_picture() {
    let found = plan(&finder());
    for (picture, expected) in [
        ((1920, 1080), (960, 544)),
        ((640, 480), (640, 480)),
        ((500, 700), (512, 704)),
        ((3000, 20), (960, 32)),
        ((10, 10), (32, 32)),
        ((900, 620), (896, 608)),
    ] {
        assert_eq!(
            found.spec_for(size(picture.0, picture.1)).size,
            size(expected.0, expected.1),
            "{picture:?}"
        );
    }
    let large = TaskOptions { imgsz: Some(size(1500, 1500)), ..TaskOptions::default() };
    let large = TaskPlan::recognise(&finder(), &large).unwrap();
    assert_eq!(large.spec_for(size(1280, 720)).size, size(1280, 704));
    let fixed = plan(&model(&[1, 3, 640, 640], ("sigmoid_0.tmp_0", &[1, 1, 640, 640]), &[]));
    assert_eq!(fixed.spec_for(size(1280, 720)).size, size(640, 640));
    let read = plan(&reader());
    for (picture, expected) in
        [((100, 48), 320), ((320, 48), 320), ((700, 48), 700), ((331, 40), 397), ((9999, 10), 3200)]
    {
        assert_eq!(read.spec_for(size(picture.0, picture.1)).size, size(expected, 48), "{picture:?}");
    }
    let fixed =
        plan(&model(&[0, 3, 48, 320], ("softmax_11.tmp_0", &[0, 40, 5]), &[("character", "a\nb\nc")]));
    assert_eq!(fixed.spec_for(size(700, 48)).size, size(320, 48));
}

fn decode(
    plan: &TaskPlan,
    name: &str,
    shape: &[usize],
    data: &[f32],
    picture: Size,
) -> Result<Found, DecodeError> {
    let spec = plan.spec_for(picture);
    let outputs = Outputs::new(shape[0], vec![TensorView { name, shape, data }]);
    plan.decode(&outputs, 0, &Geometry::new(picture, spec.size, spec.resize))
}

#[test]
fn a_line_is_read_by_its_best_characters() {
    let read = plan(&reader());
    let row = |best: usize, p: f32| (0..5).map(move |at| if at == best { p } else { (1.0 - p) / 4.0 });
    // Blank, a, a, blank, a, space, c: "aa c".
    let steps = [(0, 0.9), (1, 0.8), (1, 0.7), (0, 0.9), (1, 0.6), (4, 0.9), (3, 0.5)];
    let data: Vec<f32> = steps.iter().flat_map(|&(best, p)| row(best, p)).collect();
    let found = decode(&read, "softmax_11.tmp_0", &[1, 7, 5], &data, size(100, 30)).unwrap();
    let text = found.text.unwrap();
    assert_eq!(text.text, "aa c");
    assert!((text.confidence - 0.7).abs() < 1e-6, "{}", text.confidence);
    let blanks: Vec<f32> = (0..3).flat_map(|_| row(0, 0.9)).collect();
    let text = decode(&read, "softmax_11.tmp_0", &[1, 3, 5], &blanks, size(100, 30)).unwrap().text.unwrap();
    assert_eq!((text.text.as_str(), text.confidence), ("", 0.0));
    let text = decode(&read, "softmax_11.tmp_0", &[1, 0, 5], &[], size(100, 30)).unwrap().text.unwrap();
    assert_eq!(text.text, "");
}

#[test]
fn numbers_and_shapes_that_make_no_sense_are_refused() {
    let (found, read) = (plan(&finder()), plan(&reader()));
    let mut data = vec![0.2; 35];
    data[3] = f32::NAN;
    let bad = decode(&read, "softmax_11.tmp_0", &[1, 7, 5], &data, size(100, 30));
    assert!(matches!(bad, Err(DecodeError::NonFinite { index: 3, .. })));
    let bad = decode(&read, "softmax_11.tmp_0", &[1, 5, 7], &[0.2; 35], size(100, 30));
    assert!(matches!(bad, Err(DecodeError::Shape { .. })));
    let bad = decode(&read, "softmax_11.tmp_0", &[1, 7, 5], &[3.0; 35], size(100, 30));
    assert!(matches!(bad, Err(DecodeError::Confidence { .. })));
    let mut map = vec![0.0; 64 * 64];
    map[100] = f32::INFINITY;
    let bad = decode(&found, "sigmoid_0.tmp_0", &[1, 1, 64, 64], &map, size(64, 64));
    assert!(matches!(bad, Err(DecodeError::NonFinite { index: 100, .. })));
    let bad = decode(&found, "sigmoid_0.tmp_0", &[1, 1, 64, 64], &[40.0; 64 * 64], size(64, 64));
    assert!(matches!(bad, Err(DecodeError::Confidence { .. })));
    let bad = decode(&found, "sigmoid_0.tmp_0", &[1, 2, 64, 32], &map, size(64, 64));
    assert!(matches!(bad, Err(DecodeError::Shape { .. })));
    let bad = decode(&found, "sigmoid_0.tmp_0", &[1, 1, 0, 64], &[], size(64, 64));
    assert!(matches!(bad, Err(DecodeError::Shape { .. })));
}

#[test]
fn maps_of_any_kind_give_boxes_in_the_frame() {
    let found = plan(&finder());
    let mut random = Random(5);
    for round in 0..60 {
        let (width, height) = [(64, 64), (1, 1), (3, 200), (200, 3), (160, 96)][round % 5];
        let share = [0.0, 0.02, 0.3, 0.7, 1.0][round / 5 % 5];
        let mut value = || random.below(1 << 20) as f32 / (1 << 20) as f32;
        let map: Vec<f32> = (0..width * height)
            .map(|_| if value() < share { 0.5 + value() / 2.0 } else { 0.2 * value() })
            .collect();
        let picture = [size(64, 64), size(1, 1), size(1999, 7)][round % 3];
        let all = decode(&found, "sigmoid_0.tmp_0", &[1, 1, height, width], &map, picture).unwrap();
        for detection in all.detections.unwrap() {
            let corners = detection.corners.unwrap();
            let inside = corners.iter().all(|[x, y]| {
                (0.0..picture.width as f32).contains(x) && (0.0..picture.height as f32).contains(y)
            });
            assert!(inside && detection.rect.area() > 0.0 && detection.confidence <= 1.0, "{detection:?}");
        }
    }
}
