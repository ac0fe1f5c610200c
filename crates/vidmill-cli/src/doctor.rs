//! `vidmill doctor`: what is there, what is missing, and how to get it.

use serde::Serialize;
use vidmill::infer::runtime::onnxruntime;
use vidmill::video;

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
    /// What is missing for `vidmill run` to work at all.
    problems: Vec<Problem>,
    /// What is missing for some uses only.
    limits: Vec<Problem>,
}

#[derive(Serialize)]
struct Runtime {
    version: Option<String>,
    library: Option<String>,
    how: Option<String>,
    providers: Vec<String>,
}

#[derive(Serialize)]
struct Problem {
    what: String,
    remedy: String,
}

pub fn doctor(args: &DoctorArgs) -> ExitStatus {
    let report = examine(args);
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

fn examine(args: &DoctorArgs) -> Report {
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
            Runtime {
                version: Some(found.version.clone()),
                library: Some(found.path.display().to_string()),
                how: Some(found.how.clone()),
                providers: providers.to_vec(),
            }
        }
        Err(error) => {
            let what = format!("ONNX Runtime cannot be used: {error}");
            problems.push(Problem { what, remedy: onnxruntime::INSTALL.into() });
            Runtime { version: None, library: None, how: None, providers: Vec::new() }
        }
    };
    Report {
        vidmill: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        ffmpeg: video::versions(),
        codecs,
        onnxruntime,
        problems,
        limits,
    }
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
    let runtime = &report.onnxruntime;
    match (&runtime.version, &runtime.library, &runtime.how) {
        (Some(version), Some(library), Some(how)) => {
            show!("onnxruntime  {version}, {library} ({how})");
            show!("             providers: {}", runtime.providers.join(", "));
        }
        _ => show!("onnxruntime  missing"),
    }
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
