//! Medians, their spread, and figures with targets.

use std::fmt;

use serde::Serialize;

/// What was measured in the rounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Spread {
    pub(super) median: f64,
    /// A quarter of the rounds is below.
    pub(super) low: f64,
    /// A quarter of the rounds is above.
    pub(super) high: f64,
}

impl Spread {
    /// Of the values of all rounds; of none all is NaN, which reaches no target.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len().max(1) - 1) as f64;
            let below = values.get(place as usize).copied().unwrap_or(f64::NAN);
            let above = values.get(place.ceil() as usize).copied().unwrap_or(below);
            below + (above - below) * place.fract()
        };
        Self {
            median: at(0.5),
            low: at(0.25),
            high: at(0.75),
        }
    }

    /// Of the quotients, round by round.
    pub(super) fn of_ratios(dividends: &[f64], divisors: &[f64]) -> Self {
        Self::of(dividends.iter().zip(divisors).map(|(a, b)| a / b))
    }
}

impl fmt::Display for Spread {
    /// As many digits as the precision says: `123 [110-140]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Self { median, low, high } = self;
        let text = format!("{median:.digits$} [{low:.digits$}-{high:.digits$}]");
        f.pad_integral(true, "", &text)
    }
}

/// Which side of the target is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    AtLeast,
    AtMost,
}

/// A figure that was promised.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) target: String,
    /// Whether the target is reached; in a quick run, whether anything was measured.
    pub(super) ok: bool,
}

impl Figure {
    /// A ratio and what it has to be; `judged`: otherwise anything that was measured is.
    pub(super) fn ratio(
        name: String,
        ratio: Spread,
        bound: Bound,
        target: f64,
        judged: bool,
    ) -> Self {
        Self::of(name, (ratio.median, "ratio"), bound, target, judged)
    }

    /// A value with its unit, and what it has to be.
    pub(super) fn of(
        name: String,
        (value, unit): (f64, &'static str),
        bound: Bound,
        target: f64,
        judged: bool,
    ) -> Self {
        let (sign, reached) = match bound {
            Bound::AtLeast => (">=", value >= target),
            Bound::AtMost => ("<=", value <= target),
        };
        Self {
            name,
            value,
            unit,
            target: format!("{sign} {target:.2}"),
            ok: if judged {
                reached
            } else {
                value.is_finite() && value > 0.0
            },
        }
    }

    /// A value that is published, whatever it is.
    pub(super) fn published(name: String, (value, unit): (f64, &'static str)) -> Self {
        Self {
            name,
            value,
            unit,
            target: "published".to_owned(),
            ok: value.is_finite(),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.ok { "ok    " } else { "MISSED" };
        let Self {
            name,
            value,
            unit,
            target,
            ..
        } = self;
        let unit = if *unit == "ratio" { "" } else { unit };
        write!(f, "{mark} {value:>6.2}{unit}  {target}{unit}  {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Figure, Spread};

    #[test]
    fn medians_and_quarters_lie_between_values() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0]);
        assert_eq!(
            spread,
            Spread {
                median: 2.5,
                low: 1.75,
                high: 3.25
            }
        );
        assert_eq!(format!("{spread:.1}"), "2.5 [1.8-3.2]");
        assert_eq!(Spread::of([7.0]).high, 7.0);
        let ratio = Spread::of_ratios(&[2.0, 9.0, 4.0], &[1.0, 3.0, 4.0]);
        assert_eq!(ratio.median, 2.0);
    }

    #[test]
    fn what_was_not_measured_reaches_no_target() {
        let judge = |judged, bound, value: &[f64]| {
            let ratio = Spread::of(value.iter().copied());
            Figure::ratio("x".to_owned(), ratio, bound, 0.8, judged).ok
        };
        assert!(judge(true, Bound::AtLeast, &[0.81]));
        assert!(!judge(true, Bound::AtLeast, &[0.79]));
        assert!(!judge(true, Bound::AtMost, &[0.81]));
        assert!(!judge(true, Bound::AtMost, &[]));
        assert!(judge(false, Bound::AtLeast, &[0.1]));
        assert!(!judge(false, Bound::AtLeast, &[]));
    }
}
