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
