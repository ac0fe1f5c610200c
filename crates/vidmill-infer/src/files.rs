//! The files that a model is made of: its own, and those that hold weights for it (ONNX's external data).
//!
//! In: the model's path. Out: what the file says of its graph, one SHA-256 for everything, and a way to tell whether any of
//! it has changed since. Files are read in pieces: their size does not matter.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::Error;
use crate::onnx::{Summary, summarise};

/// A model's files as they were when they were hashed.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The model's own, and then the others, in the order of their names.
    stamps: Vec<(PathBuf, Stamp)>,
    /// See [`crate::ModelInfo::sha256`].
    pub sha256: String,
}

impl Files {
    /// Looks at the model at `path`.
    ///
    /// # Errors
    /// [`Error::Read`] when a file cannot be read; [`Error::Model`] when one that the model names is missing, too short, or
    /// not where a model's files may lie.
    pub(crate) fn look(path: &Path) -> Result<(Self, Summary), Error> {
        let flawed = |reason: String| Error::Model { path: path.to_owned(), reason };
        let own = Stamp::of(path)?;
        if is_lfs_pointer(path, own.bytes) {
            return Err(flawed(format!("it is a pointer of Git LFS, not the model itself; {LFS_REMEDY}")));
        }
        let file = File::open(path).map_err(unreadable(path))?;
        let summary = summarise(file).map_err(unreadable(path))?.unwrap_or_default();
        let mut stamps = vec![(path.to_owned(), own)];
        for (location, &needed) in &summary.external {
            let data = place(path, location).map_err(flawed)?;
            let name = data.display();
            let stamp = Stamp::of(&data).map_err(|error| {
                flawed(format!(
                    "some of its weights are in another file, and {error}; keep the model and '{location}' together, as they \
                     were exported"
                ))
            })?;
            if is_lfs_pointer(&data, stamp.bytes) {
                let reason =
                    format!("{name}, which holds its weights, is a pointer of Git LFS; {LFS_REMEDY}");
                return Err(flawed(reason));
            }
            if stamp.bytes < needed {
                return Err(flawed(format!(
                    "{name}, which holds some of its weights, has {} bytes, and at least {needed} are needed: it was cut, or \
                     is another model's; copy or download it again",
                    stamp.bytes
                )));
            }
            stamps.push((data, stamp));
        }
        let sha256 = hash(&stamps)?;
        Ok((Self { stamps, sha256 }, summary))
    }

    /// The files beside the model's own.
    pub(crate) fn data(&self) -> Vec<PathBuf> {
        self.stamps.iter().skip(1).map(|(path, _)| path.clone()).collect()
    }

    /// Whether all files are still those that were hashed.
    ///
    /// # Errors
    /// [`Error::Model`] with the file that has changed; [`Error::Read`] where it cannot be read any more.
    pub(crate) fn check_unchanged(&self) -> Result<(), Error> {
        for (path, stamp) in &self.stamps {
            if Stamp::of(path)? != *stamp {
                let reason = "the file has changed since it was first opened; start again".to_owned();
                return Err(Error::Model { path: path.clone(), reason });
            }
        }
        Ok(())
    }
}

/// Where the external data called `location` lies: within the model's folder, as ONNX has it, and as ONNX Runtime demands.
fn place(model: &Path, location: &str) -> Result<PathBuf, String> {
    const REMEDY: &str = "export the model with its data beside it (onnx.save_model(model, path, \
                          save_as_external_data=True, location=NAME))";
    // Tensors that some programs keep in memory and save by mistake: their offset is an address.
    if location.starts_with("*/") {
        return Err(format!("some of its weights are in the memory of the program that wrote it; {REMEDY}"));
    }
    let mut depth = 0;
    for part in Path::new(location).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => depth = -1,
        }
        if depth < 0 {
            return Err(format!("it wants weights from '{location}', outside of its own folder; {REMEDY}"));
        }
    }
    if depth == 0 || location.contains('\0') {
        return Err(format!("it wants weights from '{location}', which is no file's name; {REMEDY}"));
    }
    Ok(model.parent().unwrap_or(Path::new("")).join(location))
}

const LFS_REMEDY: &str = "get the file that it stands for by `git lfs pull`";

/// Whether a file is the note that Git leaves in place of a large file (github.com/git-lfs/git-lfs, docs/spec.md).
fn is_lfs_pointer(path: &Path, bytes: u64) -> bool {
    const BEGIN: &[u8] = b"version https://git-lfs.github.com/spec/";
    let mut begin = [0; BEGIN.len()];
    bytes < 1024
        && File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok()
        && begin == BEGIN
}

/// What [`crate::ModelInfo::sha256`] will be of the model at `path`, without loading it.
///
/// # Errors
/// When its files cannot be read.
pub fn sha256_of_model(path: &Path) -> Result<String, Error> {
    Ok(Files::look(path)?.0.sha256)
}

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Of one file its SHA-256; of several the SHA-256 of theirs in hexadecimal, one a line.
fn hash(files: &[(PathBuf, Stamp)]) -> Result<String, Error> {
    let hashes = files.iter().map(|(path, _)| hash_file(path)).collect::<Result<Vec<_>, _>>()?;
    match hashes.as_slice() {
        [one] => Ok(one.clone()),
        several => {
            let lines: String = several.iter().map(|hash| format!("{hash}\n")).collect();
            Ok(hex(&Sha256::digest(lines.as_bytes())))
        }
    }
}

fn hash_file(path: &Path) -> Result<String, Error> {
    const PIECE: usize = 1 << 20;
    let mut file = File::open(path).map_err(unreadable(path))?;
    let (mut sha256, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hex(&sha256.finalize())),
            Ok(bytes) => sha256.update(&piece[..bytes]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(path)(error)),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Read { path: path.to_owned(), source }
}

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(unreadable(path))?;
        Ok(Self { bytes: metadata.len(), modified: metadata.modified().ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_data_lies_in_the_models_folder() {
        let at = |location| place(Path::new("/models/m.onnx"), location);
        assert_eq!(at("m.onnx.data").unwrap(), Path::new("/models/m.onnx.data"));
        assert_eq!(at("./weights/a").unwrap(), Path::new("/models/weights/a"));
        assert!(at("weights/../a").is_ok());
        assert_eq!(place(Path::new("m.onnx"), "d").unwrap(), Path::new("d"));
        for outside in ["/etc/passwd", "../a", "a/../../b", ".."] {
            assert!(at(outside).unwrap_err().contains("outside of its own folder"), "{outside}");
        }
        for nothing in ["", ".", "a/.."] {
            assert!(at(nothing).unwrap_err().contains("no file's name"), "{nothing}");
        }
        assert!(at("*/_ORT_MEM_ADDR_/*").unwrap_err().contains("memory"));
    }
}
