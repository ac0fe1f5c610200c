//! Where a runtime's shared library is.
//!
//! In: what the library is called, an explicit path or none, and the process's surroundings. Out: the first library that loads and is new enough.
//! What was named (a path, a variable) must serve or is an error; what was merely come across and does not serve is
//! passed over, and told if nothing else is found.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Error;

/// What a runtime's library is called.
#[derive(Debug)]
pub struct Names {
    /// The runtime's name for people.
    pub runtime: &'static str,
    /// What file names begin with, such as `libonnxruntime`; the ending and a version follow.
    pub stem: &'static str,
    /// vidmill's own variable that names it.
    pub variable: &'static str,
    /// The command that installs it where it is found.
    pub install: &'static str,
}

/// A library to search for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub names: Names,
    /// Where Python's package has it, below `site-packages`.
    pub package: &'static str,
    /// Another variable that names it.
    pub other_variable: Option<&'static str>,
    /// The oldest version that serves.
    pub needed: fn() -> String,
    /// Whether this version serves.
    pub is_new_enough: fn(&str) -> bool,
    /// The version that a file tells, or why it does not serve.
    pub probe: fn(&Path) -> Result<String, String>,
}

/// How many parents of the working directory and of the executable are searched for `.venv`.
const PARENTS: usize = 4;

/// A library that loads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// As the library itself says, for example "1.32.0".
    pub version: String,
    /// How it was found, for people.
    pub how: String,
}

impl Found {
    /// Whether this library, which the process has loaded, is what `asked` names.
    ///
    /// # Errors
    /// [`Error::RuntimeLoaded`] when it is another one.
    pub(crate) fn check_is(&self, runtime: &'static str, asked: Option<&Path>) -> Result<(), Error> {
        let Some(asked) = asked else { return Ok(()) };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (loaded, wanted) = (real(&self.path), real(asked));
        if wanted == loaded || loaded.parent() == Some(&wanted) {
            return Ok(());
        }
        Err(Error::RuntimeLoaded { runtime, loaded: self.path.clone(), asked: asked.to_owned() })
    }
}

impl Wanted {
    /// Finds the library: `explicit`, then what the variables name, then beside the executable, in the active Python
    /// environment (`VIRTUAL_ENV`, `CONDA_PREFIX`), in a `.venv` of the working directory, of the executable's directory or of
    /// their parents, among Python's packages of the user and the system, and in the system's library directories.
    ///
    /// # Errors
    /// [`Error::RuntimeFile`] or [`Error::RuntimeTooOld`] for a library that was named; [`Error::RuntimeMissing`], with all
    /// places that were searched and the command that installs one, when there is none.
    pub(crate) fn find(&'static self, explicit: Option<&Path>) -> Result<Found, Error> {
        let variables = std::iter::once(self.names.variable).chain(self.other_variable);
        self.find_in(&Surroundings::of_this_process(explicit, variables))
    }

    fn find_in(&'static self, surroundings: &Surroundings) -> Result<Found, Error> {
        if let Some((how, path)) = surroundings.named.first() {
            return self.named(path, how);
        }
        let (mut searched, mut rejected) = (Vec::new(), Vec::new());
        for (how, dir) in surroundings.directories(self.package) {
            for path in self.libraries(&dir) {
                match (self.probe)(&path) {
                    Ok(version) if (self.is_new_enough)(&version) => {
                        return Ok(Found { path, version, how });
                    }
                    Ok(version) => rejected.push(format!(
                        "{}: version {version}, but {} or newer is needed",
                        path.display(),
                        (self.needed)()
                    )),
                    Err(reason) => rejected.push(format!("{}: {reason}", path.display())),
                }
            }
            searched.push(format!("{} ({how})", dir.display()));
        }
        Err(Error::RuntimeMissing { library: &self.names, searched, rejected })
    }

    /// A file, or a directory that holds it, that somebody named.
    fn named(&'static self, path: &Path, how: &str) -> Result<Found, Error> {
        let unusable = |reason: String| Error::RuntimeFile {
            runtime: self.names.runtime,
            path: path.to_owned(),
            how: how.to_owned(),
            reason,
        };
        let file = if path.is_dir() {
            self.libraries(path)
                .into_iter()
                .next()
                .ok_or_else(|| unusable(format!("the directory holds no {}.so", self.names.stem)))?
        } else {
            path.to_owned()
        };
        let version = (self.probe)(&file).map_err(unusable)?;
        if !(self.is_new_enough)(&version) {
            return Err(Error::RuntimeTooOld {
                library: &self.names,
                path: file,
                how: how.to_owned(),
                found: version,
                needed: (self.needed)(),
            });
        }
        Ok(Found { path: file, version, how: how.to_owned() })
    }

    /// The files in `dir` that are named like the library, newest version first.
    fn libraries(&self, dir: &Path) -> Vec<PathBuf> {
        let mut files: Vec<(Vec<u64>, PathBuf)> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((self.file_version(entry.file_name().to_str()?)?, entry.path())))
            .collect();
        files.sort_by(|a, b| b.cmp(a));
        files.into_iter().map(|(_, path)| path).collect()
    }

    /// The numbers in `libonnxruntime.so.1.32.0` or `libonnxruntime.1.32.0.dylib`; none for other files.
    pub(super) fn file_version(&self, name: &str) -> Option<Vec<u64>> {
        let rest = name.strip_prefix(self.names.stem)?.strip_prefix('.')?;
        let numbers = match rest.strip_prefix("so") {
            Some(numbers) => numbers,
            None => rest.strip_suffix("dylib")?,
        };
        numbers.split('.').filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect()
    }
}

/// All of the outside world that the search looks at.
struct Surroundings {
    named: Vec<(String, PathBuf)>,
    executable: Option<PathBuf>,
    environments: Vec<(&'static str, PathBuf)>,
    working: Option<PathBuf>,
    home: Option<PathBuf>,
    prefixes: Vec<PathBuf>,
    library_path: Vec<PathBuf>,
}

impl Surroundings {
    fn of_this_process(explicit: Option<&Path>, variables: impl Iterator<Item = &'static str>) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = |name: &str| variable(name).map(PathBuf::from);
        let mut named: Vec<(String, PathBuf)> =
            explicit.map(|path| ("given".to_owned(), path.to_owned())).into_iter().collect();
        for name in variables {
            named.extend(path(name).map(|path| (format!("variable {name}"), path)));
        }
        Self {
            named,
            executable: std::env::current_exe().ok(),
            environments: ["VIRTUAL_ENV", "CONDA_PREFIX"]
                .into_iter()
                .filter_map(|name| Some((name, path(name)?)))
                .collect(),
            working: std::env::current_dir().ok(),
            home: path("HOME"),
            prefixes: vec![PathBuf::from("/usr/local"), PathBuf::from("/usr")],
            library_path: variable("LD_LIBRARY_PATH")
                .map(|paths: OsString| std::env::split_paths(&paths).collect())
                .unwrap_or_default(),
        }
    }

    /// Directories that may hold the library, in order, with how each was come upon.
    fn directories(&self, package: &str) -> Vec<(String, PathBuf)> {
        let packages = |prefix: &Path| packages(prefix, package);
        let mut found = Vec::new();
        if let Some(beside) = self.executable.as_deref().and_then(Path::parent) {
            found.push(("beside the executable".to_owned(), beside.to_owned()));
            found.push(("beside the executable".to_owned(), beside.join("../lib")));
        }
        for (name, root) in &self.environments {
            found.extend(
                packages(root).into_iter().map(|dir| (format!("active Python environment ({name})"), dir)),
            );
        }
        let starts = [self.working.as_deref(), self.executable.as_deref().and_then(Path::parent)];
        for parent in starts.into_iter().flatten().flat_map(|start| start.ancestors().take(PARENTS + 1)) {
            let environment = parent.join(".venv");
            found.extend(
                packages(&environment)
                    .into_iter()
                    .map(|dir| ("project's Python environment".to_owned(), dir)),
            );
        }
        let user = self.home.as_ref().map(|home| home.join(".local"));
        for prefix in user.iter().chain(&self.prefixes) {
            found.extend(packages(prefix).into_iter().map(|dir| ("Python's packages".to_owned(), dir)));
        }
        found.extend(self.system().into_iter().map(|dir| ("system".to_owned(), dir)));
        let mut seen = Vec::new();
        found.retain(|(_, dir)| {
            !seen.contains(dir) && {
                seen.push(dir.clone());
                true
            }
        });
        found
    }

    fn system(&self) -> Vec<PathBuf> {
        let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
        let mut dirs = self.library_path.clone();
        for prefix in &self.prefixes {
            dirs.extend(["lib", "lib64"].map(|lib| prefix.join(lib)));
            dirs.push(prefix.join("lib").join(&triple));
        }
        dirs
    }
}

/// The directories below a Python prefix that hold the library of a wheel; the usual ones, unless there are
/// others, so that a message can name a place also where nothing is.
fn packages(prefix: &Path, package: &str) -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for lib in ["lib", "lib64"] {
        for entry in std::fs::read_dir(prefix.join(lib)).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("python3") {
                roots.push(entry.path().join("site-packages"));
                roots.push(entry.path().join("dist-packages"));
            }
        }
    }
    roots.sort();
    roots.retain(|root| root.is_dir());
    if roots.is_empty() {
        roots.push(prefix.join("lib/python3*/site-packages"));
    }
    roots.into_iter().map(|root| root.join(package)).collect()
}

/// Refuses an ELF file that is cut short: the dynamic loader maps it all the same, and dies of SIGBUS on the missing pages.
/// (System V ABI, "ELF Header" and "Program Header"; 64-bit little-endian.)
pub(crate) fn check_whole(path: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut file = File::open(path).map_err(text)?;
    let length = file.metadata().map_err(text)?.len();
    if cfg!(not(target_os = "linux")) {
        return Ok(());
    }
    let mut header = [0; 64];
    file.read_exact(&mut header).map_err(|_| "it is no shared library: too short".to_owned())?;
    if header[..4] != *b"\x7fELF" {
        return Err("it is no shared library: no ELF header".to_owned());
    }
    if header[4] != 2 || header[5] != 1 {
        return Err("it is not a 64-bit little-endian library".to_owned());
    }
    let u64_at = |bytes: &[u8], at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice is 8 bytes long"))
    };
    let count = usize::from(u16::from_le_bytes([header[56], header[57]]));
    file.seek(SeekFrom::Start(u64_at(&header, 32))).map_err(text)?;
    for _ in 0..count {
        let mut segment = [0; 56];
        file.read_exact(&mut segment).map_err(|_| "the library file is cut short".to_owned())?;
        let end = u64_at(&segment, 8).checked_add(u64_at(&segment, 32));
        if end.is_none_or(|end| end > length) {
            return Err("the library file is cut short".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::onnxruntime::WANTED;

    fn nowhere() -> Surroundings {
        Surroundings {
            named: Vec::new(),
            executable: None,
            environments: Vec::new(),
            working: None,
            home: None,
            prefixes: Vec::new(),
            library_path: Vec::new(),
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("vidmill-find-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn capi(prefix: &Path) -> PathBuf {
        let dir = prefix.join("lib/python3.11/site-packages/onnxruntime/capi");
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn file_names_are_told_apart() {
        assert_eq!(WANTED.file_version("libonnxruntime.so"), Some(vec![]));
        assert_eq!(WANTED.file_version("libonnxruntime.so.1.32.0"), Some(vec![1, 32, 0]));
        assert_eq!(WANTED.file_version("libonnxruntime.1.32.0.dylib"), Some(vec![1, 32, 0]));
        assert_eq!(WANTED.file_version("libonnxruntime_providers_cuda.so"), None);
        assert_eq!(WANTED.file_version("libonnxruntime.so.old"), None);
        assert_eq!(WANTED.file_version("onnxruntime.so"), None);
    }

    #[test]
    fn the_newest_of_several_files_comes_first() {
        let dir = scratch("newest");
        for name in
            ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.32.0", "libonnxruntime_providers_shared.so"]
        {
            std::fs::write(dir.join(name), b"").unwrap();
        }
        let names: Vec<_> =
            WANTED.libraries(&dir).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["libonnxruntime.so.1.32.0", "libonnxruntime.so.1.9.0"]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn nothing_found_names_the_places_and_the_command() {
        let surroundings = Surroundings {
            working: Some("/nonexistent/a/b".into()),
            prefixes: vec!["/nonexistent/usr".into()],
            ..nowhere()
        };
        let message = WANTED.find_in(&surroundings).unwrap_err().to_string();
        for part in
            ["/nonexistent/a/b/.venv", "/nonexistent/usr/lib", WANTED.names.install, WANTED.names.variable]
        {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }

    #[test]
    fn a_broken_library_come_across_is_told() {
        let dir = scratch("broken");
        let file = capi(&dir.join(".venv")).join("libonnxruntime.so.1.32.0");
        std::fs::write(&file, b"not a library").unwrap();
        let surroundings = Surroundings { working: Some(dir.join("deep/down")), ..nowhere() };
        match WANTED.find_in(&surroundings).unwrap_err() {
            Error::RuntimeMissing { rejected, .. } => {
                assert_eq!(rejected.len(), 1, "{rejected:?}");
                assert!(rejected[0].contains(file.to_str().unwrap()), "{rejected:?}");
            }
            other => panic!("{other}"),
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_named_library_must_serve() {
        let dir = scratch("named");
        let file = dir.join("libonnxruntime.so");
        std::fs::write(&file, b"\x7fELF and no more").unwrap();
        for path in [file.clone(), dir.join("missing.so"), dir.clone(), capi(&dir)] {
            let surroundings = Surroundings { named: vec![("given".into(), path.clone())], ..nowhere() };
            let error = WANTED.find_in(&surroundings).unwrap_err();
            assert!(matches!(&error, Error::RuntimeFile { .. }), "{path:?}: {error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
