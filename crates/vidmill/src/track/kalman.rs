//! The Kalman filter of one coordinate that moves at a constant velocity.
//!
//! Both trackers' filters have seven or eight states, but their matrices couple no two coordinates: the covariance begins diagonal, noise is
//! diagonal, and the motion adds each velocity to its own coordinate. So they fall apart into filters of two states, exactly. Sums and
//! products come in the order in which the references' matrix products have them: boxes that overlap equally shall do so
//! to the last bit here, too.

use serde::{Deserialize, Serialize};

/// A coordinate and its velocity per frame, with their covariance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Coordinate {
    pub position: f64,
    pub velocity: f64,
    /// Row by row; rounding makes it asymmetric.
    covariance: [f64; 4],
}

/// Variances that are added in a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    pub position: f64,
    pub velocity: f64,
}

impl Coordinate {
    /// At rest, and as uncertain as `noise` says.
    pub fn at(position: f64, noise: Noise) -> Self {
        Self { position, velocity: 0.0, covariance: [noise.position, 0.0, 0.0, noise.velocity] }
    }

    /// One frame on.
    pub fn predict(&mut self, noise: Noise) {
        let [pp, pv, vp, vv] = self.covariance;
        self.position += self.velocity;
        self.covariance = [(pp + vp) + (pv + vv) + noise.position, pv + vv, vp + vv, vv + noise.velocity];
    }

    /// Takes in a measured position of variance `noise`; the covariance shrinks by what the gain explains.
    pub fn correct(&mut self, measured: f64, noise: f64) {
        let [pp, pv, vp, vv] = self.covariance;
        let total = pp + noise;
        let (gain, gain_v) = (pp / total, vp / total);
        self.shift(measured, gain, gain_v);
        self.covariance = [
            pp - gain * (total * gain),
            pv - gain * (total * gain_v),
            vp - gain_v * (total * gain),
            vv - gain_v * (total * gain_v),
        ];
    }

    /// The same in Joseph's form, which is the same but for rounding.
    pub fn correct_in_josephs_form(&mut self, measured: f64, noise: f64) {
        let [pp, pv, vp, vv] = self.covariance;
        let inverse = 1.0 / (pp + noise);
        let (gain, gain_v) = (pp * inverse, vp * inverse);
        self.shift(measured, gain, gain_v);
        let rest = 1.0 - gain;
        let (left_pp, left_pv) = (rest * pp, rest * pv);
        let (left_vp, left_vv) = (vp - gain_v * pp, vv - gain_v * pv);
        self.covariance = [
            left_pp * rest + (gain * noise) * gain,
            (left_pv - left_pp * gain_v) + (gain * noise) * gain_v,
            left_vp * rest + (gain_v * noise) * gain,
            (left_vv - left_vp * gain_v) + (gain_v * noise) * gain_v,
        ];
    }

    fn shift(&mut self, measured: f64, gain: f64, gain_v: f64) {
        let innovation = measured - self.position;
        self.position += gain * innovation;
        self.velocity += gain_v * innovation;
    }
}
