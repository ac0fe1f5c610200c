//! `vidmill doctor`: what is there, what is missing, and how to get it.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use vidmill::infer::Error;
use vidmill::infer::runtime::{Found, onnxruntime, openvino};
use vidmill::video;

use crate::Programs;
use crate::args::DoctorArgs;
use crate::exit_status::ExitStatus;

/// What was found.
#[derive(Serialize)]
struct Report {
    vidmill: &'static str,
    cores: usize,
    ffmpeg: video::Versions,
    codecs: video::Codecs,
    onnxruntime: Runtime,
    openvino: OpenVino,
    python: Python,
    /// What is missing for `vidmill run` to work at all.
    problems: Vec<Problem>,
    /// What is missing for some uses only.
    limits: Vec<Problem>,
}

#[derive(Default, Serialize)]
struct Runtime {
    #[serde(flatten)]
    library: Library,
    providers: Vec<String>,
}

#[derive(Default, Serialize)]
struct OpenVino {
    #[serde(flatten)]
    library: Library,
    /// What the CPU computes in.
    capabilities: Vec<String>,
}

/// A library, if there is one that serves.
#[derive(Default, Serialize)]
struct Library {
    version: Option<String>,
    library: Option<String>,
    how: Option<String>,
}

impl Library {
    fn of(found: &Found) -> Self {
        Self {
            version: Some(found.version.clone()),
            library: Some(found.path.display().to_string()),
            how: Some(found.how.clone()),
        }
    }

    fn show(&self, name: &str) {
        match (&self.version, &self.library, &self.how) {
            (Some(version), Some(library), Some(how)) => show!("{name:<12} {version}, {library} ({how})"),
            _ => show!("{name:<12} missing"),
        }
    }
}

/// The Python of models that run in it, and the versions of the packages that matter to them.
#[derive(Serialize)]
struct Python {
    path: String,
    #[serde(flatten)]
    has: Packages,
}

#[derive(Default, Serialize, Deserialize)]
struct Packages {
    version: Option<String>,
    vidmill: Option<String>,
    torch: Option<String>,
}

const ASK_PYTHON: &str = "\
import json, platform
from importlib import metadata
def version(name):
    try: return metadata.version(name)
    except metadata.PackageNotFoundError: return None
print(json.dumps({'version': platform.python_version(), 'vidmill': version('vidmill'), 'torch': version('torch')}))";

#[derive(Serialize)]
struct Problem {
    what: String,
    remedy: String,
}

pub fn doctor(args: &DoctorArgs, programs: &Programs) -> ExitStatus {
    let report = examine(args, &programs.python.path);
    if args.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => show!("{text}"),
            Err(error) => crate::complain(&error),
        }
    } else {
        print(&report);
    }
    if report.problems.is_empty() { ExitStatus::Ok } else { ExitStatus::Failed }
}

fn examine(args: &DoctorArgs, python: &Path) -> Report {
    let (mut problems, mut limits) = (Vec::new(), Vec::new());
    let codecs = video::codecs();
    let missing: Vec<&str> =
        codecs.decoders.iter().filter(|c| c.decoder.is_none()).map(|c| c.codec.as_str()).collect();
    if !missing.is_empty() {
        let what = format!("FFmpeg cannot decode {}", missing.join(", "));
        limits.push(Problem { what, remedy: "apt install libavcodec-extra".into() });
    }
    if codecs.video_encoder.is_none() {
        let what = "FFmpeg has no libx264 encoder, so --annotate cannot write video".into();
        limits.push(Problem { what, remedy: "apt install libavcodec-extra".into() });
    }
    let onnxruntime = match onnxruntime::load(args.onnxruntime.as_deref()) {
        Ok((found, providers)) => {
            if !providers.iter().any(|p| p.starts_with("CUDA")) {
                let what = "ONNX Runtime runs on the CPU only: it was built without CUDA".into();
                let remedy = "on a machine with an NVIDIA GPU: .venv/bin/pip install onnxruntime-gpu".into();
                limits.push(Problem { what, remedy });
            }
            Runtime { library: Library::of(found), providers: providers.to_vec() }
        }
        Err(error) => {
            let what = format!("ONNX Runtime cannot be used: {error}");
            problems.push(Problem { what, remedy: onnxruntime::INSTALL.into() });
            Runtime::default()
        }
    };
    let openvino = match openvino::load(args.openvino.as_deref()) {
        Ok((found, capabilities)) => {
            OpenVino { library: Library::of(found), capabilities: capabilities.to_vec() }
        }
        Err(error) => {
            let what = match error {
                Error::RuntimeMissing { .. } => {
                    "--device openvino cannot be used: OpenVINO is not installed".into()
                }
                error => format!("--device openvino cannot be used: {error}"),
            };
            limits.push(Problem { what, remedy: openvino::INSTALL.into() });
            OpenVino::default()
        }
    };
    let python = ask_python(python);
    if python.has.vidmill.is_none() {
        let what = format!("models that run in Python cannot be run: {} has no package vidmill", python.path);
        let remedy = "install it there, or name another Python in VIDMILL_PYTHON".into();
        limits.push(Problem { what, remedy });
    }
    Report {
        vidmill: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        ffmpeg: video::versions(),
        codecs,
        onnxruntime,
        openvino,
        python,
        problems,
        limits,
    }
}

/// What a Python has; nothing where it does not run.
fn ask_python(path: &Path) -> Python {
    let asked = Command::new(path).args(["-c", ASK_PYTHON]).stdin(Stdio::null()).output();
    let has = asked.ok().and_then(|done| serde_json::from_slice(&done.stdout).ok()).unwrap_or_default();
    Python { path: path.display().to_string(), has }
}

fn print(report: &Report) {
    show!("vidmill      {}", report.vidmill);
    show!("machine      {} cores", report.cores);
    show!("ffmpeg       {}", report.ffmpeg.ffmpeg);
    for (name, version) in &report.ffmpeg.libraries {
        show!("             {name} {version}");
    }
    let decoder = |c: &video::CodecSupport| match &c.decoder {
        Some(decoder) if *decoder == c.codec => c.codec.clone(),
        Some(decoder) => format!("{} ({decoder})", c.codec),
        None => format!("{} (missing)", c.codec),
    };
    let decoders: Vec<String> = report.codecs.decoders.iter().map(decoder).collect();
    show!("decoders     {}", decoders.join(", "));
    show!("encoder      {}", report.codecs.video_encoder.as_deref().unwrap_or("missing"));
    for (name, library, what, has) in [
        ("onnxruntime", &report.onnxruntime.library, "providers", &report.onnxruntime.providers),
        ("openvino", &report.openvino.library, "this CPU computes in", &report.openvino.capabilities),
    ] {
        library.show(name);
        if !has.is_empty() {
            show!("             {what}: {}", has.join(", "));
        }
    }
    let Python { path, has } = &report.python;
    let told = |version: &Option<String>| version.clone().unwrap_or_else(|| "missing".to_owned());
    show!("python       {}, {path}", told(&has.version));
    show!("             vidmill {}, torch {}", told(&has.vidmill), told(&has.torch));
    for (title, problems) in [("Problems", &report.problems), ("Limits", &report.limits)] {
        if !problems.is_empty() {
            show!("\n{title}");
        }
        for problem in problems {
            show!("- {}\n  remedy: {}", problem.what, problem.remedy);
        }
    }
    if report.problems.is_empty() {
        show!("\nReady to run.");
    }
}
