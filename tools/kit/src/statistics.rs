//! Statistics of measured values.

/// The quantile of ascending values; not a number when there are none.
#[must_use]
pub fn quantile(ascending: &[u32], share: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else { return f64::NAN };
    f64::from(ascending[(last as f64 * share) as usize])
}

/// The ratios of values, run by run.
#[must_use]
pub fn ratios(values: &[f64], others: &[f64]) -> Vec<f64> {
    values.iter().zip(others).map(|(value, other)| value / other).collect()
}

/// Appends a run's values, each to the list of its figure.
pub fn push_each(figures: &mut [Vec<f64>], values: impl IntoIterator<Item = f64>) {
    figures.iter_mut().zip(values).for_each(|(runs, value)| runs.push(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_is_a_measured_value() {
        let ascending: Vec<_> = (1..=101).collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|share| quantile(&ascending, share)),
            [1.0, 51.0, 100.0, 101.0]
        );
        assert!(quantile(&[], 0.5).is_nan());
    }
}
