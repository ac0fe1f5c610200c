//! The house's layers: dependencies point one way, and `unsafe` stays where docs/ARCHITECTURE.md says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names of the workspace's crates, each with the crates of the workspace that it depends on.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let name = |value: &serde_json::Value| value["name"].as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let own: Vec<String> = packages.iter().map(name).collect();
    packages
        .iter()
        .map(|package| {
            let needs = package["dependencies"].as_array().expect("dependencies").iter().map(name);
            (name(package), needs.filter(|need| own.contains(need)).collect())
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("vidmill-image", &[][..]),
        ("vidmill-pool", &[][..]),
        ("vidmill-video", &["vidmill-image"][..]),
        ("vidmill-infer", &["vidmill-image"][..]),
        ("vidmill", &["vidmill-image", "vidmill-infer", "vidmill-pool", "vidmill-video"][..]),
        ("vidmill-cli", &["vidmill"][..]),
        ("vidmill-python", &["vidmill", "vidmill-cli"][..]),
    ]);
    let found = dependencies();
    assert_eq!(
        found.keys().map(String::as_str).collect::<Vec<_>>(),
        allowed.keys().copied().collect::<Vec<_>>()
    );
    for (name, needs) in found {
        for need in needs {
            assert!(allowed[name.as_str()].contains(&need.as_str()), "{name} must not depend on {need}");
        }
    }
}

#[test]
fn unsafe_stays_where_it_is_allowed() {
    let allowed = [
        "vidmill-video/src/ffi/",
        "vidmill-image/src/kernel/",
        "vidmill-image/tests/no_allocation.rs",
        // An allocator that counts, for `vidmill bench`.
        "vidmill-cli/src/allocations.rs",
        "vidmill-infer/src/runtime/onnxruntime/",
        "vidmill-infer/src/runtime/openvino/",
        "vidmill-pool/src/memory.rs",
        "vidmill-pool/src/signals.rs",
        "vidmill-python/src/buffer.rs",
        "vidmill/tests/steady.rs",
    ];
    let mut folders = vec![root().join("crates")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && path != Path::new(file!()) {
                seen += 1;
                let text = std::fs::read_to_string(&path).expect("source text");
                let place = path.to_string_lossy().into_owned();
                let has_unsafe = text.lines().any(|line| {
                    let code = line.split("//").next().unwrap_or_default();
                    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                        .iter()
                        .any(|word| code.contains(word))
                });
                let is_this_test = place.ends_with("tests/layers.rs");
                assert!(
                    !has_unsafe || is_this_test || allowed.iter().any(|part| place.contains(part)),
                    "{place} holds unsafe code"
                );
            }
        }
    }
    assert!(seen > 30, "only {seen} source files were looked at");
}
