//! Who runs the model: threads of this process, or worker processes. In: batches with their tickets. Out: a verdict for
//! every frame, on the line.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, never};
use vidmill_infer::{Description, Detection, Device, LoadOptions, Model, ModelInfo, TaskOptions, TaskPlan};
use vidmill_pool::{
    Cause, Executor, Failure, Policy, Printer, Processes, Program, Slots, StartError, Threads, Usage,
};

use crate::error::RunError;
use crate::manifest::Parallelism;
use crate::options::{Isolation, Part};
use crate::predictor::{ForeignModel, FramePredictor, Native, Order};
use crate::progress::Stop;
use crate::stage::ModelClocks;
use crate::worker::{ModelWorker, Seen, Verdict};

/// How often a wait looks up.
const PATIENCE: Duration = Duration::from_millis(100);

/// What runs batches of items that have a ticket each.
pub(crate) type BoxedExecutor<T> = Box<dyn Executor<T, ModelWorker>>;

/// A model that is about to be run.
pub(crate) enum Engine<T> {
    InProcess(Arc<Model>),
    /// This process never loads the model, nor the runtime: whatever they do, they do to a worker.
    Isolated {
        processes: Processes<T, ModelWorker>,
        description: Box<Description>,
    },
}

/// Workers that have to be started before the model is known: one for each core's share, but one in all where one
/// session keeps the device busy.
fn likely_workers(load: &LoadOptions, cores: usize) -> usize {
    let one_is_enough = match load.device {
        Device::Cpu | Device::OpenVino => false,
        Device::Auto => Path::new("/dev/nvidiactl").exists(),
        Device::Cuda(_) | Device::TensorRt(_) => true,
    };
    if one_is_enough { 1 } else { cores.div_ceil(load.threads.max(1)) }
}

fn policy(isolation: &Isolation) -> Policy {
    Policy {
        timeout: isolation.timeout,
        memory_limit: isolation.memory_limit,
        recycle_after: isolation.recycle_after,
        ..Policy::default()
    }
}

impl<T: Send + 'static> Engine<T> {
    /// Loads the model, here or in worker processes; returns when it is loaded.
    pub fn open(part: Part<'_>, load: &LoadOptions, cores: usize, stop: &Stop) -> Result<Self, RunError> {
        let count = part.workers.map_or_else(|| likely_workers(load, cores), NonZeroUsize::get);
        match part.isolate {
            None => {
                let load = LoadOptions { sessions: count, ..load.clone() };
                Ok(Self::InProcess(Arc::new(Model::open(part.model, &load)?)))
            }
            Some(isolation) => Self::isolate(isolation, part, load, count, stop),
        }
    }

    fn isolate(
        isolation: &Isolation,
        part: Part<'_>,
        load: &LoadOptions,
        count: usize,
        stop: &Stop,
    ) -> Result<Self, RunError> {
        let order = Order::new(part.model, load, part.task);
        let (processes, description) = launch(&order, count, &isolation.program, policy(isolation), stop)?;
        Ok(Self::Isolated { processes, description })
    }

    /// The model and what runs it.
    pub fn description(&self) -> &Description {
        match self {
            Self::InProcess(model) => model.description(),
            Self::Isolated { description, .. } => description,
        }
    }

    /// How many worker processes run already.
    pub fn launched(&self) -> Option<usize> {
        match self {
            Self::InProcess(_) => None,
            Self::Isolated { processes, .. } => Some(processes.workers()),
        }
    }

    /// Slots that its workers can read.
    pub fn slots(&self, choice: &Parallelism) -> Result<Slots, RunError> {
        Ok(match self {
            Self::InProcess(_) => Slots::new(choice.slots, choice.slot_bytes)?,
            Self::Isolated { .. } => Slots::shared(choice.slots, choice.slot_bytes)?,
        })
    }

    /// What its worker processes use; filled in as they end.
    pub fn usage(&self) -> Option<Arc<Mutex<Usage>>> {
        match self {
            Self::InProcess(_) => None,
            Self::Isolated { processes, .. } => Some(processes.usage()),
        }
    }

    /// Begins to take batches; `take` gets every item's verdict, from any thread. Memory for these comes by `empties`, if any does.
    pub fn start(
        self,
        choice: &Parallelism,
        plan: &Arc<TaskPlan>,
        slots: &Slots,
        clocks: ModelClocks,
        empties: Receiver<Vec<Detection>>,
        take: impl Fn(T, Verdict) + Send + Sync + 'static,
    ) -> Result<BoxedExecutor<T>, StartError> {
        let deliver = Arc::new(move |ticket: T, result: Result<Seen, Failure>| {
            take(ticket, verdict(result, &clocks));
        });
        match self {
            Self::InProcess(model) => {
                let plan = Arc::clone(plan);
                let build = move || {
                    let predictor =
                        model.session(plan.spec()).map_err(|e| StartError::Refused(e.to_string()))?;
                    let native = Native::new(predictor, plan.spec().clone());
                    Ok(ModelWorker::new(Box::new(native), Arc::clone(&plan), empties.clone()))
                };
                Ok(Box::new(Threads::start(choice.workers, build, deliver)?))
            }
            Self::Isolated { processes, .. } => {
                processes.attach(slots, output_bytes(choice.batch, plan.thresholds().max_det), deliver)?;
                Ok(Box::new(processes))
            }
        }
    }
}

/// Worker processes that have loaded their model, and what they say of it.
fn launch<T: Send + 'static>(
    order: &Order,
    count: usize,
    program: &Program,
    policy: Policy,
    stop: &Stop,
) -> Result<(Processes<T, ModelWorker>, Box<Description>), RunError> {
    // Wherever workers may be by then, and be started again. A link is not followed: what belongs to the model lies beside it.
    let file = std::fs::metadata(&order.file)
        .and_then(|_| std::path::absolute(&order.file))
        .map_err(|source| vidmill_infer::Error::Read { path: order.file.clone(), source })?;
    let start = serde_json::to_vec(&Order { file, ..order.clone() })
        .map_err(|error| StartError::Failed(format!("cannot describe the model to them: {error}")))?;
    let mut program = Program { start, ..program.clone() };
    if order.runs_in_python() {
        program.env.extend(thread_limits(order.load.threads));
    }
    let processes = Processes::launch(count, program, policy, Printer::to_standard_error())?;
    let introduction = loop {
        if let Some(introduction) = processes.introduction_within(PATIENCE) {
            break introduction?;
        }
        if stop.is_asked() {
            processes.shutdown(Duration::ZERO);
            return Err(RunError::Interrupted);
        }
    };
    let mut description: Box<Description> = serde_json::from_slice(&introduction).map_err(|error| {
        StartError::Failed(format!("it does not say what it is as vidmill's workers do: {error}"))
    })?;
    as_named(&mut description.info, &order.file);
    Ok((processes, description))
}

/// Paths as the user named them, and not as workers know them.
fn as_named(info: &mut ModelInfo, file: &Path) {
    let (theirs, named) = (info.path.parent(), file.parent());
    if let (Some(theirs), Some(named)) = (theirs, named) {
        for data in &mut info.data {
            if let Ok(rest) = data.strip_prefix(theirs) {
                *data = named.join(rest);
            }
        }
    }
    file.clone_into(&mut info.path);
}

/// Python's libraries take all cores for each process, unless told otherwise before they are loaded. What the user has set stays.
fn thread_limits(threads: usize) -> impl Iterator<Item = (OsString, OsString)> {
    let names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"];
    let threads = OsString::from(threads.max(1).to_string());
    names
        .into_iter()
        .filter(|name| std::env::var_os(name).is_none())
        .map(move |name| (name.into(), threads.clone()))
}

/// What a model is that `program`, which calls [`serve_foreign`], makes of `model`.
///
/// # Errors
/// When it cannot be loaded.
pub fn describe_foreign(
    model: &Path,
    load: &LoadOptions,
    task: &TaskOptions,
    program: Program,
) -> Result<Description, RunError> {
    let (_, description) =
        launch::<()>(&Order::new(model, load, task), 1, &program, Policy::default(), &Stop::default())?;
    Ok(*description)
}

/// Room for a usual batch of results; larger ones take a slower way.
fn output_bytes(batch: usize, max_det: usize) -> usize {
    batch.saturating_mul(max_det.min(MOST_DETECTIONS).saturating_mul(24).saturating_add(1024))
}

/// More than any model gives.
const MOST_DETECTIONS: usize = 100_000;

fn verdict(result: Result<Seen, Failure>, clocks: &ModelClocks) -> Verdict {
    match result {
        Ok(Seen { result, infer, task }) => {
            clocks.ran(infer, task);
            match result {
                Ok(found) => Verdict::Found(found),
                Err(error) => Verdict::Failed { error, attempts: 1 },
            }
        }
        Err(Failure { cause: Cause::PoolFailed(reason), .. }) => Verdict::Lost(reason),
        Err(Failure { cause: cause @ Cause::ShutDown, .. }) => Verdict::Lost(cause.to_string()),
        Err(Failure { cause, attempts }) => Verdict::Failed { error: cause.to_string(), attempts },
    }
}

/// Serves as a worker process of a run with [`Options::isolate`], where [`vidmill_pool::is_worker`] says that this is one.
/// Programs that use such runs call this before anything else.
pub fn serve_worker() -> ExitCode {
    vidmill_pool::serve(|start| {
        let order = Order::read(start)?;
        let model = Model::open(&order.file, &order.load).map_err(|error| error.to_string())?;
        let plan = TaskPlan::recognise(model.info(), &order.task).map_err(|error| error.to_string())?;
        let predictor = model.session(plan.spec()).map_err(|error| error.to_string())?;
        let native = Native::new(predictor, plan.spec().clone());
        introduced(native, plan, model.description())
    })
}

/// The same with a model of another kind, which `build` makes.
pub fn serve_foreign<M, B>(mut build: B) -> ExitCode
where
    M: ForeignModel + 'static,
    B: FnMut(&Order) -> Result<M, String>,
{
    vidmill_pool::serve(|start| {
        let order = Order::read(start)?;
        let mut model = build(&order)?;
        let mut description = model.description()?;
        description.info.cards = order.load.cards.clone();
        let shape =
            TaskPlan::trial_shape(&description.info, &order.task).map_err(|error| error.to_string())?;
        description.info.outputs = model.try_out(&shape)?;
        let plan = TaskPlan::recognise(&description.info, &order.task).map_err(|error| error.to_string())?;
        introduced(model, plan, &description)
    })
}

/// A worker, and what it says of its model.
fn introduced(
    predictor: impl FramePredictor + 'static,
    plan: TaskPlan,
    description: &Description,
) -> Result<(ModelWorker, Vec<u8>), String> {
    let introduction = serde_json::to_vec(description).map_err(|error| error.to_string())?;
    Ok((ModelWorker::new(Box::new(predictor), Arc::new(plan), never()), introduction))
}
