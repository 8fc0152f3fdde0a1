//! A picture of cost over size, as SVG written by hand: a logarithmic axis below, a linear one from 0 at the left, a
//! line for each nsqd. It has its own background, so that it can be read on a dark page too.

/// What is drawn.
#[derive(Debug)]
pub(super) struct Picture {
    /// Above.
    pub title: &'static str,
    /// Below the axis.
    pub axis: &'static str,
    /// At least one, each with a point or more.
    pub lines: Vec<Line>,
}

/// One nsqd.
#[derive(Debug)]
pub(super) struct Line {
    /// Its name.
    pub label: String,
    /// Size, and CPU microseconds for each message.
    pub points: Vec<(u64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 48.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = HEIGHT - 56.0;
/// Told apart by those who do not see all colours, too.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

impl Picture {
    /// The file's text.
    pub(super) fn svg(&self) -> String {
        let scale = Scale::of(&self.lines);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
        );
        out += &text(LEFT, 22.0, "start", " font-size=\"14\" font-weight=\"bold\"", self.title);
        out += &text(LEFT, 40.0, "start", "", "CPU us of the server for each");
        out +=
            &text((LEFT + RIGHT) / 2.0, HEIGHT - 14.0, "middle", "", &format!("{} (logarithmic)", self.axis));
        out += &scale.grid();
        for (number, line) in self.lines.iter().enumerate() {
            out += &scale.line(line, colour(number), number % 2 == 1);
        }
        out + &self.legend() + "</svg>\n"
    }

    fn legend(&self) -> String {
        if self.lines.len() < 2 {
            return String::new();
        }
        let name = |(number, line): (usize, &Line)| {
            format!("<tspan dx=\"12\" fill=\"{}\">{}</tspan>", colour(number), escape(&line.label))
        };
        let names: String = self.lines.iter().enumerate().map(name).collect();
        format!("<text x=\"{RIGHT}\" y=\"40\" text-anchor=\"end\" font-weight=\"bold\">{names}</text>\n")
    }
}

fn colour(number: usize) -> &'static str {
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or("#222")
}

/// From figures to places.
#[derive(Debug)]
struct Scale {
    /// The sizes there are, in order.
    sizes: Vec<u64>,
    step: f64,
    steps: u32,
}

impl Scale {
    fn of(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| line.points.iter());
        let mut sizes: Vec<u64> = points().map(|(size, _)| *size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let most = points().map(|(_, cpu)| *cpu).fold(0.0, f64::max).max(1e-6);
        let step = round_step(most / 4.0);
        Self { sizes, step, steps: (most * 1.05 / step).ceil() as u32 }
    }

    fn x(&self, size: u64) -> f64 {
        let log = |size: u64| (size.max(1) as f64).ln();
        let first = self.sizes.first().copied().map_or(0.0, log);
        let last = self.sizes.last().copied().map_or(0.0, log);
        // A single size stands in the middle.
        let part = if last > first { (log(size) - first) / (last - first) } else { 0.5 };
        LEFT + 16.0 + part * (RIGHT - LEFT - 32.0)
    }

    fn y(&self, cpu: f64) -> f64 {
        BOTTOM - cpu / (self.step * f64::from(self.steps)) * (BOTTOM - TOP)
    }

    fn grid(&self) -> String {
        let mut out = String::new();
        for number in 0..=self.steps {
            let value = f64::from(number) * self.step;
            let y = self.y(value);
            let colour = if number == 0 { "#222" } else { "#ddd" };
            out += &format!("<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"{colour}\"/>\n");
            out += &text(LEFT - 8.0, y + 4.0, "end", "", &short(value));
        }
        out += &format!("<path d=\"M{LEFT} {TOP}V{BOTTOM}\" stroke=\"#222\"/>\n");
        for size in &self.sizes {
            let x = self.x(*size);
            out += &format!("<path d=\"M{x:.1} {BOTTOM}v5\" stroke=\"#222\"/>\n");
            out += &text(x, BOTTOM + 20.0, "middle", "", &grouped(*size));
        }
        out
    }

    /// The second line's figures stand below its points, so that they do not cover the first's.
    fn line(&self, line: &Line, colour: &str, is_below: bool) -> String {
        let places: Vec<String> = line
            .points
            .iter()
            .map(|(size, cpu)| format!("{:.1},{:.1}", self.x(*size), self.y(*cpu)))
            .collect();
        let mut out = format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            places.join(" ")
        );
        for (size, cpu) in &line.points {
            let (x, y) = (self.x(*size), self.y(*cpu));
            out += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>\n");
            let away = if is_below { 16.0 } else { -8.0 };
            // With an edge of the background's colour a figure can be read on a line.
            let look =
                format!(" fill=\"{colour}\" stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\"");
            out += &text(x, y + away, "middle", &look, &short(*cpu));
        }
        out
    }
}

/// The next of 1, 2 and 5 with zeros.
fn round_step(least: f64) -> f64 {
    let ten = 10f64.powf(least.log10().floor());
    let fits = [1.0, 2.0, 5.0].iter().map(|factor| factor * ten).find(|step| *step >= least);
    fits.unwrap_or(10.0 * ten)
}

/// Three digits that count, without zeros that say nothing.
fn short(value: f64) -> String {
    let digits = if value >= 100.0 { 0 } else { 2 - value.max(1e-3).log10().floor() as i32 };
    let fixed = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    if fixed.contains('.') {
        return fixed.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    fixed
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn text(x: f64, y: f64, anchor: &str, more: &str, words: &str) -> String {
    let words = escape(words);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{words}</text>\n")
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(label: &str, points: &[(u64, f64)]) -> String {
        let line = |label: &str| Line { label: label.to_owned(), points: points.to_vec() };
        Picture { title: "PUB", axis: "sizes", lines: vec![line("old"), line(label)] }.svg()
    }

    #[test]
    fn names_that_would_be_tags_are_words() {
        let svg = picture("<b>&\"", &[(1, 1.0), (10, 2.0)]);
        assert!(svg.contains("&lt;b&gt;&amp;&quot;") && !svg.contains("<b>"), "{svg}");
    }

    #[test]
    fn every_point_is_inside_and_none_is_no_number() {
        for points in [&[(1, 0.0)][..], &[(10, 0.001), (1000, 0.0011)], &[(1, 123.4), (1_000_000, 17.0)]] {
            let svg = picture("new", points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            let places = svg.matches("cy=\"").count();
            assert_eq!(places, 2 * points.len());
            for y in svg.split("cy=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!((TOP..=BOTTOM).contains(&y.parse().unwrap()), "{y} in {svg}");
            }
        }
    }

    #[test]
    fn figures_are_short() {
        let all = [0.0, 0.094, 0.5, 1.0, 6.78, 42.0, 123.4].map(short);
        assert_eq!(all, ["0", "0.094", "0.5", "1", "6.78", "42", "123"]);
        assert_eq!([7, 1000, 1_000_000].map(grouped), ["7", "1,000", "1,000,000"]);
        assert_eq!([0.03, 0.21, 6.0].map(round_step), [0.05, 0.5, 10.0]);
    }
}
