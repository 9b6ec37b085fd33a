//! Statistics of measured values.

/// The quantile of ascending values; not a number when there are none.
pub fn quantile(ascending: &[u32], share: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else { return f64::NAN };
    f64::from(ascending[(last as f64 * share) as usize])
}

/// The ratios of values, run by run.
pub fn ratios(values: &[f64], others: &[f64]) -> Vec<f64> {
    values.iter().zip(others).map(|(value, other)| value / other).collect()
}

/// Appends a run's values, each to the list of its figure.
pub fn push_each(figures: &mut [Vec<f64>], values: impl IntoIterator<Item = f64>) {
    figures.iter_mut().zip(values).for_each(|(runs, value)| runs.push(value));
}
