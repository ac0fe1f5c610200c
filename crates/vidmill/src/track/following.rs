//! Tracking in the records of a run.

use vidmill_infer::TaskPlan;

use crate::options::Options;
use crate::record::Outcome;

use super::{Observation, Settings, Tracker};

/// How a run's objects are followed.
pub(crate) struct Following {
    settings: Settings,
    /// Detections must be surer than this to be told of, unless they belong to a track.
    conf: f32,
}

impl Following {
    /// As the user asks for it, if so.
    pub fn of(options: &Options, plan: &TaskPlan) -> Option<Self> {
        let settings = options.track.clone()?;
        Some(Self { settings, conf: plan.conf() })
    }

    /// The tracker of a source that is begun.
    pub fn begin(&self) -> Tracker {
        Tracker::new(&self.settings)
    }

    /// Gives the detections of the next frame the ids of their tracks. Those that are here for the tracker only, which has no use for
    /// them, go. A frame without detections, for whatever reason, is one in which nothing is seen.
    pub fn follow(&self, tracker: &mut Tracker, outcome: &mut Outcome) {
        let mut nothing = Vec::new();
        let detections = match outcome {
            Outcome::Ok(found) => found.detections.as_mut().unwrap_or(&mut nothing),
            Outcome::Failed { .. } | Outcome::Dropped { .. } => &mut nothing,
        };
        let seen: Vec<_> = detections
            .iter()
            .map(|detection| Observation { xyxy: detection.xyxy, confidence: detection.confidence })
            .collect();
        for tracked in tracker.update(&seen) {
            if let Some(detection) = detections.get_mut(tracked.detection) {
                detection.track_id = Some(tracked.id);
            }
        }
        detections.retain(|detection| detection.track_id.is_some() || detection.confidence > self.conf);
    }
}
