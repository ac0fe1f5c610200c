//! Files that are no models, or no longer: an error that names the file, never a crash.

#![allow(clippy::unwrap_used, reason = "a suite is made of tests")]

mod common;

use common::{D, F32, File, Onnx, Random, as_bytes, on, on_every_runtime};
use vidmill_infer::{Device, Error, LoadOptions, Model, TaskOptions, TaskPlan};

on_every_runtime! {
    the_detector_itself_is_sound,
    files_that_are_no_models,
    truncated_models,
    two_hundred_mutations,
    outputs_that_are_no_tensors_are_refused,
}

/// A detector of 84 boxes that depends on its input, with metadata and weights to spoil.
fn detector() -> Onnx {
    let weights: Vec<f32> = (0..9 * 3 * 8 * 8).map(|n| n as f32 / 2000.0).collect();
    Onnx::new()
        .input("images", F32, &[D::Any("batch"), D::N(3), D::N(64), D::N(64)])
        .output("maps", F32, &[D::Any("batch"), D::N(9), D::N(57), D::N(57)])
        .weights("w", &[9, 3, 8, 8], &weights)
        .node("Conv", &["images", "w"], "raw", &[])
        .node("Sigmoid", &["raw"], "maps", &[])
        .metadata("names", "{0: 'person', 1: 'car'}")
        .metadata("imgsz", "[64, 64]")
        .metadata("vidmill.color", "rgb")
}

/// Opens, plans and runs as far as it goes; errors must say something.
fn try_out(device: Device, bytes: &[u8]) -> &'static str {
    let file = File::with(bytes);
    let model = match Model::open(&file.0, &LoadOptions { threads: 1, ..on(device) }) {
        Ok(model) => model,
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains(&*file.0.to_string_lossy()), "the file is not named: {message}");
            return "refused";
        }
    };
    let options = TaskOptions { task: Some("yolov8".to_owned()), ..TaskOptions::default() };
    let Ok(plan) = TaskPlan::recognise(model.info(), &TaskOptions::default())
        .or_else(|_| TaskPlan::recognise(model.info(), &options))
    else {
        let spec = vidmill_image::TensorSpec::yolo(vidmill_image::Size::new(64, 64));
        if let Ok(mut predictor) = model.session(&spec) {
            let _ = predictor.predict(as_bytes(&vec![0.5; spec.item_bytes() / 4]), 1);
        }
        return "not recognised";
    };
    if plan.spec().item_bytes() < 1 << 20
        && let Ok(mut predictor) = model.session(plan.spec())
    {
        let _ = predictor.predict(as_bytes(&vec![0.5; plan.spec().item_bytes() / 4]), 1);
    }
    "planned"
}

fn the_detector_itself_is_sound(device: Device) {
    assert_eq!(try_out(device, &detector().build()), "not recognised");
}

fn files_that_are_no_models(device: Device) {
    for bytes in [b"".as_slice(), b"\0", b"hello", b"\x89PNG\r\n\x1a\n", &[0xff; 4096], &[0; 4096]] {
        let outcome = try_out(device, bytes);
        assert_eq!(outcome, "refused", "{:?}", &bytes[..bytes.len().min(8)]);
    }
    let missing = Model::open("/nonexistent/m.onnx".as_ref(), &on(device)).unwrap_err();
    assert!(matches!(missing, Error::Read { .. }), "{missing}");
    assert!(matches!(Model::open(&std::env::temp_dir(), &on(device)), Err(Error::Read { .. })));
}

fn truncated_models(device: Device) {
    let whole = detector().build();
    let mut random = Random(11);
    for _ in 0..60 {
        try_out(device, &whole[..random.below(whole.len())]);
    }
}

fn two_hundred_mutations(device: Device) {
    let whole = detector().build();
    let mut random = Random(2026);
    let mut outcomes = std::collections::BTreeMap::new();
    for round in 0..200 {
        let mut bytes = whole.clone();
        // The structure takes a small part of the file, so most hits go there.
        let end = if round % 4 == 0 { bytes.len() } else { 120.min(bytes.len()) };
        for _ in 0..=random.below(4) {
            let at = if round % 2 == 0 { random.below(end) } else { bytes.len() - 1 - random.below(end) };
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.next() as u8),
            }
        }
        *outcomes.entry(try_out(device, &bytes)).or_insert(0) += 1;
    }
    assert!(outcomes["refused"] > 50, "the mutations hit nothing: {outcomes:?}");
    assert!(outcomes["not recognised"] > 5, "no mutant loads: {outcomes:?}");
}

fn outputs_that_are_no_tensors_are_refused(device: Device) {
    let onnx = detector().raw_output(&common::nested_sequence("list"));
    let file = onnx.save();
    let error = Model::open(&file.0, &on(device)).unwrap_err();
    assert!(error.to_string().contains("'list' is not a tensor"), "{error}");
}
