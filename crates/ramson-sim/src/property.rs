//! What must hold, and whether it does.

/// One property, as it was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    pub name: &'static str,
    pub value: f64,
    /// The confidence interval, 95 %.
    pub low: f64,
    pub high: f64,
    pub bound: String,
    pub holds: bool,
}

impl Property {
    /// What so many runs say together: their mean, its confidence interval, and whether the mean keeps the bounds. A
    /// run that measured nothing is left out; without any, nothing holds.
    pub fn of(name: &'static str, values: &[f64], at_least: Option<f64>, at_most: Option<f64>) -> Self {
        let (value, low, high) = mean(values);
        let bound = match (at_least, at_most) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!(">= {least}"),
            (None, Some(most)) => format!("<= {most}"),
            (None, None) => "none".to_owned(),
        };
        let holds = at_least.is_none_or(|least| value >= least) && at_most.is_none_or(|most| value <= most);
        Self { name, value, low, high, bound, holds: holds && value.is_finite() }
    }

    /// One line of JSON; a number that is none is null.
    pub fn json(&self) -> String {
        let Self { name, value, low, high, bound, holds } = self;
        serde_json::json!({"name": name, "value": value, "low": low, "high": high, "bound": bound, "holds": holds})
            .to_string()
    }
}

/// The mean of what was measured, with its confidence interval by Student's distribution.
pub fn mean(values: &[f64]) -> (f64, f64, f64) {
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let half = match values.len() {
        0 | 1 => 0.0,
        len => student(len - 1) * (squares / (n - 1.0)).sqrt() / n.sqrt(),
    };
    (mean, mean - half, mean + half)
}

/// The 97.5th percentile of Student's distribution with so many degrees of freedom.
fn student(freedom: usize) -> f64 {
    const SMALL: [f64; 10] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23];
    match freedom.checked_sub(1).and_then(|at| SMALL.get(at)) {
        Some(value) => *value,
        None if freedom < 20 => 2.2,
        None if freedom < 60 => 2.09,
        None => 1.96,
    }
}

#[cfg(test)]
mod tests {
    use super::Property;

    #[test]
    fn a_mean_has_its_interval_and_keeps_its_bounds() {
        let property = Property::of("p", &[1.0, 2.0, 3.0, f64::NAN], Some(2.0), None);
        assert_eq!((property.value, property.holds), (2.0, true));
        assert!((property.low - (2.0 - 4.30 / 3f64.sqrt())).abs() < 1e-9, "{property:?}");
        assert!(!Property::of("p", &[1.0, 2.0], Some(2.0), None).holds);
        assert!(!Property::of("p", &[3.0], None, Some(2.0)).holds);
        assert!(!Property::of("p", &[], None, Some(2.0)).holds, "what was not measured does not hold");
    }

    #[test]
    fn a_line_of_json_is_one() {
        let line = Property::of("a \"b\"", &[], Some(1.0), None).json();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(value["value"].is_null() && value["name"] == "a \"b\"" && value["holds"] == false);
    }
}
