//! The series as one SVG: a strip each, from zero to its own largest value.

use super::series::Series;

const WIDTH: f64 = 640.0;
const STRIP: f64 = 44.0;
const LEFT: f64 = 190.0;

/// The picture.
pub(crate) fn svg(all: &[Series], minutes: u64) -> String {
    let height = STRIP * all.len() as f64 + 24.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        LEFT + WIDTH + 10.0
    );
    for (index, series) in all.iter().enumerate() {
        let bottom = STRIP * (index as f64 + 1.0);
        let most = series.most().max(1.0);
        let point = |(at, value): &(f64, f64)| {
            let x = LEFT + at / (minutes.max(1) as f64) * WIDTH;
            format!("{x:.1},{:.1}", bottom - value / most * (STRIP - 12.0))
        };
        let points: Vec<String> = series.points().iter().map(point).collect();
        out += &format!(
            "<text x=\"6\" y=\"{:.0}\">{}</text><text x=\"6\" y=\"{:.0}\" fill=\"#666\">0 to {}</text>\n\
             <path d=\"M{LEFT} {bottom}h{WIDTH}\" stroke=\"#ccc\"/>\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#1f5fa8\"/>\n",
            bottom - 18.0,
            series.name(),
            bottom - 5.0,
            series.shown(series.most()),
            points.join(" ")
        );
    }
    let foot = height - 6.0;
    out += &format!(
        "<text x=\"{LEFT}\" y=\"{foot}\">0</text><text x=\"{}\" y=\"{foot}\" text-anchor=\"end\">{minutes} minutes</text>\n</svg>\n",
        LEFT + WIDTH
    );
    out
}
