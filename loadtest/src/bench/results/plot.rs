//! The sweep as a picture: what a call costs, with more and more of everything. Flat lines are what it is to show.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::PathElement;
use plotters::prelude::IntoLogRange;
use plotters::series::LineSeries;
use plotters::style::{BLUE, Color, RED, RGBColor, WHITE};

use super::super::comparison::Comparison;

/// As SVG; None when there is nothing to show.
///
/// # Errors
/// When the picture cannot be drawn.
pub fn draw(sweeps: &[Comparison]) -> anyhow::Result<Option<String>> {
    let lines: Vec<_> =
        sweeps.iter().map(|sweep| (sweep.of, points(sweep))).filter(|(_, line)| line.len() > 1).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let mut svg = String::new();
    drawing(&mut svg, &lines).map_err(|error| anyhow::anyhow!("cannot draw: {error}"))?;
    Ok(Some(svg))
}

fn points(sweep: &Comparison) -> Vec<(f64, f64)> {
    sweep.points.iter().filter_map(|point| Some((point.at? as f64, point.cpu_us?.median))).collect()
}

fn drawing(svg: &mut String, lines: &[(&str, Vec<(f64, f64)>)]) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let all = || lines.iter().flat_map(|(_, line)| line);
    let right = all().map(|(at, _)| *at).fold(10.0, f64::max);
    // From zero: a part of the axis would make hills of what is flat.
    let top = all().map(|(_, cpu)| *cpu).fold(1.0, f64::max) * 1.25;
    let root = SVGBackend::with_string(svg, (900, 450)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("CPU of a call, warm", ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(60)
        .build_cartesian_2d((1.0..right).log_scale(), 0.0..top)?;
    chart.configure_mesh().x_desc("how many").y_desc("us").draw()?;
    for ((name, line), color) in lines.iter().zip(COLORS.into_iter().cycle()) {
        chart
            .draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)).point_size(4))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 15, y)], color));
    }
    let legend = &mut chart.configure_series_labels();
    legend.position(SeriesLabelPosition::LowerRight).background_style(WHITE.mix(0.8)).border_style(WHITE).draw()?;
    root.present()
}

const COLORS: [RGBColor; 6] =
    [BLUE, RGBColor(230, 120, 0), RGBColor(150, 150, 150), RGBColor(0, 130, 60), RGBColor(150, 0, 130), RED];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::comparison::Point;
    use crate::bench::statistics::Spread;

    #[test]
    fn a_line_for_each_sweep_and_none_for_what_is_void() {
        let point = |at: u64, cpu: Option<f64>| Point {
            name: at.to_string(),
            at: Some(at),
            cpu_us: cpu.and_then(|cpu| Spread::of([cpu])),
            to_first: None,
            store_reads_each: None,
            resident_kib: None,
        };
        let sweep = |of, points| Comparison { of, void: Vec::new(), points };
        let routes = sweep("routes", vec![point(1, Some(50.0)), point(100, Some(51.0))]);
        let clients = sweep("clients", vec![point(1, None), point(100, None)]);
        let svg = draw(&[routes, clients.clone()]).unwrap().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("routes") && !svg.contains("clients"));
        assert!(draw(&[clients]).unwrap().is_none());
    }
}
