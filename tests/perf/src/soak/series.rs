//! A figure over time, and whether it grew.

use serde_json::{Value, json};

/// A figure over time.
#[derive(Debug)]
pub(crate) struct Series {
    name: &'static str,
    unit: &'static str,
    /// The least growth that counts; `None` where growth is not judged.
    bound: Option<f64>,
    /// Minutes and values.
    points: Vec<(f64, f64)>,
}

/// A straight line through points: what it rises by from the first to the last, and three standard deviations around it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Trend {
    rise: f64,
    noise: f64,
}

impl Series {
    /// An empty one.
    pub(crate) const fn new(name: &'static str, unit: &'static str, bound: Option<f64>) -> Self {
        Self { name, unit, bound, points: Vec::new() }
    }

    /// What it is of.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Minutes and values.
    pub(crate) fn points(&self) -> &[(f64, f64)] {
        &self.points
    }

    /// A value at a time in minutes.
    pub(crate) fn push(&mut self, at: f64, value: f64) {
        self.points.push((at, value));
    }

    /// Whether it rose in the second half, beyond its noise.
    pub(crate) fn grew(&self) -> bool {
        let Trend { rise, noise } = self.trend();
        self.bound.is_some_and(|bound| rise > bound && rise > noise)
    }

    /// The largest value.
    pub(crate) fn most(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
    }

    /// `512 MB`.
    pub(crate) fn shown(&self, value: f64) -> String {
        format!("{value:.0} {}", self.unit).trim_end().to_owned()
    }

    /// For the table.
    pub(crate) fn row(&self) -> Vec<String> {
        let at = |index: usize| self.points.get(index).map_or(f64::NAN, |(_, value)| *value);
        let (half, last, Trend { rise, noise }) = (self.points.len() / 2, self.points.len() - 1, self.trend());
        let mut row = vec![self.name.to_owned()];
        row.extend([at(0), at(half), at(last), self.most()].map(|value| self.shown(value)));
        row.push(format!("{rise:+.1}{}", if self.bound.is_none() { ", not judged" } else { "" }));
        row.push(format!("{noise:.1}"));
        row
    }

    pub(crate) fn json(&self) -> Value {
        let Trend { rise, noise } = self.trend();
        json!({ "name": self.name, "unit": self.unit, "rise": rise, "noise": noise, "points": self.points })
    }

    fn trend(&self) -> Trend {
        let half = self.points.get(self.points.len() / 2..).unwrap_or_default();
        let count = half.len() as f64;
        if half.len() < 3 {
            return Trend::default();
        }
        let mean = |of: fn(&(f64, f64)) -> f64| half.iter().map(of).sum::<f64>() / count;
        let (middle, level) = (mean(|(at, _)| *at), mean(|(_, value)| *value));
        let spread: f64 = half.iter().map(|(at, _)| (at - middle).powi(2)).sum();
        let slope = half.iter().map(|(at, value)| (at - middle) * (value - level)).sum::<f64>() / spread;
        let off = |(at, value): &(f64, f64)| (value - level - slope * (at - middle)).powi(2);
        let deviation = (half.iter().map(off).sum::<f64>() / count).sqrt();
        Trend { rise: slope * (half[half.len() - 1].0 - half[0].0), noise: 3.0 * deviation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(value: impl Fn(f64) -> f64) -> Series {
        let mut series = Series::new("a", "MB", Some(5.0));
        (0..100).for_each(|at| series.push(f64::from(at), value(f64::from(at))));
        series
    }

    #[test]
    fn only_what_rises_in_the_second_half_beyond_its_noise_grew() {
        assert!(!series(|_| 50.0).grew());
        assert!(!series(|at| at.min(40.0) * 10.0).grew(), "it grew in the first half alone");
        assert!(!series(|at| 50.0 + at / 20.0).grew(), "less than the bound");
        assert!(series(|at| 50.0 + at).grew());
        assert!(!series(|at| 50.0 + (at * 7.0) % 40.0 + at / 5.0).grew(), "less than the noise");
        assert!(!Series { bound: None, ..series(|at| 50.0 + at) }.grew());
    }
}
