//! Models through the real runtimes: types, batches, sessions.

#![allow(clippy::unwrap_used, reason = "a suite is made of tests")]

mod common;

use common::{D, F16, F32, F64, INT32, INT64, Onnx, Random, U8, as_bytes, on, on_every_runtime, open};
use half::f16;
use half::slice::HalfFloatSliceExt;
use vidmill_image::{ElementType, Geometry, ResizeMode, Size, TensorLayout, TensorSpec};
use vidmill_infer::{Device, Dim, Element, Error, LoadOptions, Model, TaskOptions, TaskPlan};

on_every_runtime! {
    a_model_describes_itself,
    the_hash_is_the_files,
    f32_goes_through_in_batches,
    f16_and_u8_inputs_are_taken_and_given_back_as_f32,
    outputs_of_every_number_type_become_f32,
    an_output_may_be_empty,
    wrong_batches_and_bytes_are_refused_and_the_predictor_goes_on,
    a_plan_that_does_not_fit_the_model_is_refused,
    sessions_agree_bit_by_bit_whatever_their_number_and_threads,
    predictors_work_side_by_side,
    a_file_that_changes_under_a_model_gives_no_more_sessions,
    any_size_is_fed_as_planned,
    a_detector_runs_from_file_to_boxes,
    side_inputs_are_fed_whatever_the_batch,
    a_side_input_that_nobody_explains_is_an_error_that_names_it,
}

const IMAGE: [D; 4] = [D::N(1), D::N(3), D::N(4), D::N(5)];
const ANY_BATCH: [D; 4] = [D::Any("batch"), D::N(3), D::N(4), D::N(5)];
const ITEM: usize = 3 * 4 * 5;

fn spec(element: ElementType) -> TensorSpec {
    TensorSpec { element, ..TensorSpec::yolo(Size::new(5, 4)) }
}

fn identity(element: u64, dims: &[D]) -> Onnx {
    Onnx::new().input("x", element, dims).output("y", element, dims).node("Identity", &["x"], "y", &[])
}

fn numbers(count: usize) -> Vec<f32> {
    let mut random = Random(7);
    (0..count).map(|_| random.unit()).collect()
}

fn a_model_describes_itself(device: Device) {
    let onnx = identity(F32, &ANY_BATCH).metadata("names", "{0: 'a'}").metadata("ünï", "wörd");
    let model = open(device, &onnx);
    let info = model.info();
    assert_eq!((info.producer.as_str(), info.opset), ("vidmill tests", Some(17)));
    assert_eq!(info.inputs[0].shape[0], Dim::Dynamic("batch".into()));
    assert_eq!(info.inputs[0].to_string(), "'x' f32 [batch, 3, 4, 5]");
    assert_eq!(info.outputs[0].element, Element::F32);
    assert_eq!(info.metadata["names"], "{0: 'a'}");
    assert_eq!(info.metadata["ünï"], "wörd");
    assert_eq!(info.operators["Identity"], 1);
    assert_eq!(info.sha256.len(), 64);
    let runtime = model.runtime();
    let (name, major) = match device {
        Device::OpenVino => ("openvino", "202"),
        _ => ("onnxruntime", "1."),
    };
    assert_eq!(runtime.name, name);
    assert!(runtime.version.starts_with(major), "{}", runtime.version);
    assert!(runtime.provider.starts_with("CPU") && runtime.is_on_cpu(), "{}", runtime.provider);
    assert_eq!(runtime.nodes.keys().collect::<Vec<_>>(), [&runtime.provider]);
    assert!(runtime.nodes.values().sum::<usize>() > 0);
    assert_eq!((runtime.precision.as_str(), &runtime.fallback), ("f32", &None));
    let asked = format!("\"device_asked\":\"{device}\"");
    assert!(serde_json::to_string(&(info, runtime)).unwrap().contains(&asked));
}

fn the_hash_is_the_files(device: Device) {
    let file = common::File::with(&identity(F32, &IMAGE).build());
    let model = Model::open(&file.0, &on(device)).unwrap();
    let told = std::process::Command::new("sha256sum").arg(&file.0).output().unwrap();
    assert!(String::from_utf8(told.stdout).unwrap().starts_with(&model.info().sha256));
}

fn f32_goes_through_in_batches(device: Device) {
    let model = open(device, &identity(F32, &ANY_BATCH));
    let mut predictor = model.session(&spec(ElementType::F32)).unwrap();
    for batch in [1, 3, 2] {
        let input = numbers(batch * ITEM);
        let outputs = predictor.predict(as_bytes(&input), batch).unwrap();
        let y = outputs.get("y").unwrap();
        assert_eq!((y.shape, y.data), ([batch, 3, 4, 5].as_slice(), input.as_slice()));
        assert_eq!(outputs.batch(), batch);
        assert!(outputs.get("z").is_none());
    }
}

fn f16_and_u8_inputs_are_taken_and_given_back_as_f32(device: Device) {
    let model = open(device, &identity(F16, &IMAGE));
    let halves: Vec<f16> = numbers(ITEM).into_iter().map(f16::from_f32).collect();
    let input: Vec<u8> = bytemuck::cast_slice(halves.as_slice().reinterpret_cast()).to_vec();
    let mut predictor = model.session(&spec(ElementType::F16)).unwrap();
    let outputs = predictor.predict(&input, 1).unwrap();
    let expected: Vec<f32> = halves.iter().map(|half| half.to_f32()).collect();
    assert_eq!(outputs.get("y").unwrap().data, expected);

    let dims = [D::N(1), D::N(4), D::N(5), D::N(3)];
    let model = open(device, &identity(U8, &dims));
    let spec = TensorSpec { layout: TensorLayout::Nhwc, ..spec(ElementType::U8) };
    let input: Vec<u8> = (0..ITEM as u8).map(|n| n * 4).collect();
    let mut predictor = model.session(&spec).unwrap();
    let outputs = predictor.predict(&input, 1).unwrap();
    let y = outputs.get("y").unwrap();
    assert_eq!(y.shape, [1, 4, 5, 3]);
    assert!(y.data.iter().zip(&input).all(|(&out, &byte)| out == f32::from(byte)));
}

fn outputs_of_every_number_type_become_f32(device: Device) {
    for element in [F16, F64, INT64, INT32, U8] {
        let onnx = Onnx::new().input("x", F32, &IMAGE).output("y", element, &IMAGE).node(
            "Cast",
            &["x"],
            "y",
            &[("to", element)],
        );
        let model = open(device, &onnx);
        let input: Vec<f32> = (0..ITEM).map(|n| n as f32).collect();
        let mut predictor = model.session(&spec(ElementType::F32)).unwrap();
        let outputs = predictor.predict(as_bytes(&input), 1).unwrap();
        assert_eq!(outputs.get("y").unwrap().data, input, "type {element}");
    }
}

fn an_output_may_be_empty(device: Device) {
    let onnx = Onnx::new().input("x", F32, &IMAGE).output("y", INT64, &[D::N(4), D::Any("found")]).node(
        "NonZero",
        &["x"],
        "y",
        &[],
    );
    let model = open(device, &onnx);
    let mut predictor = model.session(&spec(ElementType::F32)).unwrap();
    let empty = predictor.predict(as_bytes(&[0.0; ITEM]), 1).unwrap().get("y").copied().unwrap();
    assert_eq!((empty.shape, empty.data), ([4, 0].as_slice(), [].as_slice()));
    let mut input = [0.0; ITEM];
    input[7] = 1.0;
    let outputs = predictor.predict(as_bytes(&input), 1).unwrap();
    assert_eq!(outputs.get("y").unwrap().data, [0.0, 0.0, 1.0, 2.0]);
}

fn wrong_batches_and_bytes_are_refused_and_the_predictor_goes_on(device: Device) {
    let model = open(device, &identity(F32, &[D::N(2), D::N(3), D::N(4), D::N(5)]));
    let mut predictor = model.session(&spec(ElementType::F32)).unwrap();
    let input = numbers(2 * ITEM + 1);
    let bytes = as_bytes(&input);
    let error = predictor.predict(&bytes[..ITEM * 4], 1).unwrap_err();
    assert!(matches!(error, Error::BatchSize { found: 1, .. }), "{error}");
    assert!(matches!(predictor.predict(&[], 0), Err(Error::BatchSize { .. })));
    let error = predictor.predict(&bytes[..ITEM * 4], 2).unwrap_err();
    assert!(matches!(error, Error::InputBytes { batch: 2, expected: 480, found: 240 }), "{error}");
    let error = predictor.predict(&bytes[1..2 * ITEM * 4 + 1], 2).unwrap_err();
    assert!(matches!(error, Error::InputAlignment { needed: 4 }), "{error}");
    let outputs = predictor.predict(&bytes[..2 * ITEM * 4], 2).unwrap();
    assert_eq!(outputs.get("y").unwrap().data, &input[..2 * ITEM]);
}

fn a_plan_that_does_not_fit_the_model_is_refused(device: Device) {
    let model = open(device, &identity(F32, &IMAGE));
    for wrong in [
        spec(ElementType::F16),
        TensorSpec::yolo(Size::new(4, 5)),
        TensorSpec { layout: TensorLayout::Nhwc, ..spec(ElementType::F32) },
    ] {
        let error = model.session(&wrong).err().expect("a session was made");
        assert!(matches!(error, Error::Input { .. }), "{error}");
        assert!(error.to_string().contains("'x' f32 [1, 3, 4, 5]"), "{error}");
    }
}

/// A convolution with enough channels that threads split it.
fn convolution() -> Onnx {
    let dims = [D::Any("n"), D::N(3), D::N(64), D::N(64)];
    let mut random = Random(3);
    let weights: Vec<f32> = (0..32 * 3 * 9).map(|_| random.unit() - 0.5).collect();
    Onnx::new()
        .input("x", F32, &dims)
        .output("y", F32, &[D::Any("n"), D::N(32), D::N(62), D::N(62)])
        .weights("w", &[32, 3, 3, 3], &weights)
        .node("Conv", &["x", "w"], "y", &[])
}

fn sessions_agree_bit_by_bit_whatever_their_number_and_threads(device: Device) {
    let file = convolution().save();
    let input = numbers(2 * 3 * 64 * 64);
    let spec = TensorSpec::yolo(Size::new(64, 64));
    let mut seen: Vec<Vec<u32>> = Vec::new();
    for threads in [1, 2, 0] {
        let options = LoadOptions { threads, ..on(device) };
        let model = Model::open(&file.0, &options).unwrap();
        let mut sessions = [model.session(&spec).unwrap(), model.session(&spec).unwrap()];
        for predictor in &mut sessions {
            for _ in 0..2 {
                let outputs = predictor.predict(as_bytes(&input), 2).unwrap();
                seen.push(outputs.get("y").unwrap().data.iter().map(|value| value.to_bits()).collect());
            }
            let alone = predictor.predict(as_bytes(&input[..3 * 64 * 64]), 1).unwrap();
            let half: Vec<u32> = alone.get("y").unwrap().data.iter().map(|value| value.to_bits()).collect();
            assert_eq!(half, seen[0][..half.len()]);
        }
    }
    assert!(seen.iter().all(|bits| *bits == seen[0]));
}

fn predictors_work_side_by_side(device: Device) {
    let file = convolution().save();
    let model = Model::open(&file.0, &on(device)).unwrap();
    let spec = TensorSpec::yolo(Size::new(64, 64));
    let input = numbers(3 * 64 * 64);
    let results: Vec<Vec<f32>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let mut predictor = model.session(&spec).unwrap();
                let input = &input;
                scope.spawn(move || {
                    let run =
                        |_| predictor.predict(as_bytes(input), 1).unwrap().get("y").unwrap().data.to_vec();
                    (0..5).map(run).next_back().unwrap()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

fn a_file_that_changes_under_a_model_gives_no_more_sessions(device: Device) {
    let file = convolution().save();
    let model = Model::open(&file.0, &on(device)).unwrap();
    let spec = TensorSpec::yolo(Size::new(64, 64));
    assert!(model.session(&spec).is_ok() && model.session(&spec).is_ok());
    std::fs::write(&file.0, convolution().metadata("more", "words").build()).unwrap();
    let error = model.session(&spec).err().expect("a session was made of another file");
    assert!(error.to_string().contains("changed"), "{error}");
}

fn any_size_is_fed_as_planned(device: Device) {
    let dims = [D::Any("batch"), D::N(3), D::Any("height"), D::Any("width")];
    let model = open(device, &identity(F32, &dims));
    let spec = TensorSpec::yolo(Size::new(6, 2));
    let input = numbers(2 * 36);
    let mut predictor = model.session(&spec).unwrap();
    let outputs = predictor.predict(as_bytes(&input), 2).unwrap();
    assert_eq!(outputs.get("y").unwrap().shape, [2, 3, 2, 6]);
}

fn a_detector_runs_from_file_to_boxes(device: Device) {
    // Two boxes of 8400, in columns: one car at (100, 80) of 40x20, one below the threshold.
    let (columns, rows) = (84, 7);
    let mut out = vec![0.0f32; columns * rows];
    for (row, value) in [100.0, 80.0, 40.0, 20.0, 0.1, 0.8, 0.2].into_iter().enumerate() {
        out[row * columns + 5] = value;
        out[row * columns + 9] = value / 10.0;
    }
    let onnx = Onnx::new()
        .input("images", F32, &[D::N(1), D::N(3), D::N(64), D::N(64)])
        .output("output0", F32, &[D::N(1), D::N(7), D::N(84)])
        .weights("answer", &[1, 7, 84], &out)
        .node("Identity", &["answer"], "output0", &[])
        .metadata("names", "{0: 'person', 1: 'car', 2: 'dog'}")
        .metadata("task", "detect");
    let model = open(device, &onnx);
    let plan = TaskPlan::recognise(model.info(), &TaskOptions::default()).unwrap();
    assert_eq!(plan.family(), "yolov8");
    let mut predictor = model.session(plan.spec()).unwrap();
    let outputs = predictor.predict(as_bytes(&vec![0.0; 3 * 64 * 64]), 1).unwrap();
    let geometry = Geometry::new(Size::new(128, 128), Size::new(64, 64), ResizeMode::Letterbox);
    let found = plan.decode(&outputs, 0, &geometry).unwrap().detections.unwrap();
    assert_eq!(found.len(), 0, "the box lies outside of a 64x64 input");
    let geometry = Geometry::new(Size::new(300, 300), Size::new(600, 600), ResizeMode::Stretch);
    let found = plan.decode(&outputs, 0, &geometry).unwrap().detections.unwrap();
    assert_eq!(found.len(), 1);
    let rect = found[0].rect;
    assert_eq!([rect.x1, rect.y1, rect.x2, rect.y2], [40.0, 35.0, 60.0, 45.0]);
    assert_eq!((found[0].confidence, found[0].class_id), (0.8, 1));
    assert_eq!(plan.labels().name(1), "car");
}

/// `y` is the sum of an image's items and of what came with it: [n, 2] of a size, then one value for all.
fn with_sides() -> Onnx {
    Onnx::new()
        .input("im_shape", F32, &[D::Any("n"), D::N(2)])
        .input("image", F32, &[D::Any("n"), D::N(3), D::Any("h"), D::Any("w")])
        .input("orig_target_sizes", INT64, &[D::Any("n"), D::N(2)])
        .input("threshold", F64, &[])
        .output("sizes", F32, &[D::Any("n"), D::N(2)])
        .output("targets", INT64, &[D::Any("n"), D::N(2)])
        .output("least", F64, &[])
        .output("y", F32, &[D::Any("n"), D::N(3), D::Any("h"), D::Any("w")])
        .node("Identity", &["im_shape"], "sizes", &[])
        .node("Identity", &["orig_target_sizes"], "targets", &[])
        .node("Identity", &["threshold"], "least", &[])
        .node("Identity", &["image"], "y", &[])
}

fn side_inputs_are_fed_whatever_the_batch(device: Device) {
    let file = with_sides().metadata("vidmill.inputs", r#"{"threshold": 0.25}"#).save();
    let model = Model::open(&file.0, &on(device)).unwrap();
    let spec = TensorSpec::yolo(Size::new(5, 4));
    let mut predictor = model.session(&spec).unwrap();
    for batch in [1, 3, 3, 2] {
        let input = numbers(batch * ITEM);
        let outputs = predictor.predict(as_bytes(&input), batch).unwrap();
        assert_eq!(outputs.get("y").unwrap().data, input);
        assert_eq!(outputs.get("sizes").unwrap().data, [4.0, 5.0].repeat(batch));
        assert_eq!(outputs.get("targets").unwrap().data, [5.0, 4.0].repeat(batch));
        assert_eq!(outputs.get("least").unwrap().data, [0.25]);
    }
    let mut tensors = model.tensor_session().unwrap();
    for (height, width) in [(2, 6), (3, 1)] {
        let input = numbers(3 * height * width);
        let outputs = tensors.run(ElementType::F32, &[1, 3, height, width], as_bytes(&input)).unwrap();
        assert_eq!(outputs.get("sizes").unwrap().data, [height as f32, width as f32]);
        assert_eq!(outputs.get("y").unwrap().data, input);
    }
    assert_eq!(model.tensor_input().unwrap().name, "image");
}

fn a_side_input_that_nobody_explains_is_an_error_that_names_it(device: Device) {
    let model = open(device, &with_sides());
    for error in [
        model.session(&TensorSpec::yolo(Size::new(5, 4))).err(),
        TaskPlan::recognise(model.info(), &TaskOptions::default()).err(),
    ] {
        let error = error.expect("something was fed").to_string();
        assert!(error.contains("'threshold'") && error.contains("inputs.threshold"), "{error}");
        assert!(error.contains("'im_shape' f32 [n, 2]"), "{error}");
    }
}
