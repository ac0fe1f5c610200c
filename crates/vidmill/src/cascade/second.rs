//! The second model: which it is, and how it is set going.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded, never};
use vidmill_image::Cutter;
use vidmill_infer::{Description, TaskOptions, TaskPlan};

use super::{CropTicket, Cutting, Job, Wanted, deliver};
use crate::error::RunError;
use crate::feed::Line;
use crate::loaded::Loaded;
use crate::manifest::{ModelEntry, ThenEntry};
use crate::options::{Options, Part, Then};
use crate::predictor;
use crate::progress::Stop;
use crate::resume;
use crate::stage::{Clocks, ModelClocks};

/// The key of the metadata that names a model's successor, by a path from its own folder.
const KEY: &str = "vidmill.then";
/// That of the classes that it is for, separated by commas.
const CLASSES_KEY: &str = "vidmill.then_classes";

/// The second model that is asked for: by the user, else by the first model.
pub(crate) fn second(options: &Options, model: &Description) -> Result<Option<Then>, RunError> {
    if options.then.is_some() {
        return Ok(options.then.clone());
    }
    let said = |key| model.info.said(key).map(str::trim).filter(|said| !said.is_empty());
    let Some(name) = said(KEY) else { return Ok(None) };
    let folder = options.model.parent().map(PathBuf::from).unwrap_or_default();
    let path = folder.join(name);
    if predictor::runs_in_python(&path) && options.isolate.is_none() {
        return Err(RunError::Then(format!(
            "the model's card or metadata says {KEY} = {name}, which runs in Python: name it with --then"
        )));
    }
    let classes = said(CLASSES_KEY).unwrap_or_default();
    // A card's list is JSON.
    let classes = serde_json::from_str(classes)
        .unwrap_or_else(|_| classes.split(',').map(|class| class.trim().to_owned()).collect::<Vec<_>>());
    Ok(Some(Then {
        model: path,
        load: options.load.clone(),
        task: TaskOptions::default(),
        classes: classes.into_iter().filter(|class| !class.is_empty()).collect(),
        workers: options.workers,
        batch: None,
        isolate: options.isolate.clone(),
    }))
}

/// The second model, loaded.
pub(crate) struct Second {
    pub loaded: Loaded<CropTicket>,
    then: Then,
    wanted: Wanted,
}

impl Second {
    /// Loads it. `first` is what it follows.
    pub fn load(then: &Then, first: &TaskPlan, cores: usize, stop: &Stop) -> Result<Self, RunError> {
        if !first.task().gives_detections() && first.task() != vidmill_infer::Task::Outputs {
            return Err(RunError::Then(format!(
                "--then {}: the first model finds nothing to pass on, as its task is {}",
                then.model.display(),
                first.task()
            )));
        }
        let wanted = Wanted::new(&then.classes, first)?;
        Ok(Self { loaded: Loaded::load(then.part(), cores, stop)?, then: then.clone(), wanted })
    }

    /// The model, and how it is run.
    pub fn part(&self) -> Part<'_> {
        self.then.part()
    }

    /// For the manifest.
    pub fn entry(&self) -> ThenEntry {
        let description = self.loaded.engine.description();
        let class = predictor::parts_of(&self.then.model).1;
        ThenEntry {
            model: ModelEntry::new(&description.info, class, &self.loaded.plan),
            runtime: description.runtime.clone(),
            parallelism: self.loaded.choice,
            classes: self.then.classes.clone(),
        }
    }

    /// For `--resume`.
    pub fn key(&self) -> resume::Key {
        let Loaded { engine, plan, choice, .. } = &self.loaded;
        resume::key_of_then(&self.then, engine.description(), plan, choice)
    }

    /// Sets it going: frames that come to the first end go on to the line when it is done with them.
    pub fn start(
        self,
        window: usize,
        first: &Arc<TaskPlan>,
        keep_frames: bool,
        clocks: &Arc<Clocks>,
        line: &Line,
    ) -> Result<(Sender<Job>, JoinHandle<()>), RunError> {
        let Self { loaded, wanted, .. } = self;
        let second = Arc::clone(&loaded.plan);
        let filler = loaded.start(ModelClocks::second(clocks), never(), deliver)?;
        // There are no more frames than that.
        let (send, jobs) = bounded(window);
        let cutting = Cutting {
            jobs,
            filler,
            first: Arc::clone(first),
            second,
            wanted,
            events: line.events(),
            keep_frames,
            clocks: Arc::clone(clocks),
            cutter: Cutter::default(),
        };
        let thread = std::thread::Builder::new()
            .name("crops".into())
            .spawn(move || cutting.run())
            .map_err(|error| RunError::Thread(format!("cannot start the thread of crops: {error}")))?;
        Ok((send, thread))
    }
}
