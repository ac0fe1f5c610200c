//! The limit that stages and cores set, and what is to be said of it.

use serde::Serialize;

/// CPU milliseconds of a frame, by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stages {
    /// Decoding, on one thread.
    pub decode: f64,
    /// Planes to tensor.
    pub preprocess: f64,
    /// The model. Where it runs on another device, what that takes of the processor.
    pub infer: f64,
    /// Outputs to results.
    pub task: f64,
    /// What end to end takes beyond these: hand-over, order, records, waking up, and what the stages lose by sharing caches and memory; less
    /// than 0 where they gain.
    pub rest: f64,
}

/// The most frames a second that the machine could do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Limit {
    /// Cores over the CPU time of all stages, or what the device can do alone if that is less.
    pub frames_per_second: f64,
    /// CPU milliseconds of all stages, each alone.
    pub cpu_ms: f64,
    /// Whether the device that runs the model sets it, and not the processor.
    pub by_device: bool,
    /// What end to end reaches of it.
    pub share: f64,
}

/// Who waits in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wait {
    /// The share of its time in which the reader waits for a slot.
    pub reader: f64,
    /// The share of their time in which workers wait for frames.
    pub workers: f64,
}

/// Less than this share of the limit deserves a word.
const SHORT_OF_IT: f64 = 0.85;

impl Stages {
    /// The stages without the rest.
    pub fn sum(&self) -> f64 {
        self.decode + self.preprocess + self.infer + self.task
    }

    /// The stage that takes most.
    fn largest(&self) -> (&'static str, f64) {
        let all = [
            ("decode", self.decode),
            ("preprocess", self.preprocess),
            ("infer", self.infer),
            ("task", self.task),
        ];
        all.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(("infer", 0.0))
    }
}

impl Limit {
    /// `device` is what a device other than the processor does of the model alone, in frames a second; `reached` what
    /// end to end does.
    pub fn of(stages: &Stages, cores: usize, device: Option<f64>, reached: f64) -> Self {
        let cpu_ms = stages.sum();
        let by_cores = if cpu_ms > 0.0 { cores as f64 * 1e3 / cpu_ms } else { 0.0 };
        let by_device = device.is_some_and(|device| device < by_cores);
        let frames_per_second = device.filter(|_| by_device).unwrap_or(by_cores);
        let share = if frames_per_second > 0.0 { reached / frames_per_second } else { 0.0 };
        Self { frames_per_second, cpu_ms, by_device, share }
    }

    /// What sets the pace and what would help, in a sentence or two. `model` is as the user named it.
    pub fn advice(&self, stages: &Stages, wait: Wait, model: &str) -> String {
        let (stage, most) = stages.largest();
        let percent = percent(if self.cpu_ms > 0.0 { most / self.cpu_ms } else { 0.0 });
        let pace = match stage {
            _ if self.by_device => format!(
                "the device that runs the model sets the pace: lower precision, larger batches or a smaller model would help \
                 (vidmill tune {model})"
            ),
            "decode" => format!(
                "decoding takes {percent} of the CPU time: a smaller picture, a simpler codec or fewer frames (--every N) would help"
            ),
            "preprocess" => format!(
                "making tensors takes {percent} of the CPU time: a smaller input (--imgsz, where the model allows it) would help"
            ),
            "task" => format!(
                "reading the model's outputs takes {percent} of the CPU time: a higher --conf or a model with fewer candidates would help"
            ),
            _ => format!(
                "the model takes {percent} of the CPU time: a faster runtime or lower precision would help (vidmill tune {model})"
            ),
        };
        match self.shortfall(wait) {
            Some(shortfall) => format!("{pace}; {shortfall}"),
            None => pace,
        }
    }

    /// Where the limit is missed by much, who waits for whom.
    fn shortfall(&self, wait: Wait) -> Option<String> {
        if self.share >= SHORT_OF_IT {
            return None;
        }
        Some(if wait.workers > 0.25 && wait.reader < 0.25 {
            "workers wait for frames, so the decoder holds the others up".to_owned()
        } else if wait.reader > 0.25 && wait.workers < 0.1 {
            "all workers are busy and the reader waits for them, so more of them (--workers) may help, unless cores share \
             their units or other programs are running"
                .to_owned()
        } else {
            "cores that share their units, memory, or other programs that are running take the rest"
                .to_owned()
        })
    }
}

/// A share as people say it.
fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAVY: Stages = Stages { decode: 6.0, preprocess: 0.5, infer: 20.0, task: 0.25, rest: 0.5 };

    #[test]
    fn the_limit_is_cores_over_the_sum_of_the_stages() {
        let limit = Limit::of(&HEAVY, 2, None, 71.0);
        assert!((limit.cpu_ms - 26.75).abs() < 1e-12);
        assert!((limit.frames_per_second - 2000.0 / 26.75).abs() < 1e-9);
        assert!((limit.share - 71.0 * 26.75 / 2000.0).abs() < 1e-9);
        assert!(!limit.by_device);
    }

    #[test]
    fn a_device_sets_it_only_where_it_is_slower_than_the_cores() {
        let cheap = Stages { infer: 1.0, ..HEAVY };
        let cores = Limit::of(&cheap, 4, None, 100.0).frames_per_second;
        let slow = Limit::of(&cheap, 4, Some(cores / 2.0), cores / 4.0);
        assert!(slow.by_device && (slow.share - 0.5).abs() < 1e-12);
        let fast = Limit::of(&cheap, 4, Some(cores * 2.0), cores / 4.0);
        assert!(!fast.by_device && (fast.share - 0.25).abs() < 1e-12);
    }

    #[test]
    fn nothing_measured_is_no_limit() {
        let limit = Limit::of(&Stages::default(), 2, None, 5.0);
        assert_eq!((limit.frames_per_second.to_bits(), limit.share.to_bits()), (0, 0));
    }

    #[test]
    fn the_advice_names_the_largest_stage() {
        let cases = [
            (HEAVY, "the model takes 75 %"),
            (Stages { decode: 60.0, ..HEAVY }, "decoding takes 74 %"),
            (Stages { preprocess: 60.0, ..HEAVY }, "making tensors"),
            (Stages { task: 60.0, ..HEAVY }, "outputs takes"),
        ];
        for (stages, words) in cases {
            let limit = Limit { share: 0.95, ..Limit::of(&stages, 2, None, 0.0) };
            let advice = limit.advice(&stages, Wait::default(), "m.onnx");
            assert!(advice.contains(words) && !advice.contains(';'), "{advice}");
        }
        let by_device = Limit { by_device: true, share: 0.95, ..Limit::default() };
        assert!(by_device.advice(&HEAVY, Wait::default(), "m.onnx").contains("vidmill tune m.onnx"));
    }

    #[test]
    fn a_limit_that_is_missed_is_explained_by_who_waits() {
        let limit = Limit { share: 0.5, ..Limit::of(&HEAVY, 2, None, 0.0) };
        let of = |reader, workers| limit.advice(&HEAVY, Wait { reader, workers }, "m.onnx");
        assert!(of(0.0, 0.5).contains("workers wait for frames"));
        assert!(of(0.5, 0.0).contains("--workers"));
        assert!(of(0.3, 0.3).contains("take the rest"));
    }
}
