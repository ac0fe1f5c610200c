//! The command line, as typed.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vidmill::infer::{Device, Precision};
use vidmill::sample::{Nanoseconds, Rate};

/// Runs vision models over video. Every frame is accounted for.
#[derive(Debug, Parser)]
#[command(name = "vidmill", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 every sampled frame ok; 1 the run failed; 2 bad usage or unusable input; 3 finished, but some
frames failed; 130 or 143 interrupted, outputs valid and resumable (--resume).

Results go to standard output or files, everything else to standard error. Set VIDMILL_LOG=debug to see more."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a model over videos or images
    Run(Box<RunArgs>),
    /// Show what a model or video is, and how vidmill will treat it
    Inspect(Box<InspectArgs>),
    /// Find the fastest way to run a model on this machine, for `vidmill run` to use from then on
    Tune(Box<TuneArgs>),
    /// Show where the time goes, stage by stage, and how near to the machine's limit a run comes
    Bench(Box<BenchArgs>),
    /// Show which runtimes, codecs and devices are there, what is missing, and how to get it
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vidmill run street.mp4 --model yolov8n.onnx --out street.jsonl --annotate street_boxes.mp4
  vidmill run street.mp4 --model yolov8n.onnx --every 5 --classes person,car | jq .frame
  vidmill run photos/ 'clips/*.mp4' --model yolov8n.onnx --out results/
  vidmill run street.mp4 --model ppocr_det.onnx --conf 0.5 --then ppocr_rec.onnx --out texts.jsonl")]
pub struct RunArgs {
    /// Videos, images, folders, globs, .txt lists of these, URLs, or - for standard input
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// The model: ONNX (.onnx), PyTorch (.pt, .torchscript, .pt2), or a class written in Python (FILE.py:CLASS)
    #[arg(long, short, value_name = "MODEL")]
    pub model: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub task: TaskArgs,
    /// Follow objects, and give each an id: bytetrack, sort, or a file of settings (.toml; see docs/TRACKING.md)
    #[arg(long, value_name = "TRACKER", help_heading = "Detections")]
    pub track: Option<String>,
    #[command(flatten)]
    pub then: ThenArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub speed: SpeedArgs,
    #[command(flatten)]
    pub isolation: IsolationArgs,
    /// How to show progress on standard error: auto is a bar in a terminal, nothing elsewhere
    #[arg(long, value_enum, default_value_t, value_name = "HOW", help_heading = "Messages")]
    pub progress: ProgressMode,
    /// Say nothing on standard error but errors
    #[arg(long, short, help_heading = "Messages")]
    pub quiet: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Results, in the format of the ending: .jsonl .csv .parquet .json (COCO) .txt (MOT, with --track); a folder gets one
    /// file for each source; - is standard output, as JSON Lines
    #[arg(long, short, value_name = "PATH", default_value = "-")]
    pub out: PathBuf,
    /// Annotated video (.mp4), or a folder
    #[arg(long, value_name = "PATH")]
    pub annotate: Option<PathBuf>,
    /// Format of results when --out is a folder
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: FolderFormat,
    /// Go on where an interrupted or killed run of the same command stopped; the outputs come out as if it never had.
    /// Where nothing was begun, begin; where all is done, do nothing
    #[arg(long)]
    pub resume: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Which frames")]
pub struct SamplingArgs {
    /// Every Nth decoded frame, from frame 0
    #[arg(long, visible_alias = "vid-stride", value_name = "N", conflicts_with = "fps")]
    pub every: Option<NonZeroU64>,
    /// At most F frames a second: the first at or after each tick
    #[arg(long, value_name = "F")]
    pub fps: Option<Rate>,
    /// From this time on: seconds or [HH:]MM:SS[.fff], on the container's own clock
    #[arg(long, value_name = "T")]
    pub start: Option<Nanoseconds>,
    /// Up to, not including, this time
    #[arg(long, value_name = "T")]
    pub end: Option<Nanoseconds>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Detections")]
pub struct TaskArgs {
    /// Least confidence, 0 to 1 [default: what the model's card says, or what is usual for its kind,
    /// mostly 0.25]
    #[arg(long, value_name = "C", value_parser = fraction)]
    pub conf: Option<f32>,
    /// Boxes of one class that overlap more than this are one: 0 to 1 [default: the card's, or what is usual
    /// for its kind, mostly 0.7]
    #[arg(long, value_name = "IOU", value_parser = fraction)]
    pub iou: Option<f32>,
    /// Most detections in a frame [default: the card's, or 300]
    #[arg(long, value_name = "N")]
    pub max_det: Option<usize>,
    /// Most classes of a whole frame, from models that classify frames [default: the card's, or 5]
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Give embeddings length 1
    #[arg(long)]
    pub normalize: bool,
    /// Only these classes: names or numbers, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub classes: Vec<String>,
    /// Input side in pixels, for models of dynamic size
    #[arg(long, value_name = "N")]
    pub imgsz: Option<std::num::NonZeroU32>,
    /// Class names, one a line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// How to read the model's outputs, when vidmill cannot tell: `vidmill inspect MODEL` shows the choices
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// The model's card, which says how it is fed and read [default: MODEL's name with .toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub card: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Second model")]
pub struct ThenArgs {
    /// A second model: each detection is cut out of its frame and given to it, and what it makes of it stands in the record under
    /// the detection
    #[arg(long, value_name = "MODEL")]
    pub then: Option<PathBuf>,
    /// Pass on only detections of these classes: names or numbers, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "LIST", requires = "then")]
    pub then_classes: Vec<String>,
    /// As --task, for the second model
    #[arg(long, value_name = "TASK", requires = "then")]
    pub then_task: Option<String>,
    /// As --conf, for the second model
    #[arg(long, value_name = "C", value_parser = fraction, requires = "then")]
    pub then_conf: Option<f32>,
    /// As --labels, for the second model
    #[arg(long, value_name = "FILE", requires = "then")]
    pub then_labels: Option<PathBuf>,
    /// Crops in one call of the second model
    #[arg(long, default_value = "auto", value_name = "N|auto", requires = "then")]
    pub then_batch: Count,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Device")]
pub struct DeviceArgs {
    /// Where the model runs: auto, cpu, cuda:N, tensorrt:N, openvino. What is asked for is used, or the run fails;
    /// only auto may choose
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: Device,
    /// Precision of the model's arithmetic: auto, f32, f16, bf16 [default: the model's own]. For tuning, auto allows lower
    /// precisions than the model's own, as long as results stay the same
    #[arg(long, value_name = "P")]
    pub precision: Option<Precision>,
    /// ONNX Runtime's shared library, where it is not to be searched for (or VIDMILL_ONNXRUNTIME)
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// The same of OpenVINO (or VIDMILL_OPENVINO)
    #[arg(long, value_name = "PATH")]
    pub openvino: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Speed")]
pub struct SpeedArgs {
    /// Frames in one call of the model
    #[arg(long, default_value = "auto", value_name = "N|auto")]
    pub batch: Count,
    /// Workers, each with its own session
    #[arg(long, default_value = "auto", value_name = "N|auto")]
    pub workers: Count,
    /// Threads of each session
    #[arg(long, default_value = "auto", value_name = "N|auto")]
    pub threads: Count,
    /// Tune the model first, as `vidmill tune` does on the first source, unless that has been done on this machine
    #[arg(long, conflicts_with = "no_tune")]
    pub tune: bool,
    /// Do not use what `vidmill tune` found
    #[arg(long)]
    pub no_tune: bool,
    /// Read N sources at the same time: they take turns, a sampled frame each, in the order they were named, and the next one takes the place
    /// of one that has ended. Each has a decoder, which has its share of the cores
    #[arg(long, default_value = "1", value_name = "N", value_parser = at_once)]
    pub at_once: NonZeroUsize,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Isolation")]
pub struct IsolationArgs {
    /// Run each worker as a process of its own, supervised: when one dies, another takes over, and nothing is lost.
    /// Models that run in Python always do
    #[arg(long)]
    pub isolate: bool,
    /// Most seconds that a worker may take for a batch before it is replaced (default: 120)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Most memory of a worker, as in 800M or 4G; one that takes more is replaced
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub worker_memory: Option<u64>,
    /// Replace each worker after so many batches
    #[arg(long, value_name = "N")]
    pub recycle: Option<NonZeroU64>,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A model (.onnx, .pt, .torchscript, .pt2, FILE.py:CLASS), video or image
    pub path: PathBuf,
    #[command(flatten)]
    pub task: TaskArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Save the model card that is shown: beside the model, or as PATH
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    pub write_card: Option<Option<PathBuf>>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vidmill tune yolov8n.onnx street.mp4
  vidmill tune yolov8n.onnx street.mp4 --precision auto

What is found is kept for this model on this machine ($VIDMILL_CACHE, else vidmill's folder in the user's cache), and `vidmill run` uses it
where --device, --threads, --workers and --batch are not given.")]
pub struct TuneArgs {
    /// The model (.onnx)
    pub model: PathBuf,
    /// A video like those that it is to be run on: it decides what decoding costs, and which results are compared [default: a clip
    /// that is generated]
    pub source: Option<String>,
    /// About how long it may take
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub seconds: Duration,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub task: TaskArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Show what is found, and do not keep it
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vidmill bench yolov8n.onnx street.mp4
  vidmill bench yolov8n.onnx --svg where.svg
  vidmill bench yolov8n.onnx street.mp4 --every 30 --json | jq .limit.share

Nothing else should be running. docs/BENCH.md tells what is measured and how.")]
pub struct BenchArgs {
    /// The model, as for `vidmill run`
    pub model: PathBuf,
    /// A video, image, folder, glob or list [default: a clip that is generated]
    pub source: Option<String>,
    /// How long each part is measured
    #[arg(long, default_value = "2.5", value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Duration,
    /// In how many rounds; medians of them are shown
    #[arg(long, default_value = "3", value_name = "N", value_parser = rounds)]
    pub repeat: NonZeroUsize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Save a picture of where the time goes
    #[arg(long, value_name = "PATH")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub task: TaskArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub speed: SpeedArgs,
    #[command(flatten)]
    pub isolation: IsolationArgs,
    /// Told that it cannot be
    #[arg(long, hide = true, value_name = "MODEL")]
    pub then: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// ONNX Runtime's shared library, where it is not to be searched for (or VIDMILL_ONNXRUNTIME)
    #[arg(long, value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// The same of OpenVINO (or VIDMILL_OPENVINO)
    #[arg(long, value_name = "PATH")]
    pub openvino: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A number of at least one, or vidmill's own choice.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub Option<NonZeroUsize>);

impl Count {
    /// More workers, threads or frames in a batch than this come from a slip of the finger.
    const MOST: usize = 1024;
}

impl std::str::FromStr for Count {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        match text.parse::<NonZeroUsize>() {
            Ok(count) if count.get() <= Self::MOST => Ok(Self(Some(count))),
            _ => Err(format!("write `auto` or a number from 1 to {}", Self::MOST)),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    #[default]
    Auto,
    Off,
    /// One JSON object a line, the last of them the manifest
    Json,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum FolderFormat {
    #[default]
    Jsonl,
    Csv,
    Parquet,
    Coco,
    Mot,
}

/// More sources at once than this come from a slip of the finger.
const MOST_AT_ONCE: usize = 1024;

fn at_once(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse::<NonZeroUsize>().ok().filter(|count| count.get() <= MOST_AT_ONCE);
    count.ok_or_else(|| format!("write a number from 1 to {MOST_AT_ONCE}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number of seconds, such as 30 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)
}

fn rounds(text: &str) -> Result<NonZeroUsize, String> {
    let rounds = text.parse::<NonZeroUsize>().ok().filter(|rounds| rounds.get() <= 1000);
    rounds.ok_or_else(|| "write a number from 1 to 1000".to_owned())
}

/// A number of bytes, with K, M, G or T for powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let power = match text[digits.len()..].to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => Some(0),
        "K" => Some(1),
        "M" => Some(2),
        "G" => Some(3),
        "T" => Some(4),
        _ => None,
    };
    let number = digits.parse::<u64>().ok().filter(|&number| number > 0);
    let bytes = number.zip(power).and_then(|(number, power)| number.checked_mul(1024_u64.pow(power)));
    bytes.ok_or_else(|| "write a number of bytes, such as 800M or 4G".to_owned())
}

fn fraction(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "write a number from 0 to 1".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("write a number from 0 to 1".to_owned()) }
}
