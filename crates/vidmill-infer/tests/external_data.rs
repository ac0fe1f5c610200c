//! Models whose weights lie in other files.

#![allow(clippy::unwrap_used, reason = "a suite is made of tests")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{D, F32, Folder, Onnx, as_bytes, on, on_every_runtime};
use vidmill_image::{Size, TensorSpec};
use vidmill_infer::{Device, Model};

on_every_runtime! {
    a_model_runs_with_weights_from_beside_it,
    the_hash_covers_all_files_as_it_is_told,
    data_that_changes_under_a_model_gives_no_more_sessions,
    missing_and_cut_data_is_named_with_the_remedy,
    data_outside_of_the_models_folder_is_refused,
    a_model_may_be_a_link_with_its_data_linked_beside_it,
}

const IMAGE: [D; 4] = [D::N(1), D::N(3), D::N(2), D::N(2)];
const ITEM: usize = 12;

/// `y = x + a + b`, where a and b lie in files of these names.
fn model(a: &str, b: &str) -> Onnx {
    Onnx::new()
        .input("x", F32, &IMAGE)
        .output("y", F32, &IMAGE)
        .external_weights("a", &[1, 3, 2, 2], a, 4096)
        .external_weights("b", &[1, 3, 2, 2], b, 0)
        .node("Add", &["x", "a"], "t", &[])
        .node("Add", &["t", "b"], "y", &[])
}

/// The model in a folder, with its files.
fn saved() -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.0.join("m.onnx"), model("m.onnx.data", "more/b.bin").build())
        .expect("the folder can be written");
    let mut data = vec![0xff; 4096];
    data.extend(as_bytes(&[1.0; ITEM]));
    std::fs::write(folder.0.join("m.onnx.data"), data).expect("the folder can be written");
    std::fs::create_dir(folder.0.join("more")).expect("the folder can be written");
    std::fs::write(folder.0.join("more/b.bin"), as_bytes(&[10.0; ITEM])).expect("the folder can be written");
    folder
}

fn open(device: Device, path: &Path) -> Result<Model, String> {
    Model::open(path, &on(device)).map_err(|error| error.to_string())
}

fn a_model_runs_with_weights_from_beside_it(device: Device) {
    let folder = saved();
    let model = open(device, &folder.0.join("m.onnx")).unwrap();
    assert_eq!(model.info().data, [folder.0.join("m.onnx.data"), folder.0.join("more/b.bin")]);
    let mut predictor = model.session(&TensorSpec::yolo(Size::new(2, 2))).unwrap();
    let outputs = predictor.predict(as_bytes(&[0.5; ITEM]), 1).unwrap();
    assert_eq!(outputs.get("y").unwrap().data, [11.5; ITEM]);
}

fn the_hash_covers_all_files_as_it_is_told(device: Device) {
    let folder = saved();
    let hash = || open(device, &folder.0.join("m.onnx")).unwrap().info().sha256.clone();
    let before = hash();
    let told = Command::new("sh")
        .args(["-c", "sha256sum m.onnx m.onnx.data more/b.bin | cut -d' ' -f1 | sha256sum"])
        .current_dir(&folder.0)
        .output()
        .unwrap();
    assert!(String::from_utf8(told.stdout).unwrap().starts_with(&before));
    std::fs::write(folder.0.join("more/b.bin"), as_bytes(&[11.0; ITEM])).unwrap();
    assert_ne!(hash(), before);
}

fn data_that_changes_under_a_model_gives_no_more_sessions(device: Device) {
    let folder = saved();
    let model = open(device, &folder.0.join("m.onnx")).unwrap();
    let spec = TensorSpec::yolo(Size::new(2, 2));
    assert!(model.session(&spec).is_ok() && model.session(&spec).is_ok());
    std::fs::write(folder.0.join("more/b.bin"), as_bytes(&[11.0; ITEM + 1])).unwrap();
    let error = model.session(&spec).err().expect("a session was made of other weights").to_string();
    assert!(error.contains("b.bin") && error.contains("changed"), "{error}");
}

fn missing_and_cut_data_is_named_with_the_remedy(device: Device) {
    let folder = saved();
    let path = folder.0.join("m.onnx");
    let data = folder.0.join("m.onnx.data");
    let whole = std::fs::read(&data).unwrap();
    std::fs::write(&data, &whole[..whole.len() - 1]).unwrap();
    let error = open(device, &path).unwrap_err();
    assert!(error.contains("m.onnx.data") && error.contains("4143 bytes, and at least 4144"), "{error}");
    std::fs::write(&data, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4144\n").unwrap();
    let error = open(device, &path).unwrap_err();
    assert!(error.contains("m.onnx.data") && error.contains("git lfs pull"), "{error}");
    std::fs::remove_file(&data).unwrap();
    let error = open(device, &path).unwrap_err();
    assert!(error.contains("m.onnx.data") && error.contains("keep the model and"), "{error}");
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4144\n").unwrap();
    assert!(open(device, &path).unwrap_err().contains("git lfs pull"));
}

fn data_outside_of_the_models_folder_is_refused(device: Device) {
    let folder = saved();
    let inner = folder.0.join("inner");
    std::fs::create_dir(&inner).unwrap();
    let path = inner.join("m.onnx");
    let absolute = folder.0.join("m.onnx.data");
    for outside in ["../m.onnx.data", absolute.to_str().unwrap()] {
        std::fs::write(&path, model(outside, "b.bin").build()).unwrap();
        let error = open(device, &path).unwrap_err();
        assert!(error.contains(outside) && error.contains("outside of its own folder"), "{error}");
    }
}

fn a_model_may_be_a_link_with_its_data_linked_beside_it(device: Device) {
    let (folder, links) = (saved(), Folder::new());
    for (link, file) in [("m.onnx", "m.onnx"), ("m.onnx.data", "m.onnx.data"), ("more", "more")] {
        std::os::unix::fs::symlink(folder.0.join(file), links.0.join(link)).unwrap();
    }
    let model = open(device, &links.0.join("m.onnx")).unwrap();
    let mut predictor = model.session(&TensorSpec::yolo(Size::new(2, 2))).unwrap();
    let outputs = predictor.predict(as_bytes(&[0.5; ITEM]), 1).unwrap();
    assert_eq!(outputs.get("y").unwrap().data, [11.5; ITEM]);
}
