//! Sources: what the user names, and the videos and images that are behind it.

pub(crate) mod reader;
pub(crate) mod reading;

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One thing to read frames from, with a ledger of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As the user named it, or as it was found behind a folder, glob or list.
    pub name: Arc<str>,
    /// What is read.
    pub kind: SourceKind,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A file or URL that FFmpeg opens.
    Video(String),
    /// Images that count as the frames of one source, in this order.
    Images(Vec<PathBuf>),
}

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Nothing of that name.
    #[error("source `{0}` does not exist: check the path (quote it if it holds spaces or wildcards)")]
    NotFound(String),
    /// A glob that matches nothing.
    #[error(
        "no file matches `{0}`: check the folder, and quote the pattern so that the shell leaves it alone"
    )]
    NoMatch(String),
    /// A glob that is not one.
    #[error(
        "`{pattern}` is not a valid pattern: {reason}; put wildcards that are part of a name in brackets, as in [*]"
    )]
    Pattern {
        /// As typed.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// A folder without anything to read.
    #[error("folder `{0}` holds no videos or images (known endings: {endings})", endings = known_endings())]
    EmptyFolder(String),
    /// A list file without entries.
    #[error("list file `{0}` names no sources: write one path a line")]
    EmptyList(String),
    /// The operating system refused.
    #[error("cannot read `{path}`: {error}")]
    Io {
        /// What.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

/// Endings of images.
pub(crate) const IMAGES: &[&str] = &["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff"];
const VIDEOS: &[&str] = &[
    "mp4", "mkv", "mov", "avi", "webm", "m4v", "mpg", "mpeg", "ts", "mts", "m2ts", "flv", "wmv", "ogv",
    "3gp", "gif", "mjpeg", "mjpg", "y4m", "h264", "264", "hevc", "265", "ivf", "asf", "vob",
];

fn known_endings() -> String {
    [VIDEOS, IMAGES].concat().join(" ")
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| endings.iter().any(|known| known.eq_ignore_ascii_case(e)))
}

/// Finds the videos and images behind what the user named, in the order named; within a folder or glob, by name.
/// Images that are named singly and stand side by side become one source; so does a folder's every image.
///
/// A name is a file, a folder, a glob, a `.txt` list of names (relative to the list; `#` begins a comment), a URL, or
/// `-` for standard input.
pub fn resolve(names: &[String]) -> Result<Vec<Source>, SourceError> {
    let mut found = Vec::new();
    for name in names {
        resolve_one(name, &mut found)?;
    }
    Ok(join_images(found))
}

fn resolve_one(name: &str, found: &mut Vec<Source>) -> Result<(), SourceError> {
    let path = Path::new(name);
    if name == "-" || name.contains("://") {
        found.push(video(name));
    } else if path.is_dir() {
        found.extend(folder(name, path)?);
    } else if path.exists() {
        if has_ending(path, &["txt"]) {
            found.extend(list(name, path)?);
        } else {
            found.push(file(path));
        }
    } else if name.contains(['*', '?', '[']) {
        found.extend(matches(name)?);
    } else {
        return Err(SourceError::NotFound(name.to_owned()));
    }
    Ok(())
}

fn video(name: &str) -> Source {
    Source { name: name.into(), kind: SourceKind::Video(name.to_owned()) }
}

fn file(path: &Path) -> Source {
    let name = path.to_string_lossy();
    if has_ending(path, IMAGES) {
        Source { name: name.as_ref().into(), kind: SourceKind::Images(vec![path.to_owned()]) }
    } else {
        video(&name)
    }
}

fn folder(name: &str, path: &Path) -> Result<Vec<Source>, SourceError> {
    let io = |error| SourceError::Io { path: name.to_owned(), error };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_file() && (has_ending(&path, IMAGES) || has_ending(&path, VIDEOS)) {
            paths.push(path);
        }
    }
    paths.sort();
    let (images, videos): (Vec<_>, Vec<_>) = paths.into_iter().partition(|p| has_ending(p, IMAGES));
    if images.is_empty() && videos.is_empty() {
        return Err(SourceError::EmptyFolder(name.to_owned()));
    }
    let mut sources: Vec<Source> = videos.iter().map(|p| file(p)).collect();
    if !images.is_empty() {
        sources.push(Source { name: name.into(), kind: SourceKind::Images(images) });
    }
    Ok(sources)
}

fn matches(pattern: &str) -> Result<Vec<Source>, SourceError> {
    let paths = glob::glob(pattern)
        .map_err(|e| SourceError::Pattern { pattern: pattern.to_owned(), reason: e.msg.to_owned() })?;
    let mut found = Vec::new();
    for path in paths {
        let path =
            path.map_err(|e| SourceError::Io { path: e.path().display().to_string(), error: e.into() })?;
        if path.is_file() {
            found.push(file(&path));
        }
    }
    if found.is_empty() { Err(SourceError::NoMatch(pattern.to_owned())) } else { Ok(found) }
}

fn list(name: &str, path: &Path) -> Result<Vec<Source>, SourceError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| SourceError::Io { path: name.to_owned(), error })?;
    let base = path.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for line in text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let is_absolute = line.contains("://") || line == "-" || Path::new(line).is_absolute();
        let entry =
            if is_absolute { line.to_owned() } else { base.join(line).to_string_lossy().into_owned() };
        if has_ending(Path::new(&entry), &["txt"]) {
            // A list within a list could go round in circles; what is not a source cannot be one.
            return Err(SourceError::NotFound(entry));
        }
        resolve_one(&entry, &mut found)?;
    }
    if found.is_empty() { Err(SourceError::EmptyList(name.to_owned())) } else { Ok(found) }
}

fn join_images(sources: Vec<Source>) -> Vec<Source> {
    let mut joined: Vec<Source> = Vec::with_capacity(sources.len());
    for source in sources {
        let joins = is_single_image(&source) && joined.last().is_some_and(is_single_image);
        match (joined.last_mut().map(|s| &mut s.kind), source.kind) {
            (Some(SourceKind::Images(images)), SourceKind::Images(more)) if joins => images.extend(more),
            (_, kind) => joined.push(Source { name: source.name, kind }),
        }
    }
    joined
}

/// Whether the source began as an image named by itself: a folder has another name than its images.
fn is_single_image(source: &Source) -> bool {
    match &source.kind {
        SourceKind::Images(images) => {
            images.first().is_some_and(|path| path.to_string_lossy() == *source.name)
        }
        SourceKind::Video(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        folder
    }

    fn kinds(sources: &[Source]) -> Vec<String> {
        let file_name = |p: &Path| p.file_name().unwrap().to_string_lossy().into_owned();
        sources
            .iter()
            .map(|s| match &s.kind {
                SourceKind::Video(url) => file_name(Path::new(url)),
                SourceKind::Images(paths) => {
                    format!("[{}]", paths.iter().map(|p| file_name(p)).collect::<Vec<_>>().join(" "))
                }
            })
            .collect()
    }

    #[test]
    fn a_folder_gives_its_videos_then_its_images_by_name() {
        let folder = files(&["b.MP4", "a.mkv", "2.png", "1.jpg", "notes.md"]);
        let name = folder.path().to_string_lossy().into_owned();
        assert_eq!(kinds(&resolve(&[name]).unwrap()), ["a.mkv", "b.MP4", "[1.jpg 2.png]"]);
    }

    #[test]
    fn globs_lists_and_neighbouring_images() {
        let folder = files(&["a.mp4", "b.mp4", "1.jpg", "2.jpg"]);
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        assert_eq!(kinds(&resolve(&[at("*.mp4")]).unwrap()), ["a.mp4", "b.mp4"]);
        assert_eq!(
            kinds(&resolve(&[at("2.jpg"), at("1.jpg"), at("a.mp4")]).unwrap()),
            ["[2.jpg 1.jpg]", "a.mp4"]
        );
        std::fs::write(at("list.txt"), "# mine\nb.mp4\n\n1.jpg\n").unwrap();
        assert_eq!(kinds(&resolve(&[at("list.txt")]).unwrap()), ["b.mp4", "[1.jpg]"]);
    }

    #[test]
    fn folders_of_images_stay_sources_of_their_own() {
        let (a, b) = (files(&["1.jpg"]), files(&["2.jpg", "3.jpg"]));
        let names = [&a, &b].map(|folder| folder.path().to_string_lossy().into_owned());
        let found = resolve(&names).unwrap();
        assert_eq!(kinds(&found), ["[1.jpg]", "[2.jpg 3.jpg]"]);
        assert_eq!(found.iter().map(|s| s.name.to_string()).collect::<Vec<_>>(), names);
    }

    #[test]
    fn a_file_with_wildcards_in_its_name_is_that_file() {
        let folder = files(&["take[1].mp4"]);
        let name = folder.path().join("take[1].mp4").to_string_lossy().into_owned();
        assert_eq!(kinds(&resolve(&[name]).unwrap()), ["take[1].mp4"]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = files(&["empty.txt"]);
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        assert!(
            matches!(resolve(&["nowhere.mp4".into()]), Err(SourceError::NotFound(n)) if n == "nowhere.mp4")
        );
        assert!(matches!(resolve(&[at("*.mp4")]), Err(SourceError::NoMatch(_))));
        assert!(matches!(resolve(&[at("")]), Err(SourceError::EmptyFolder(_))));
        std::fs::write(at("empty.txt"), "# nothing\n").unwrap();
        assert!(matches!(resolve(&[at("empty.txt")]), Err(SourceError::EmptyList(_))));
    }
}
