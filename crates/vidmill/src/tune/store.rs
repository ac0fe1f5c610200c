//! What was found for a model on a machine, kept for later runs.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vidmill_infer::sha256_of_model;

use super::Report;

/// Names the folder that results are kept in, in place of the user's cache.
pub const CACHE_VARIABLE: &str = "VIDMILL_CACHE";

/// What a result is valid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// vidmill's version.
    pub vidmill: String,
    /// Of the model, as the manifest has it.
    pub model_sha256: String,
    /// The machine.
    pub machine: Machine,
}

/// What of a machine decides how fast a model is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name, as the system tells it.
    pub cpu: String,
    /// SHA-256 of the list of its instruction sets: machines of one name may differ in it.
    pub instruction_sets: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Names of NVIDIA GPUs.
    pub gpus: Vec<String>,
}

/// A result as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tuned {
    /// What it is valid for.
    pub key: Key,
    /// All that was tried, and what was best.
    pub report: Report,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let told = |names: &[&str]| {
            let line = text.lines().find(|line| names.iter().any(|name| line.starts_with(name)))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        Self {
            cpu: told(&["model name", "Model", "CPU part"])
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            instruction_sets: vidmill_infer::sha256(
                told(&["flags", "Features"]).unwrap_or_default().as_bytes(),
            ),
            cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            gpus: gpus(),
        }
    }
}

/// NVIDIA's driver lists its GPUs as files.
fn gpus() -> Vec<String> {
    let folders = fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    let name = |folder: fs::DirEntry| {
        let text = fs::read_to_string(folder.path().join("information")).ok()?;
        Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
    };
    let mut names: Vec<String> = folders.filter_map(name).collect();
    names.sort();
    names
}

impl Tuned {
    /// Where the result for a model stands.
    fn path(model_sha256: &str) -> Option<PathBuf> {
        Some(folder()?.join(format!("{model_sha256}.json")))
    }

    /// What is kept for `model` on this machine, by this version of vidmill; of anything else there is nothing.
    pub fn find(model: &Path) -> Option<Self> {
        // Models are large: no need to read one where nothing is kept.
        folder()?.read_dir().ok()?.flatten().next()?;
        let sha256 = sha256_of_model(model).ok()?;
        let path = Self::path(&sha256)?;
        let text = fs::read(&path).ok()?;
        match serde_json::from_slice::<Self>(&text) {
            Ok(tuned) if tuned.key == (Key { machine: Machine::this(), ..Key::of(sha256) }) => Some(tuned),
            Ok(_) => {
                tracing::debug!(path = %path.display(), "tuned on another machine, or by another vidmill");
                None
            }
            Err(error) => {
                tracing::warn!("{} is not used: {error}; tune again", path.display());
                None
            }
        }
    }

    /// Keeps it; in place of what was kept for the model before. The path of the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self) -> io::Result<PathBuf> {
        let no_folder = || io::Error::other(format!("there is no home folder; name one in {CACHE_VARIABLE}"));
        let path = Self::path(&self.key.model_sha256).ok_or_else(no_folder)?;
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(named)?;
        let draft = path.with_extension(format!("json.{}", std::process::id()));
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).map_err(|error| {
            // What is left of the draft is of no use to anyone.
            let _ = fs::remove_file(&draft);
            named(error)
        })?;
        Ok(path)
    }
}

impl Key {
    /// For this version of vidmill on this machine.
    pub fn of(model_sha256: String) -> Self {
        Self { vidmill: env!("CARGO_PKG_VERSION").to_owned(), model_sha256, machine: Machine::this() }
    }
}

/// The folder of results.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set(CACHE_VARIABLE);
    let cache = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Some(own.or_else(|| Some(cache()?.join("vidmill")))?.join("tune"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_is_the_same_each_time() {
        let machine = Machine::this();
        assert!(!machine.cpu.is_empty() && machine.cores > 0);
        assert_eq!(machine.instruction_sets.len(), 64);
        assert_eq!(machine, Machine::this());
    }
}
