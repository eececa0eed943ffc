//! Plots as SVG. Colours are names: the page's style sheet says what they are, in the light and in the dark.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

const SIZE: (u32, u32) = (560, 280);
/// What the style sheet replaces.
pub(crate) const INK: RGBColor = RGBColor(1, 1, 1);
pub(crate) const GRID: RGBColor = RGBColor(1, 1, 2);
pub(crate) const FIRST: RGBColor = RGBColor(1, 1, 3);
pub(crate) const SECOND: RGBColor = RGBColor(1, 1, 4);
pub(crate) const THIRD: RGBColor = RGBColor(1, 1, 5);
const BAND: RGBColor = RGBColor(1, 1, 6);

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Points = Vec<(f64, f64)>;

/// What the axes say, and how far they go.
pub(crate) struct Axes {
    pub(crate) x: (&'static str, f64, f64),
    pub(crate) y: (&'static str, f64, f64),
    pub(crate) percent: bool,
}

/// One line of a plot.
pub(crate) struct Line {
    pub(crate) points: Points,
    pub(crate) colour: RGBColor,
    pub(crate) dashed: bool,
}

impl Line {
    pub(crate) const fn new(points: Points, colour: RGBColor) -> Self {
        Self { points, colour, dashed: false }
    }

    pub(crate) fn dashed(points: Points, colour: RGBColor) -> Self {
        Self { points, colour, dashed: true }
    }
}

/// Lines, above a band from the lowest to the highest where there is one.
pub(crate) fn lines(axes: &Axes, lines: &[Line], band: Option<(Points, Points)>) -> Result<String, String> {
    draw(axes, |chart| {
        if let Some((low, high)) = band {
            let outline: Points = low.into_iter().chain(high.into_iter().rev()).collect();
            chart.draw_series([Polygon::new(outline, BAND.filled())]).map_err(said)?;
        }
        for line in lines {
            let style = line.colour.stroke_width(2);
            if line.dashed {
                chart
                    .draw_series(line.points.windows(2).flat_map(dashes).map(|dash| PathElement::new(dash, style)))
                    .map_err(said)?;
            } else {
                chart.draw_series([PathElement::new(line.points.clone(), style)]).map_err(said)?;
            }
        }
        Ok(())
    })
}

/// Bars from zero, each with its left and right edge, and a line over them.
pub(crate) fn bars(axes: &Axes, bars: &[(f64, f64, f64)], line: &Line) -> Result<String, String> {
    draw(axes, |chart| {
        let gap = bars.first().map_or(0.0, |(left, right, _)| (right - left) * 0.08);
        let bar = |(left, right, height): &(f64, f64, f64)| {
            Rectangle::new([(left + gap, 0.0), (right - gap, *height)], FIRST.filled())
        };
        chart.draw_series(bars.iter().map(bar)).map_err(said)?;
        chart.draw_series([PathElement::new(line.points.clone(), line.colour.stroke_width(2))]).map_err(said)?;
        Ok(())
    })
}

fn draw(axes: &Axes, fill: impl FnOnce(&mut Chart<'_, '_>) -> Result<(), String>) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin_top(12)
            .margin_right(16)
            .x_label_area_size(46)
            .y_label_area_size(52)
            .build_cartesian_2d(axes.x.1..axes.x.2, axes.y.1..axes.y.2)
            .map_err(said)?;
        let text = ("sans-serif", 13).into_font().color(&INK);
        let percent = axes.percent;
        let number = move |value: &f64| if percent { format!("{:.0} %", value * 100.0) } else { short(*value) };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_desc(axes.x.0)
            .y_desc(axes.y.0)
            .x_labels(7)
            .y_labels(5)
            .label_style(text.clone())
            .axis_desc_style(text)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&number)
            .draw()
            .map_err(said)?;
        fill(&mut chart)?;
        area.present().map_err(said)?;
    }
    // The page gives the size; what is behind shows through.
    let open = format!("width=\"{}\" height=\"{}\"", SIZE.0, SIZE.1);
    Ok(svg.replacen(&open, "role=\"img\"", 1))
}

/// A line in pieces, as long as their gaps.
fn dashes(ends: &[(f64, f64)]) -> Vec<Points> {
    const PIECES: usize = 24;
    let [from, to] = [ends[0], ends[1]];
    let at = |n: usize| {
        let part = n as f64 / (2 * PIECES - 1) as f64;
        (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part)
    };
    (0..PIECES).map(|n| vec![at(2 * n), at(2 * n + 1)]).collect()
}

/// A number for an axis.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 10_000.0 => format!("{:.0}k", value / 1_000.0),
        size if size >= 10.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        _ => format!("{value:.2}"),
    }
}

fn said(why: impl std::fmt::Display) -> String {
    format!("the plot: {why}")
}
