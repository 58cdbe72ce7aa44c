//! A report as a picture: latency by share of the answers, and how the run went second by second.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::PathElement;
use plotters::prelude::IntoLogRange;
use plotters::series::LineSeries;
use plotters::style::{BLUE, Color, RED, RGBColor, WHITE};

use super::{Figures, Report, Slice};

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// As SVG; None when the run is void, or has no latencies.
///
/// # Errors
/// When the picture cannot be drawn.
pub fn draw(report: &Report) -> anyhow::Result<Option<String>> {
    let Some(figures) = report.figures.as_ref().filter(|figures| !figures.latencies.is_empty()) else {
        return Ok(None);
    };
    let mut svg = String::new();
    drawing(&mut svg, &report.run, figures).map_err(|error| anyhow::anyhow!("cannot draw: {error}"))?;
    Ok(Some(svg))
}

fn drawing(svg: &mut String, title: &str, figures: &Figures) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let area = root.titled(title, ("sans-serif", 18))?;
    if figures.timeline.len() < 2 {
        shares(&area, figures)?;
    } else {
        let (above, below) = area.split_vertically(SIZE.1 as i32 / 2);
        shares(&above, figures)?;
        seconds(&below, &figures.timeline)?;
    }
    root.present()
}

/// Along the bottom each nine of the share takes the same room, so that the tail can be seen.
fn shares(area: &Area, figures: &Figures) -> Drawn {
    let curves = figures.latencies.iter().filter(|row| row.curve.len() > 1);
    let (low, high) = bounds(curves.clone().flat_map(|row| row.curve.iter().map(|&(_, ms)| ms)));
    let most = curves.clone().flat_map(|row| row.curve.last()).map(|&(share, _)| nines(share)).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..most, (low..high).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("share of the answers")
        .y_desc("ms")
        .x_labels(most as usize + 1)
        .x_label_formatter(&|nines| format!("{}%", 100.0 - 100.0 / 10_f64.powf(*nines)))
        .draw()?;
    for (row, color) in curves.zip(COLORS.into_iter().cycle()) {
        let points = row.curve.iter().map(|&(share, ms)| (nines(share), ms.max(low)));
        chart
            .draw_series(LineSeries::new(points, &color))?
            .label(row.of)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 15, y)], color));
    }
    let legend = &mut chart.configure_series_labels();
    legend.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).border_style(WHITE).draw()
}

fn seconds(area: &Area, timeline: &[Slice]) -> Drawn {
    let (low, high) = bounds(timeline.iter().flat_map(|slice| [slice.p50, slice.longest]));
    let last = timeline.last().map_or(1, |slice| slice.second).max(1);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..last as f64, (low..high).log_scale())?;
    chart.configure_mesh().x_desc("second").y_desc("ms").draw()?;
    let lines = [("p50", BLUE), ("p99", ORANGE), ("longest", RED)];
    for (index, (name, color)) in lines.into_iter().enumerate() {
        let value = |slice: &Slice| [slice.p50, slice.p99, slice.longest][index].max(low);
        let points = timeline.iter().map(|slice| (slice.second as f64, value(slice)));
        chart
            .draw_series(LineSeries::new(points, &color))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 15, y)], color));
    }
    let legend = &mut chart.configure_series_labels();
    legend.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).border_style(WHITE).draw()
}

/// 0.9 is one, 0.99 two.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// With room around, and never empty.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let low = if low < f64::MAX { low.max(0.001) } else { 0.001 };
    (low / 1.5, high.max(low) * 1.5)
}

const SIZE: (u32, u32) = (900, 700);
const ORANGE: RGBColor = RGBColor(230, 120, 0);
const COLORS: [RGBColor; 7] =
    [BLUE, ORANGE, RGBColor(0, 130, 60), RGBColor(150, 0, 130), RED, RGBColor(0, 150, 170), RGBColor(110, 110, 110)];

#[cfg(test)]
mod tests {
    use super::super::{Quantiles, Settings};
    use super::*;
    use crate::answers::{latencies, record};
    use crate::observe::Cost;
    use std::time::Duration;

    fn report(void: &[&str]) -> Report {
        let mut histogram = latencies();
        (1..=1000).for_each(|n| record(&mut histogram, Duration::from_micros(n)));
        let slice = |second| Slice { second, answers: 500, p50: 0.3, p99: 0.9, longest: 1.0 };
        let figures = Figures {
            latencies: vec![Quantiles::of("latency", &histogram)],
            timeline: vec![slice(0), slice(1), slice(2)],
            ..Figures::counted("answers", 1000, Duration::from_secs(2))
        };
        let mut settings = Settings::default();
        settings.add("url", "http://localhost/mcp");
        settings.add("threads", 1);
        let void = void.iter().map(ToString::to_string).collect();
        Report::new("open loop & <more>".to_owned(), settings, void, figures, Cost::default())
    }

    #[test]
    fn the_picture_is_well_formed_and_has_both_charts() {
        let svg = draw(&report(&[])).unwrap().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("share of the answers") && svg.contains("second"));
        assert!(!svg.contains("<more>"), "text is not markup");
    }

    #[test]
    fn a_void_run_has_no_figures_anywhere() {
        let void = report(&["there was no good answer"]);
        assert!(draw(&void).unwrap().is_none());
        let (markdown, json) = (void.to_string(), serde_json::to_string(&void).unwrap());
        assert!(markdown.contains("**Void**") && markdown.contains("no good answer"));
        for text in [markdown, json] {
            assert!(!text.contains("p50") && !text.contains("per_second"), "{text}");
        }
    }

    #[test]
    fn a_good_run_is_told_as_a_table_and_as_json() {
        let good = report(&[]);
        assert!(good.to_string().contains("1000 answers in 2.0 s, 500.0 in a second"));
        let json = serde_json::to_value(&good).unwrap();
        assert_eq!(json["figures"]["latencies"][0]["count"], 1000);
    }

    #[test]
    fn a_report_has_its_settings_in_both_forms() {
        let good = report(&[]);
        assert!(good.to_string().contains("url http://localhost/mcp, threads 1"), "{good}");
        let json = serde_json::to_value(&good).unwrap();
        assert_eq!(json["settings"], serde_json::json!({"url": "http://localhost/mcp", "threads": 1}));
    }
}
