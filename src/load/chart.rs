//! Plots as SVG text.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::page::escaped;

/// A plot over time, or over quantiles.
pub struct Chart<'a> {
    pub title: &'a str,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line<'a>>,
    /// Where something happened, each with the time without service after it.
    pub marks: &'a [Mark],
}

/// What an axis shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    Seconds,
    RecordsPerSecond,
    /// Logarithmic; what is not above 0 is left out.
    Milliseconds,
    /// Nines: 1 for 90 %, 2 for 99 %.
    Quantile,
    Cores,
    Megabytes,
    MegabytesPerSecond,
}

/// A line is interrupted where nothing is known.
pub struct Line<'a> {
    pub name: &'a str,
    pub points: Vec<(f64, Option<f64>)>,
}

/// An event on the time axis.
#[derive(Clone, Debug)]
pub struct Mark {
    pub at_seconds: f64,
    pub outage_seconds: Option<(f64, f64)>,
}

type Drawing<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Chart<'_> {
    /// The plot as one `svg` element; a paragraph that says so where there is nothing to plot.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        let outcome = match self.ranges() {
            None => return format!("<p>{}: nothing measured.</p>\n", escaped(self.title)),
            Some((x, y)) => {
                let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
                self.draw(&area, x, y)
            }
        };
        match outcome {
            Ok(()) => svg,
            Err(error) => format!(
                "<p>{}: {}</p>\n",
                escaped(self.title),
                escaped(&error.to_string())
            ),
        }
    }

    /// Of both axes, as they are drawn; `None` without a point.
    fn ranges(&self) -> Option<((f64, f64), (f64, f64))> {
        let points = || {
            self.lines
                .iter()
                .flat_map(|line| self.drawn(line))
                .flatten()
        };
        let bounds = |of: fn((f64, f64)) -> f64| {
            let least = points().map(of).reduce(f64::min)?;
            Some((least, points().map(of).reduce(f64::max)?))
        };
        let (x_low, x_high) = bounds(|point| point.0)?;
        let (y_low, y_high) = bounds(|point| point.1)?;
        let x = (x_low.min(0.0), x_high.max(x_low + 1e-9));
        let y = match self.y {
            Axis::Milliseconds => (y_low.floor(), y_high.ceil().max(y_low.floor() + 1.0)),
            _ => (0.0, (y_high * 1.08).max(1e-6)),
        };
        Some((x, y))
    }

    /// The points of a line in stretches without a gap, as they are drawn.
    fn drawn(&self, line: &Line) -> Vec<Vec<(f64, f64)>> {
        let mut stretches = vec![Vec::new()];
        for &(x, y) in &line.points {
            let y = match self.y {
                Axis::Milliseconds => y.filter(|&ms| ms > 0.0).map(f64::log10),
                _ => y,
            };
            match y {
                Some(y) => stretches.last_mut().expect("never empty").push((x, y)),
                None => stretches.push(Vec::new()),
            }
        }
        stretches.retain(|stretch| !stretch.is_empty());
        stretches
    }

    fn draw(&self, area: &Drawing, x: (f64, f64), y: (f64, f64)) -> Result<(), Box<dyn Error>> {
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, (FONT, 15))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(72)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        chart
            .configure_mesh()
            .x_desc(self.x.name())
            .y_desc(self.y.name())
            .label_style((FONT, 12))
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.1))
            .x_label_formatter(&|value| self.x.label(*value))
            .y_label_formatter(&|value| self.y.label(*value))
            .draw()?;
        for (number, mark) in self.marks.iter().enumerate() {
            if let Some((from, to)) = mark.outage_seconds {
                let corners = [(from.max(x.0), y.0), (to.min(x.1), y.1)];
                chart.draw_series([Rectangle::new(corners, RED.mix(0.1).filled())])?;
            }
            let at = mark.at_seconds;
            chart.draw_series([PathElement::new([(at, y.0), (at, y.1)], RED.mix(0.7))])?;
            let label = (number + 1).to_string();
            chart.draw_series([Text::new(
                label,
                (at, y.1),
                (FONT, 12).into_font().color(&RED),
            )])?;
        }
        for (line, color) in self.lines.iter().zip(COLORS.iter().cycle()) {
            let style = color.stroke_width(2);
            for (index, stretch) in self.drawn(line).into_iter().enumerate() {
                let drawn = match stretch.len() {
                    // A line of one point would not be seen.
                    1 => {
                        let dots = stretch.iter().map(|&at| Circle::new(at, 2, color.filled()));
                        chart.draw_series(dots)?
                    }
                    _ => chart.draw_series(LineSeries::new(stretch, style))?,
                };
                if index == 0 {
                    let legend = move |(x, y)| PathElement::new([(x, y), (x + 14, y)], style);
                    drawn.label(line.name).legend(legend);
                }
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .label_font((FONT, 12))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Axis::Seconds => "seconds",
            Axis::RecordsPerSecond => "records/s",
            Axis::Milliseconds => "ms",
            Axis::Quantile => "of the records",
            Axis::Cores => "cores",
            Axis::Megabytes => "MB",
            Axis::MegabytesPerSecond => "MB/s",
        }
    }

    fn label(self, value: f64) -> String {
        let short = |value: f64| match value.abs() {
            size if size >= 1e6 => format!("{}M", rounded(value / 1e6)),
            size if size >= 1e4 => format!("{}k", rounded(value / 1e3)),
            _ => rounded(value),
        };
        match self {
            Axis::Milliseconds => rounded(10f64.powf(value)),
            Axis::Quantile if (value - value.round()).abs() > 1e-6 => String::new(),
            Axis::Quantile => {
                let nines = value.round().max(0.0) as usize;
                format!(
                    "{:.*} %",
                    nines.saturating_sub(2),
                    100.0 - 100.0 / 10f64.powi(nines as i32)
                )
            }
            _ => short(value),
        }
    }
}

/// Three digits at most, without needless zeros.
fn rounded(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

const SIZE: (u32, u32) = (860, 300);
const FONT: &str = "sans-serif";
/// Told apart by those who see colours differently too: after Okabe and Ito.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn chart<'a>(y: Axis, points: &[Option<f64>]) -> Chart<'a> {
        let points = points
            .iter()
            .enumerate()
            .map(|(x, &y)| (x as f64, y))
            .collect();
        Chart {
            title: "a <b> & \"c\"",
            x: Axis::Seconds,
            y,
            lines: vec![Line {
                name: "<script>",
                points,
            }],
            marks: &[],
        }
    }

    #[test]
    fn text_in_a_plot_is_escaped() {
        let svg = chart(Axis::Cores, &[Some(1.0), Some(2.0)]).svg();
        assert!(svg.starts_with("<svg"), "{svg}");
        assert!(
            !svg.contains("<script>") && svg.contains("&lt;script&gt;"),
            "{svg}"
        );
        assert!(
            !svg.contains("<b>") && svg.contains("a &lt;b&gt; &amp;"),
            "{svg}"
        );
    }

    #[test]
    fn a_gap_interrupts_a_line_and_nothing_at_all_is_said() {
        let gap = chart(
            Axis::Cores,
            &[Some(1.0), Some(2.0), None, Some(1.0), Some(3.0)],
        );
        assert_eq!(gap.drawn(&gap.lines[0]).len(), 2);
        let whole = chart(Axis::Cores, &[1.0, 2.0, 1.5, 1.0, 3.0].map(Some));
        let polylines = |svg: &str| svg.matches("<polyline").count();
        assert_eq!(polylines(&gap.svg()), polylines(&whole.svg()) + 1);
        assert!(
            chart(Axis::Cores, &[None])
                .svg()
                .contains("nothing measured")
        );
    }

    #[test]
    fn a_logarithmic_axis_leaves_out_what_has_no_logarithm() {
        let chart = chart(Axis::Milliseconds, &[Some(0.0), Some(0.5), Some(200.0)]);
        assert_eq!(chart.ranges(), Some(((0.0, 2.0), (-1.0, 3.0))));
    }

    #[test]
    fn labels_are_short() {
        for (axis, value, wanted) in [
            (Axis::Quantile, 0.0, "0 %"),
            (Axis::Quantile, 1.0, "90 %"),
            (Axis::Quantile, 2.0, "99 %"),
            (Axis::Quantile, 4.0, "99.99 %"),
            (Axis::Quantile, 1.5, ""),
            (Axis::Milliseconds, -1.0, "0.1"),
            (Axis::RecordsPerSecond, 1_250_000.0, "1.25M"),
            (Axis::RecordsPerSecond, 20_000.0, "20k"),
            (Axis::RecordsPerSecond, 5_000.0, "5000"),
        ] {
            assert_eq!(axis.label(value), wanted);
        }
    }
}
