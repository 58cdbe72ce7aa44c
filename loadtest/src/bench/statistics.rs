//! The middle of a few figures: a window that was disturbed must not count.

use serde::Serialize;

/// Median and quartiles of what the rounds gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    /// None of nothing.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().filter(|figure| figure.is_finite()).collect();
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * figures.len().checked_sub(1)? as f64;
            let (below, above) = (figures[place.floor() as usize], figures[place.ceil() as usize]);
            Some(below + (above - below) * place.fract())
        };
        Some(Self { median: at(0.5)?, low: at(0.25)?, high: at(0.75)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_window_does_not_count() {
        let spread = Spread::of([1.0, 1.2, 900.0, 1.1, 0.9]).unwrap();
        assert_eq!((spread.median, spread.low, spread.high), (1.1, 1.0, 1.2));
        assert_eq!(Spread::of([2.0, 4.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of([f64::NAN]), None);
    }
}
