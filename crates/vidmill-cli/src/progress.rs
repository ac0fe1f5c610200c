//! Shows how far a run has come, on standard error.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use vidmill::{Progress, Snapshot};

use crate::args::ProgressMode;

/// A thread that shows progress until it is told to end.
pub struct Display(Option<(SyncSender<()>, JoinHandle<()>)>);

impl Display {
    /// Begins to show `progress` in the way asked for.
    pub fn begin(mode: ProgressMode, quiet: bool, progress: &Arc<Progress>) -> Self {
        let show: fn(&Progress, &mut dyn FnMut(Duration) -> bool) = match mode {
            ProgressMode::Json => show_json,
            ProgressMode::Auto if !quiet && std::io::stderr().is_terminal() => show_bar,
            _ => return Self(None),
        };
        let (end, ended) = sync_channel(0);
        let progress = Arc::clone(progress);
        let thread = std::thread::spawn(move || {
            let mut wait = |time| matches!(ended.recv_timeout(time), Err(RecvTimeoutError::Timeout));
            show(&progress, &mut wait);
        });
        Self(Some((end, thread)))
    }

    /// Shows the last state and leaves the terminal clean.
    pub fn end(self) {
        if let Some((end, thread)) = self.0 {
            drop(end);
            // Whatever became of the display, the run's result stands.
            let _ = thread.join();
        }
    }
}

fn show_bar(progress: &Progress, wait: &mut dyn FnMut(Duration) -> bool) {
    let bar = ProgressBar::new(0);
    let style = |template: &str| {
        ProgressStyle::with_template(template)
            .map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars("=> "))
    };
    bar.set_style(style("{msg} {pos} frames"));
    let begin = Instant::now();
    loop {
        let going = wait(Duration::from_millis(100));
        let now = progress.snapshot();
        if now.expected > 0 {
            bar.set_style(style("{msg} [{bar:30}] {pos}/{len} {prefix} left {eta}"));
            bar.set_length(now.expected.max(now.decoded));
        }
        let rate = now.settled as f64 / begin.elapsed().as_secs_f64().max(1e-3);
        let failed = if now.failed > 0 { format!(", {} failed", now.failed) } else { String::new() };
        bar.set_prefix(format!("{rate:.1}/s{failed}"));
        bar.set_message(name_of(&now));
        bar.set_position(now.decoded);
        if !going {
            bar.finish_and_clear();
            return;
        }
    }
}

fn name_of(now: &Snapshot) -> String {
    let path = std::path::Path::new(&now.source);
    let name =
        path.file_name().map_or_else(|| now.source.clone(), |name| name.to_string_lossy().into_owned());
    match now.open.saturating_sub(1) {
        0 => name,
        others => format!("{name} and {others} more"),
    }
}

fn show_json(progress: &Progress, wait: &mut dyn FnMut(Duration) -> bool) {
    let begin = Instant::now();
    loop {
        let going = wait(Duration::from_secs(1));
        let seconds = begin.elapsed().as_secs_f64();
        let line = serde_json::json!({ "progress": progress.snapshot(), "seconds": seconds });
        say!("{line}");
        if !going {
            return;
        }
    }
}
