//! A second model on what the first one found: verdicts -> crops -> slots -> workers -> verdicts with more in them.
//!
//! One thread takes the frames that the first model is done with, cuts their detections out, and writes them into slots of the
//! second model's executor; crops of one size share a slot, whatever frames they are of. When the last crop of a frame is back, the
//! frame goes on to the books. While no frame is waiting, slots that are not full are handed over, so nothing is ever held back for
//! others. Frames in here have their permits on the line, so there are no more of them than its window; none of the
//! queues can be full for ever, since whoever empties one never waits for who fills it.

mod place;
mod second;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use vidmill_image::{Crop, Cutter, Planes, Preprocess, Quad, Size, TensorSpec};
use vidmill_infer::{Detection, Found, TaskPlan};
use vidmill_video::Frame;

use crate::error::RunError;
use crate::feed::Event;
use crate::fill::Filler;
use crate::stage::{Clocks, Stage};
use crate::worker::{Item, Ticket, Verdict};

use place::Placing;
pub(crate) use second::{Second, second};

/// A frame that the first model is done with.
pub(crate) type Job = (Ticket, Verdict);

/// A crop on its way through the second model.
pub(crate) struct CropTicket {
    frame: Arc<Pending>,
    /// Its place among the frame's detections.
    at: usize,
    placing: Placing,
}

/// Which detections the second model is to see.
pub(crate) struct Wanted {
    /// Classes as they were given; none means all.
    classes: Vec<String>,
    /// Their numbers.
    ids: Vec<u32>,
}

impl Wanted {
    /// Those of these classes, by name or number; of all, where none is named.
    pub fn new(classes: &[String], plan: &TaskPlan) -> Result<Self, RunError> {
        let mut ids = Vec::new();
        for class in classes {
            match plan.class(class) {
                Ok(id) => ids.push(id),
                // It may name classes only with its results.
                Err(_) if plan.labels().is_empty() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { classes: classes.to_vec(), ids })
    }

    fn has(&self, detection: &Detection, own_name: Option<&String>) -> bool {
        let is_given = |class: &String| Some(class) == own_name || *class == detection.class_id.to_string();
        match own_name {
            _ if self.classes.is_empty() => true,
            Some(_) => self.classes.iter().any(is_given),
            None => self.ids.contains(&detection.class_id),
        }
    }
}

/// A frame whose crops are under way. It goes on when the last of them is dropped, whoever drops it.
struct Pending {
    place: u64,
    events: Sender<(u64, Event)>,
    first: Arc<TaskPlan>,
    state: Mutex<State>,
}

struct State {
    /// Taken when the frame goes on.
    item: Option<Item>,
    found: Found,
    /// The detections whose crops are not back.
    missing: Vec<usize>,
    failure: Option<Failed>,
    lost: Option<String>,
}

/// Why a frame fails: the first of its detections that does.
struct Failed {
    at: usize,
    error: String,
    attempts: u32,
}

impl Pending {
    fn settle(&self, at: usize, settled: Result<Found, Failed>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.missing.retain(|missing| *missing != at);
        match settled {
            Ok(found) => {
                if let Some(detection) = state.found.detections.as_mut().and_then(|all| all.get_mut(at)) {
                    detection.inside = Some(Box::new(found));
                }
            }
            Err(failed) if state.failure.as_ref().is_none_or(|first| failed.at < first.at) => {
                state.failure = Some(failed);
            }
            Err(_) => {}
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(item) = state.item.take() else { return };
        let missing = || {
            let error = "its crop never came back; please report this as a bug".to_owned();
            state.missing.first().map(|&at| Failed { at, error, attempts: 1 })
        };
        let verdict = match (state.lost.take(), state.failure.take().or_else(missing)) {
            (Some(reason), _) => Verdict::Lost(reason),
            (None, Some(Failed { at, error, attempts })) => {
                Verdict::Failed { error: tell(&state.found, at, &self.first, &error), attempts }
            }
            (None, None) => Verdict::Found(std::mem::take(&mut state.found)),
        };
        // Whoever keeps the books listens until the last worker is gone.
        let _ = self.events.send((self.place, Event::Frame { item, verdict }));
    }
}

/// "detection 3 (car at 10, 20 to 40, 50): ...", as the frame's record would have counted it.
fn tell(found: &Found, at: usize, first: &TaskPlan, error: &str) -> String {
    let Some(detection) = found.detections.as_ref().and_then(|all| all.get(at)) else {
        return error.to_owned();
    };
    let name = found.names.get(at).cloned();
    let name = name.unwrap_or_else(|| first.labels().name(detection.class_id).into_owned());
    let vidmill_image::Rect { x1, y1, x2, y2 } = detection.rect;
    format!("detection {at} ({name} at {x1:.0}, {y1:.0} to {x2:.0}, {y2:.0}): {error}")
}

/// What the second model's executor gives back of a crop.
pub(crate) fn deliver(CropTicket { frame, at, placing }: CropTicket, verdict: Verdict) {
    let failed = |error, attempts| Err(Failed { at, error, attempts });
    match verdict {
        Verdict::Found(found) => {
            let placed = placing.put(found);
            frame.settle(at, placed.or_else(|error| failed(error, 1)));
        }
        Verdict::Failed { error, attempts } => frame.settle(at, failed(error, attempts)),
        Verdict::Lost(reason) => {
            frame.state.lock().unwrap_or_else(PoisonError::into_inner).lost = Some(reason);
        }
    }
}

/// A detection that is to be cut out.
struct Cut {
    at: usize,
    placing: Placing,
    /// What is made of it.
    spec: TensorSpec,
}

/// Cuts out what the second model is to see.
pub(crate) struct Cutting {
    pub jobs: Receiver<Job>,
    pub filler: Filler<CropTicket>,
    pub first: Arc<TaskPlan>,
    pub second: Arc<TaskPlan>,
    pub wanted: Wanted,
    pub events: Sender<(u64, Event)>,
    /// Whether frames are drawn on later.
    pub keep_frames: bool,
    pub clocks: Arc<Clocks>,
    pub cutter: Cutter,
}

impl Cutting {
    /// Takes frames until no more can come; returns when all their crops are back.
    pub fn run(mut self) {
        loop {
            let job = match self.jobs.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    self.filler.submit();
                    match self.jobs.recv() {
                        Ok(job) => job,
                        Err(_) => break,
                    }
                }
            };
            // A frame that cannot be cut up fails by itself, when what is known of it is dropped.
            if catch_unwind(AssertUnwindSafe(|| self.take(job))).is_err() {
                self.cutter = Cutter::default();
            }
        }
        self.filler.submit();
    }

    fn take(&mut self, ((place, item), verdict): Job) {
        let pass = |verdict, item| {
            let _ = self.events.send((place, Event::Frame { item, verdict }));
        };
        let found = match verdict {
            Verdict::Found(found) => found,
            other => return pass(other, item),
        };
        let is_wanted =
            |(at, detection): &(usize, &Detection)| self.wanted.has(detection, found.names.get(*at));
        let detections = found.detections.iter().flatten();
        let chosen: Vec<usize> = detections.enumerate().filter(is_wanted).map(|(at, _)| at).collect();
        let Item { head, frame } = item;
        let Some(frame) = frame else {
            let error = "its pixels are gone; please report this as a bug".to_owned();
            return pass(Verdict::Failed { error, attempts: 1 }, Item { head, frame: None });
        };
        if chosen.is_empty() {
            let frame = self.keep_frames.then_some(frame);
            return pass(Verdict::Found(found), Item { head, frame });
        }
        let crops = self.crops(&found, &chosen, frame.planes().displayed_size());
        let state = State {
            item: Some(Item { head, frame: None }),
            found,
            missing: chosen,
            failure: None,
            lost: None,
        };
        let (events, first) = (self.events.clone(), Arc::clone(&self.first));
        let pending = Arc::new(Pending { place, events, first, state: Mutex::new(state) });
        for Cut { at, placing, spec } in crops {
            match self.write(&frame, &placing, &spec) {
                Ok(geometry) => {
                    self.filler.put(CropTicket { frame: Arc::clone(&pending), at, placing }, geometry);
                }
                Err(error) => pending.settle(at, Err(Failed { at, error, attempts: 1 })),
            }
        }
        if self.keep_frames {
            let mut state = pending.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(item) = &mut state.item {
                item.frame = Some(frame);
            }
        }
    }

    /// Where each chosen detection is cut out, and what is made of it; those of one size side by side.
    fn crops(&self, found: &Found, chosen: &[usize], picture: Size) -> Vec<Cut> {
        let all = found.detections.as_deref().unwrap_or_default();
        let crop = |&at: &usize| {
            let placing = Placing::of(all.get(at)?, picture)?;
            let spec = self.second.spec_for(placing.size());
            Some(Cut { at, placing, spec })
        };
        let mut crops: Vec<_> = chosen.iter().filter_map(crop).collect();
        crops.sort_by_key(|cut| (cut.spec.size.width, cut.spec.size.height));
        crops
    }

    /// Cuts a detection out of the frame, and writes it as the second model wants it.
    fn write(
        &mut self,
        frame: &Frame,
        placing: &Placing,
        spec: &TensorSpec,
    ) -> Result<vidmill_image::Geometry, String> {
        let room = self.filler.room(spec);
        let cutter = &mut self.cutter;
        self.clocks.time(Stage::Crop, || {
            let planes = frame.planes();
            let part: Planes<'_> = match placing {
                Placing::Upright { crop, .. } => cutter.cut(&planes, *crop),
                Placing::Straight { quad, .. } => cutter.straighten(&planes, quad),
            }
            .map_err(|error| error.to_string())?;
            let mut preprocess = Preprocess::for_planes(spec, &part).map_err(|error| error.to_string())?;
            preprocess.run(&part, room).map_err(|error| error.to_string())?;
            Ok(*preprocess.geometry())
        })
    }
}

impl Placing {
    /// Where a detection is cut out: between its corners where it has some that span a picture, else by its box.
    fn of(detection: &Detection, picture: Size) -> Option<Self> {
        if let Some(quad) = detection.corners.and_then(|corners| Quad::new(corners, picture).ok()) {
            return Some(Self::Straight { quad: Box::new(quad), picture });
        }
        Crop::around(detection.rect, picture).map(|crop| Self::Upright { crop, picture })
    }
}
