//! Where results go: one file for everything, or a folder with one file per source; and the same for annotated video.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vidmill_video::Probe;

use crate::annotate::{Annotator, picture_path};
use crate::error::RunError;
use crate::manifest::Manifest;
use crate::record::Record;
use crate::resume::Resumed;
use crate::sink::{self, Format, NOWHERE, STANDARD_OUTPUT, Sink, SinkError};
use crate::source::{Source, SourceKind};
use crate::stage::{Clocks, Stage};

/// What the user asked to be written.
#[derive(Clone, Debug)]
pub struct OutputOptions {
    /// Results: a file, a folder, `-` for standard output, or [`NOWHERE`].
    pub out: PathBuf,
    /// Annotated video or pictures: a file or a folder.
    pub annotate: Option<PathBuf>,
    /// Format of results in a folder.
    pub folder_format: Format,
}

/// Which outputs there are to be.
pub(crate) struct Plan {
    sources: Vec<SourcePlan>,
    /// Where all records go; a folder where each source has its own.
    out: PathBuf,
    to_folder: bool,
    folders: Vec<PathBuf>,
}

/// What is drawn of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Annotates {
    Nothing,
    Video,
    Pictures,
}

/// Takes every record as it is written.
pub(crate) type Tap = Box<dyn FnMut(&Record)>;

/// Everything that is open for writing.
pub(crate) struct Outputs {
    plan: Plan,
    resumed: Arc<Resumed>,
    class_names: Arc<[String]>,
    /// Keypoints that are joined by lines where they are drawn.
    bones: Arc<[[usize; 2]]>,
    /// One sink for all sources; without it, each source has its own.
    shared: Option<Box<dyn Sink>>,
    open: BTreeMap<usize, Open>,
    tap: Option<Tap>,
    annotation_error: Option<vidmill_video::Error>,
    /// The sources that this is so of.
    failed_to_draw: BTreeSet<usize>,
    clocks: Arc<Clocks>,
}

/// What is open for a source whose records are coming.
struct Open {
    sink: Option<Box<dyn Sink>>,
    annotator: Option<Annotator>,
}

/// Where one source's outputs go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SourcePlan {
    records: Option<PathBuf>,
    annotated: Option<AnnotatedPath>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum AnnotatedPath {
    Video(PathBuf),
    Folder(PathBuf),
    Image(PathBuf),
}

impl Plan {
    /// Plans all outputs, and touches nothing. `others` are files that are read beside the sources, and not to be overwritten
    /// either.
    pub fn new(options: &OutputOptions, sources: &[Source], others: &[PathBuf]) -> Result<Self, RunError> {
        let to_folder = is_folder(&options.out, sources.len());
        let names = output_names(sources);
        let mut folders = Vec::new();
        let annotated = plan_annotated(options, sources, &names, &mut folders)?;
        let records = names.iter().map(|name| {
            to_folder.then(|| options.out.join(format!("{name}.{}", ending(options.folder_format))))
        });
        let plan: Vec<SourcePlan> =
            records.zip(annotated).map(|(records, annotated)| SourcePlan { records, annotated }).collect();
        refuse_overwriting(&plan, options, sources, others)?;
        let plan = Self { sources: plan, out: options.out.clone(), to_folder, folders };
        if let Some(path) = plan.shared() {
            match Format::of(path)? {
                Format::Coco if sources.len() > 1 => return Err(RunError::SharedCoco(path.to_owned())),
                Format::Mot if sources.len() > 1 => return Err(RunError::SharedMot(path.to_owned())),
                _ => {}
            }
        }
        Ok(plan)
    }

    /// The file of records that all sources share, if they do.
    pub fn shared(&self) -> Option<&Path> {
        (!self.to_folder && is_file(&self.out)).then_some(&self.out)
    }

    /// The source's own file of records, if it has one.
    pub fn records(&self, number: usize) -> Option<&Path> {
        self.sources.get(number)?.records.as_deref()
    }

    /// What is drawn of a source.
    pub fn annotates(&self, number: usize) -> Annotates {
        match self.sources.get(number).and_then(|source| source.annotated.as_ref()) {
            None => Annotates::Nothing,
            Some(AnnotatedPath::Video(_)) => Annotates::Video,
            Some(AnnotatedPath::Folder(_) | AnnotatedPath::Image(_)) => Annotates::Pictures,
        }
    }

    /// Whether frames must be kept for drawing.
    pub fn wants_frames(&self) -> bool {
        self.sources.iter().any(|source| source.annotated.is_some())
    }

    /// What finished outputs no longer need is removed.
    pub fn clear(&self) -> Result<(), SinkError> {
        let own = (0..self.sources.len()).filter_map(|number| self.records(number));
        self.shared().into_iter().chain(own).try_for_each(sink::clear)
    }
}

impl Outputs {
    /// Opens what can be opened before any work is done, and keeps of it what is gone on with.
    pub fn open(
        plan: Plan,
        resumed: Arc<Resumed>,
        class_names: Arc<[String]>,
        bones: Arc<[[usize; 2]]>,
        clocks: Arc<Clocks>,
        tap: Option<Tap>,
    ) -> Result<Self, RunError> {
        // A run that is killed right when a source is done may leave what that needs no more.
        let done = (0..plan.sources.len()).filter(|number| resumed.is_done(*number));
        done.filter_map(|number| plan.records(number)).try_for_each(sink::clear)?;
        plan.folders.iter().try_for_each(|folder| make_folder(folder))?;
        let shared = if plan.to_folder {
            make_folder(&plan.out)?;
            None
        } else if plan.out.as_os_str() == NOWHERE {
            None
        } else {
            Some(open_sink(&plan.out, &class_names, resumed.shared_bytes())?)
        };
        Ok(Self {
            plan,
            resumed,
            class_names,
            bones,
            shared,
            open: BTreeMap::new(),
            tap,
            annotation_error: None,
            failed_to_draw: BTreeSet::new(),
            clocks,
        })
    }

    /// Opens what belongs to source `number`.
    pub fn begin_source(&mut self, number: usize, probe: Option<&Probe>) -> Result<(), RunError> {
        let SourcePlan { records, annotated } = &self.plan.sources[number];
        let rate = probe.and_then(|p| p.average_frame_rate);
        let kept = self.resumed.own_bytes(number);
        let open = |path: &PathBuf| open_sink(path, &self.class_names, kept);
        let sink = records.as_ref().map(open).transpose()?;
        let annotator = match annotated.clone() {
            None => None,
            Some(AnnotatedPath::Video(path)) => Some(Annotator::video(path, rate)?),
            Some(AnnotatedPath::Folder(path)) => Some(Annotator::folder(path)),
            Some(AnnotatedPath::Image(path)) => Some(Annotator::image(path)),
        };
        let annotator = annotator.map(|annotator| annotator.with_bones(Arc::clone(&self.bones)));
        self.open.insert(number, Open { sink, annotator });
        Ok(())
    }

    /// Writes one record of source `number`, and the frame it belongs to where frames are drawn. When drawing fails, records go on;
    /// the failure is told at the end.
    pub fn write(
        &mut self,
        number: usize,
        record: &Record,
        frame: Option<&vidmill_video::Frame>,
    ) -> Result<(), RunError> {
        let Self { shared, open, clocks, .. } = self;
        let own = open.get_mut(&number).and_then(|open| open.sink.as_mut());
        if let Some(sink) = own.or(shared.as_mut()) {
            clocks.time(Stage::Write, || sink.write(record))?;
        }
        if let Some(frame) = frame {
            self.draw(number, record, frame);
        }
        if let Some(tap) = &mut self.tap {
            tap(record);
        }
        Ok(())
    }

    /// Draws a record that is written already on its frame.
    pub fn draw(&mut self, number: usize, record: &Record, frame: &vidmill_video::Frame) {
        if let Some(annotator) = self.open.get_mut(&number).and_then(|open| open.annotator.as_mut()) {
            let drawn = self.clocks.time(Stage::Annotate, || annotator.write(record, frame));
            self.note_annotation(number, drawn);
        }
    }

    /// How long the output of source `number` is, up to the last flush; `None` where it cannot be gone on with.
    pub fn position(&self, number: usize) -> Option<u64> {
        let own = self.open.get(&number).and_then(|open| open.sink.as_ref());
        own.or(self.shared.as_ref())?.position()
    }

    /// Whether the source's annotated video, or that of one whose records go to the same output, ended before its time: it is whole
    /// only when all of it is drawn again.
    pub fn has_failed_to_draw(&self, number: usize) -> bool {
        match self.plan.records(number) {
            Some(_) => self.failed_to_draw.contains(&number),
            None => !self.failed_to_draw.is_empty(),
        }
    }

    /// Whether that is so of the output of records that all sources share.
    pub fn has_failed_to_draw_for_all(&self) -> bool {
        self.shared.is_some() && !self.failed_to_draw.is_empty()
    }

    /// The first failure is kept, and ends the source's annotation.
    fn note_annotation(&mut self, number: usize, result: Result<(), vidmill_video::Error>) {
        if let Err(error) = result {
            tracing::error!(%error, "the annotated video ends here; records go on");
            if let Some(open) = self.open.get_mut(&number) {
                open.annotator = None;
            }
            self.annotation_error.get_or_insert(error);
            self.failed_to_draw.insert(number);
        }
    }

    /// Lets everything written so far leave this process.
    pub fn flush(&mut self) -> Result<(), RunError> {
        let Self { shared, open, clocks, .. } = self;
        let own = open.values_mut().filter_map(|open| open.sink.as_mut());
        own.chain(shared.as_mut()).try_for_each(|sink| clocks.time(Stage::Write, || sink.flush()))?;
        Ok(())
    }

    /// Closes what belongs to source `number`.
    pub fn end_source(&mut self, number: usize) -> Result<(), RunError> {
        let Some(Open { sink, annotator }) = self.open.remove(&number) else { return Ok(()) };
        // Both are closed, whatever becomes of the first.
        let closed = sink.map_or(Ok(()), Sink::suspend);
        self.note_annotation(number, annotator.map_or(Ok(()), Annotator::finish));
        Ok(closed?)
    }

    /// Closes everything that is still open.
    pub fn finish(&mut self) -> Result<(), RunError> {
        let open: Vec<usize> = self.open.keys().copied().collect();
        // All are closed, whatever becomes of one.
        let closed: Vec<_> = open.into_iter().map(|number| self.end_source(number)).collect();
        let ended = closed.into_iter().collect::<Result<(), _>>();
        self.shared.take().map_or(Ok(()), Sink::suspend)?;
        ended?;
        self.annotation_error.take().map_or(Ok(()), |error| Err(RunError::Annotate(error)))
    }

    /// Writes the manifest beside the output that all sources share, or beside each source's own.
    pub fn write_manifests(&self, manifest: &Manifest) -> Result<(), SinkError> {
        if let Some(path) = self.plan.shared() {
            return write_manifest(manifest.clone(), path);
        }
        (0..manifest.sources.len()).try_for_each(|number| self.write_manifest_of(manifest, number))
    }

    /// Writes the manifest while the run goes on: of the sources that are open, where each has its own.
    pub fn write_manifest_in_between(&self, manifest: &Manifest) -> Result<(), SinkError> {
        match self.plan.shared() {
            Some(path) => write_manifest(manifest.clone(), path),
            None => self.open.keys().try_for_each(|&number| self.write_manifest_of(manifest, number)),
        }
    }

    /// Writes the manifest of source `number` beside its own output of records; beside its annotated video where
    /// records went to standard output. What an earlier run was done with keeps the manifest of that.
    pub fn write_manifest_of(&self, manifest: &Manifest, number: usize) -> Result<(), SinkError> {
        if self.plan.shared().is_some() || self.resumed.is_done(number) {
            return Ok(());
        }
        let plan = self.plan.sources.get(number);
        let path = plan.and_then(|plan| plan.records.as_deref().or(plan.annotated_file()));
        match (path, manifest.only(number)) {
            (Some(path), Some(manifest)) => write_manifest(manifest, path),
            _ => Ok(()),
        }
    }
}

/// Writes a manifest beside its output. Only when that says that there is nothing left to do, goes what it takes to go on.
fn write_manifest(mut manifest: Manifest, output: &Path) -> Result<(), SinkError> {
    if manifest.checkpoint.is_some() {
        return manifest.write_beside(output);
    }
    manifest.bytes = std::fs::metadata(output).ok().map(|metadata| metadata.len());
    manifest.write_beside(output)?;
    sink::clear(output)
}

fn open_sink(path: &Path, class_names: &[String], kept: Option<u64>) -> Result<Box<dyn Sink>, SinkError> {
    match kept {
        Some(bytes) => sink::go_on(path, class_names, bytes),
        None => sink::create(path, class_names),
    }
}

impl SourcePlan {
    fn annotated_file(&self) -> Option<&Path> {
        match self.annotated.as_ref()? {
            AnnotatedPath::Video(path) | AnnotatedPath::Image(path) => Some(path),
            AnnotatedPath::Folder(_) => None,
        }
    }
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.records.as_deref().into_iter().chain(self.annotated_file())
    }
}

fn ending(format: Format) -> &'static str {
    match format {
        Format::Jsonl => "jsonl",
        Format::Csv => "csv",
        Format::Coco => "json",
        Format::Parquet => "parquet",
        Format::Mot => "txt",
    }
}

/// Whether a name is that of a file or folder at all.
fn is_file(path: &Path) -> bool {
    ![STANDARD_OUTPUT, NOWHERE].iter().any(|name| path.as_os_str() == *name)
}

/// A path is a folder when it is one, when it ends in a slash, or when it has no ending and there are several sources.
fn is_folder(path: &Path, sources: usize) -> bool {
    if !is_file(path) {
        return false;
    }
    path.is_dir() || path.to_string_lossy().ends_with('/') || (sources > 1 && path.extension().is_none())
}

/// A file name for each source, without ending, and no two alike.
fn output_names(sources: &[Source]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut name_of = |source: &Source| {
        let stem = match source.name.as_ref() {
            "-" => "stdin".to_owned(),
            name => {
                Path::new(name).file_stem().map_or("source".to_owned(), |s| s.to_string_lossy().into_owned())
            }
        };
        let mut name = stem.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{stem}-{number}");
            number += 1;
        }
        name
    };
    sources.iter().map(&mut name_of).collect()
}

fn plan_annotated(
    options: &OutputOptions,
    sources: &[Source],
    names: &[String],
    folders: &mut Vec<PathBuf>,
) -> Result<Vec<Option<AnnotatedPath>>, RunError> {
    let Some(path) = &options.annotate else { return Ok(vec![None; sources.len()]) };
    let is_picture =
        picture_path(Path::new(""), path) == Path::new("").join(path.file_name().unwrap_or_default());
    let is_video = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("mp4"));
    if is_folder(path, sources.len()) || (!is_video && path.extension().is_none()) {
        folders.push(path.clone());
        let groups = sources.iter().filter(|s| matches!(s.kind, SourceKind::Images(_))).count();
        let mut each = |(source, name): (&Source, &String)| match &source.kind {
            SourceKind::Video(_) => Ok(Some(AnnotatedPath::Video(path.join(format!("{name}.mp4"))))),
            SourceKind::Images(images) => {
                // Images of one name from different folders must not fall on each other.
                let folder = if groups > 1 { path.join(name) } else { path.clone() };
                refuse_one_name(images, &folder)?;
                folders.push(folder.clone());
                Ok(Some(AnnotatedPath::Folder(folder)))
            }
        };
        return sources.iter().zip(names).map(&mut each).collect();
    }
    folders.extend(path.parent().map(Path::to_owned));
    match sources {
        [Source { kind: SourceKind::Video(_), .. }] if is_video => {
            Ok(vec![Some(AnnotatedPath::Video(path.clone()))])
        }
        [Source { kind: SourceKind::Images(images), .. }] if images.len() == 1 && is_picture => {
            Ok(vec![Some(AnnotatedPath::Image(path.clone()))])
        }
        _ => Err(RunError::AnnotatePath(path.clone())),
    }
}

/// Pictures keep their images' names, so no two images of a source may have the same.
fn refuse_one_name(images: &[PathBuf], folder: &Path) -> Result<(), RunError> {
    let mut taken = HashMap::new();
    for image in images {
        if let Some(other) = taken.insert(picture_path(folder, image), image) {
            return Err(RunError::SameName(other.clone(), image.clone()));
        }
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), SinkError> {
    std::fs::create_dir_all(path)
        .map_err(|source| SinkError::Directory { path: path.display().to_string(), source })
}

/// No output may fall on what is read: a source, the model or the labels, under whatever name.
fn refuse_overwriting(
    plan: &[SourcePlan],
    options: &OutputOptions,
    sources: &[Source],
    others: &[PathBuf],
) -> Result<(), RunError> {
    let inputs = sources.iter().flat_map(|source| match &source.kind {
        SourceKind::Video(url) => vec![local_path(url)],
        SourceKind::Images(paths) => paths.clone(),
    });
    let inputs: Vec<PathBuf> = inputs.chain(others.iter().cloned()).collect();
    let files: HashSet<(u64, u64)> = inputs.iter().filter_map(|path| identity(path)).collect();
    let shared = Some(options.out.as_path()).filter(|p| !p.is_dir() && is_file(p));
    for path in plan.iter().flat_map(SourcePlan::files).chain(shared) {
        if identity(path).is_some_and(|file| files.contains(&file)) {
            return Err(RunError::OverwritesSource(path.to_owned()));
        }
    }
    for plan in plan {
        let Some(AnnotatedPath::Folder(folder)) = &plan.annotated else { continue };
        if inputs
            .iter()
            .any(|path| identity(&picture_path(folder, path)).is_some_and(|file| files.contains(&file)))
        {
            return Err(RunError::OverwritesSource(folder.clone()));
        }
    }
    Ok(())
}

/// The file behind a name, if it is one: links and other spellings lead to the same. Devices may be read and written.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some((metadata.dev(), metadata.ino()))
}

/// The file that a source's name stands for, where it does.
fn local_path(name: &str) -> PathBuf {
    if name == "-" {
        return PathBuf::from("/dev/stdin");
    }
    let path = name.strip_prefix("file:").map_or(name, |path| path.strip_prefix("//").unwrap_or(path));
    PathBuf::from(path)
}
