//! Plots as SVG: panels of bars for the comparison, lines for the curves.

use std::fmt::Write as _;

const PANEL_WIDTH: f64 = 430.0;
const LABEL_WIDTH: f64 = 140.0;
const BAR_HEIGHT: f64 = 17.0;
const HEAD: f64 = 34.0;
const OURS: &str = "#d9480f";
const THEIRS: &str = "#868e96";

/// Bars under a title.
pub struct Panel {
    pub title: String,
    pub bars: Vec<Bar>,
}

pub struct Bar {
    pub label: String,
    pub value: f64,
    pub is_ours: bool,
}

/// Two panels beside each other.
pub fn bars(title: &str, panels: &[Panel]) -> String {
    let height = |panel: &Panel| (panel.bars.len() as f64).mul_add(BAR_HEIGHT, HEAD + 16.0);
    let mut body = String::new();
    let mut top = HEAD;
    for row in panels.chunks(2) {
        for (column, panel) in row.iter().enumerate() {
            draw_panel(&mut body, panel, column as f64 * PANEL_WIDTH, top);
        }
        top += row.iter().map(height).fold(0.0, f64::max);
    }
    frame(title, PANEL_WIDTH * 2.0, top + 8.0, &body)
}

fn draw_panel(svg: &mut String, panel: &Panel, left: f64, top: f64) {
    text(svg, (left + 12.0, top + 18.0), "start", 13, "#212529", &panel.title);
    let most = panel.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    for (place, bar) in panel.bars.iter().enumerate() {
        let y = (place as f64).mul_add(BAR_HEIGHT, top + HEAD - 6.0);
        let x = left + LABEL_WIDTH;
        let width = (bar.value / most * (PANEL_WIDTH - LABEL_WIDTH - 80.0)).max(0.5);
        let colour = if bar.is_ours { OURS } else { THEIRS };
        text(svg, (x - 6.0, y + 11.0), "end", 11, "#212529", &bar.label);
        let _ = writeln!(
            svg,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{colour}"/>"#,
            BAR_HEIGHT - 4.0
        );
        text(svg, (x + width + 5.0, y + 11.0), "start", 11, "#495057", &number(bar.value));
    }
}

/// One figure against what was varied.
pub struct Line {
    pub title: String,
    pub points: Vec<(f64, f64)>,
}

const CHART_WIDTH: f64 = 430.0;
const CHART_HEIGHT: f64 = 240.0;
const MARGIN: (f64, f64) = (60.0, 44.0);

/// Charts beside each other, one for each figure, over a common axis (logarithmic if it spans more than tenfold).
pub fn lines(title: &str, axis: &str, lines: &[Line]) -> String {
    let mut body = String::new();
    for (place, line) in lines.iter().enumerate() {
        draw_line(&mut body, axis, line, place as f64 * CHART_WIDTH);
    }
    frame(title, CHART_WIDTH * lines.len() as f64, HEAD + CHART_HEIGHT + 20.0, &body)
}

fn draw_line(svg: &mut String, axis: &str, line: &Line, left: f64) {
    let (margin_x, margin_y) = MARGIN;
    let (width, height) = (CHART_WIDTH - margin_x - 24.0, CHART_HEIGHT - margin_y - 10.0);
    let (origin_x, origin_y) = (left + margin_x, HEAD + CHART_HEIGHT - margin_y + 16.0);
    text(svg, (origin_x, HEAD + 18.0), "start", 13, "#212529", &line.title);
    text(svg, (origin_x + width / 2.0, origin_y + 34.0), "middle", 11, "#495057", axis);
    let xs = line.points.iter().map(|(x, _)| *x);
    let (least, most) = (xs.clone().fold(f64::MAX, f64::min), xs.fold(f64::MIN, f64::max));
    let is_log = least > 0.0 && most / least > 10.0;
    let scaled = |x: f64| if is_log { x.ln() } else { x };
    let span = (scaled(most) - scaled(least)).max(f64::MIN_POSITIVE);
    let top = round_up(line.points.iter().map(|(_, y)| *y).fold(0.0, f64::max));
    let place = |(x, y): (f64, f64)| {
        (origin_x + (scaled(x) - scaled(least)) / span * width, origin_y - y / top * (height - 14.0))
    };
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let (_, y) = place((least, value));
        let end = origin_x + width;
        let _ = writeln!(svg, r##"<path d="M{origin_x:.1} {y:.1}H{end:.1}" stroke="#dee2e6"/>"##);
        text(svg, (origin_x - 5.0, y + 4.0), "end", 10, "#495057", &number(value));
    }
    let path: Vec<String> =
        line.points.iter().map(|point| place(*point)).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    let _ = writeln!(svg, r#"<path d="M{}" fill="none" stroke="{OURS}" stroke-width="2"/>"#, path.join("L"));
    // A long run has more points than labels fit.
    let every = line.points.len().div_ceil(8);
    for (at, point) in line.points.iter().enumerate() {
        let (x, y) = place(*point);
        if line.points.len() < 30 {
            let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{OURS}"/>"#);
        }
        if at % every == 0 {
            text(svg, (x, origin_y + 16.0), "middle", 10, "#495057", &number(point.0));
        }
    }
}

/// The next number above it that is easy to read.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

/// As people write numbers.
pub fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.2}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 1e3 => format!("{:.1}k", value / 1e3),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, size: u32, colour: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{words}</text>"#
    );
}

fn frame(title: &str, width: f64, height: f64, body: &str) -> String {
    let mut head = String::new();
    text(&mut head, (12.0, 22.0), "start", 15, "#212529", title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         {head}{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases =
            [(0.0, "0"), (0.25, "0.25"), (42.4, "42"), (1_234.0, "1.2k"), (204_000.0, "204k"), (2.5e6, "2.50M")];
        for (value, said) in cases {
            assert_eq!(number(value), said);
        }
    }

    #[test]
    fn axes_end_above_the_highest_value() {
        for value in [0.3, 1.0, 7.0, 99.0, 101.0, 5e5] {
            assert!((value..=value * 2.5).contains(&round_up(value)), "{value}: {}", round_up(value));
        }
    }

    #[test]
    fn plots_name_everything() {
        let bar = Bar { label: "a<b".to_owned(), value: 2.0, is_ours: true };
        let svg = bars("title", &[Panel { title: "panel".to_owned(), bars: vec![bar] }]);
        for word in ["title", "panel", "a&lt;b", "2.00", OURS] {
            assert!(svg.contains(word), "{svg}");
        }
        let svg = lines("t", "axis", &[Line { title: "y".to_owned(), points: vec![(1.0, 5.0), (100.0, 7.0)] }]);
        assert!(svg.contains("axis") && svg.matches("<circle").count() == 2, "{svg}");
    }
}
