//! Draws figures as bars in an SVG without scripts or fonts.

use std::fmt::Write as _;

use crate::report::{Report, short};

const WIDTH: f64 = 760.0;
const LABELS: f64 = 210.0;
const BARS: f64 = 440.0;
const ROW: f64 = 26.0;
const TITLE: f64 = 44.0;

/// The colour of floors.
pub const FLOOR: &str = "#b8c0cc";
/// The colour of Broker.
pub const BROKER: &str = "#2563eb";
/// The colour of peers.
pub const PEER: &str = "#f59e0b";

/// A plot of panels, from the top.
pub struct Plot {
    /// Its title.
    pub title: &'static str,
    /// Its panels. Those whose bench did not run are left out.
    pub panels: &'static [Panel],
}

/// A group of bars with one unit.
pub struct Panel {
    /// The title above it.
    pub title: &'static str,
    /// The bench of its figures.
    pub bench: &'static str,
    /// The unit of its figures.
    pub unit: &'static str,
    /// Figure, label and colour of each bar.
    pub bars: &'static [(&'static str, &'static str, &'static str)],
    /// The value that a line marks.
    pub goal: Option<f64>,
}

/// Draws the plot of a report as SVG.
#[must_use]
pub fn svg(plot: &Plot, report: &Report) -> String {
    let mut body = String::new();
    let mut top = 8.0;
    for panel in plot.panels {
        top = draw(&mut body, panel, report, top);
    }
    let height = top + 12.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n",
        plot.title
    )
}

/// Draws a panel from `top`, and returns where it ends.
fn draw(body: &mut String, panel: &Panel, report: &Report, top: f64) -> f64 {
    let values = panel.bars.iter().map(|(figure, ..)| report.median(panel.bench, figure));
    let Some(values) = values.collect::<Option<Vec<_>>>() else { return top };
    let greatest = values.iter().copied().fold(panel.goal.unwrap_or(0.0), f64::max);
    let mut element = |text: String| writeln!(body, "{text}").expect("writing to a string");
    let baseline = top + 28.0;
    element(format!(
        "<text x=\"16\" y=\"{baseline}\" font-weight=\"600\" fill=\"#111827\">{}</text>",
        panel.title
    ));
    let mut y = top + TITLE;
    for ((_, label, colour), value) in panel.bars.iter().zip(&values) {
        let (width, text_y) = (value / greatest * BARS, y + 14.0);
        let (label_x, value_x) = (LABELS - 10.0, LABELS + width + 8.0);
        element(format!(
            "<text x=\"{label_x}\" y=\"{text_y}\" text-anchor=\"end\" fill=\"#374151\">{label}\
             </text><rect x=\"{LABELS}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" rx=\"2\" \
             fill=\"{colour}\"/><text x=\"{value_x:.1}\" y=\"{text_y}\" fill=\"#111827\">{} {}\
             </text>",
            short(*value),
            panel.unit
        ));
        y += ROW;
    }
    if let Some(goal) = panel.goal {
        let (x, from, to) = (LABELS + goal / greatest * BARS, top + TITLE - 4.0, y - 4.0);
        element(format!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from}\" y2=\"{to}\" stroke=\"#dc2626\" \
             stroke-dasharray=\"4 3\"/>"
        ));
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANELS: &[Panel] = &[
        Panel {
            title: "measured",
            bench: "a",
            unit: "us",
            bars: &[("broker", "Broker", BROKER), ("floor", "Floor", FLOOR)],
            goal: Some(4.0),
        },
        Panel {
            title: "not measured",
            bench: "b",
            unit: "us",
            bars: &[("broker", "Broker", BROKER)],
            goal: None,
        },
    ];

    #[test]
    fn panels_whose_bench_did_not_run_are_left_out() {
        let mut report = Report::begin();
        report.add("a", "broker", "us", &[2.0]);
        report.add("a", "floor", "us", &[1.0]);
        let svg = svg(&Plot { title: "Title", panels: PANELS }, &report);
        assert!(svg.contains(">measured<") && !svg.contains("not measured"), "{svg}");
        // Half of the goal, which is the longest.
        assert!(svg.contains("width=\"220.0\""), "{svg}");
    }
}
