//! A model that is loaded, with all that is chosen for it.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use vidmill_infer::{Cards, Detection, Device, LoadOptions, TaskPlan};

use crate::engine::Engine;
use crate::error::RunError;
use crate::fill::Filler;
use crate::manifest::Parallelism;
use crate::options::Part;
use crate::predictor;
use crate::progress::Stop;
use crate::stage::ModelClocks;
use crate::worker::Verdict;

/// A model, loaded.
pub(crate) struct Loaded<T> {
    pub engine: Engine<T>,
    pub plan: Arc<TaskPlan>,
    pub choice: Parallelism,
}

impl<T: Send + 'static> Loaded<T> {
    /// Loads the model, here or in worker processes, and works out what it is.
    pub fn load(part: Part<'_>, cores: usize, stop: &Stop) -> Result<Self, RunError> {
        let cards = Cards::find(&predictor::parts_of(part.model).0, part.card)?;
        let load = LoadOptions { cards, ..session_threads(part.load) };
        let engine = Engine::open(part, &load, cores, stop)?;
        let model = engine.description();
        let mut plan = TaskPlan::recognise(&model.info, part.task)?;
        if predictor::runs_in_python(part.model) {
            plan.fix_size();
        }
        let on_cpu = model.runtime.is_on_cpu();
        let choice = Parallelism::choose(part, load.threads, &plan, on_cpu, cores, engine.launched())?;
        Ok(Self { engine, plan: Arc::new(plan), choice })
    }

    /// Begins to take items; `take` gets every item's verdict, from any thread. Memory for these comes by `empties`, if any does.
    pub fn start(
        self,
        clocks: ModelClocks,
        empties: Receiver<Vec<Detection>>,
        take: impl Fn(T, Verdict) + Send + Sync + 'static,
    ) -> Result<Filler<T>, RunError> {
        let Self { engine, plan, choice } = self;
        let slots = engine.slots(&choice)?;
        let executor = engine.start(&choice, &plan, &slots, clocks.clone(), empties, take)?;
        Ok(Filler::new(slots, executor, choice.batch, clocks))
    }
}

/// On a CPU each session has one thread unless the user says otherwise: the cores are shared out among sessions.
fn session_threads(load: &LoadOptions) -> LoadOptions {
    let on_cpu = matches!(load.device, Device::Auto | Device::Cpu | Device::OpenVino);
    let threads = if load.threads == 0 && on_cpu { 1 } else { load.threads };
    LoadOptions { threads, ..load.clone() }
}
