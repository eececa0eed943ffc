//! The report: one HTML file.
use ramson_sim::Outcome;
use ramson_sim::property::Property;
use ramson_sim::scenario::Scenario;

pub(crate) fn html(_: &Scenario, _: &[Outcome], _: &[Property]) -> Result<String, String> {
    Ok(String::new())
}
