//! Colours, for light and dark pages.

/// A colour with its name in classes and custom properties.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    name: &'static str,
    /// The colour on white, also that of files.
    pub(crate) light: &'static str,
    dark: &'static str,
}

const fn paint(name: &'static str, light: &'static str, dark: &'static str) -> Paint {
    Paint { name, light, dark }
}

/// Text and axes.
pub(crate) const INK: Paint = paint("ink", "#1b1b1b", "#ececec");
/// Secondary text, whiskers.
pub(crate) const MUTED: Paint = paint("muted", "#595959", "#b4b4b4");
/// Lines of the grid.
pub(crate) const GRID: Paint = paint("grid", "#dcdcdc", "#3a3f44");
/// The background.
pub(crate) const PAPER: Paint = paint("paper", "#ffffff", "#15181b");
/// Shading below text in ink, by opacity.
pub(crate) const HEAT: Paint = paint("heat", "#56b4e9", "#00659c");

/// Colours of series: the first three are of Okabe and Ito, the others were searched for so that all have a contrast
/// to the background of at least 3 and differ for colour-blind people too (a test computes both).
pub(crate) const SERIES: [Paint; 7] = [
    paint("1", "#0072b2", "#56b4e9"),
    paint("2", "#d55e00", "#ff8a3d"),
    paint("3", "#009e73", "#a9f4f8"),
    paint("4", "#c46af5", "#9b49ff"),
    paint("5", "#831635", "#c45718"),
    paint("6", "#5f1fe0", "#ffe90d"),
    paint("7", "#37477a", "#4a7f97"),
];

impl Paint {
    /// The class of shapes filled with the colour.
    pub(crate) fn fill(&self) -> String {
        format!("f-{}", self.name)
    }

    /// The class of lines in the colour.
    pub(crate) fn stroke(&self) -> String {
        format!("s-{}", self.name)
    }
}

/// The colour of a series. Seven series differ by colour; later ones repeat them with other dashes and hatching.
pub(crate) fn series(index: usize) -> Paint {
    SERIES[index % SERIES.len()]
}

fn paints() -> impl Iterator<Item = Paint> {
    [INK, MUTED, GRID, PAPER, HEAT].into_iter().chain(SERIES)
}

/// The rules for charts in a page: custom properties `--plot-ink`, `--plot-muted`, `--plot-grid`, `--plot-paper`,
/// `--plot-heat` and `--plot-1` to `--plot-7` with values for light and dark, and classes that use them.
///
/// A page follows the system, unless its root element has `data-theme="light"` or `"dark"`; paper is light.
pub fn stylesheet() -> String {
    let mut light = String::new();
    let mut dark = String::new();
    let mut rules = String::new();
    for paint in paints() {
        let Paint {
            name,
            light: on_white,
            dark: on_black,
        } = paint;
        light += &format!("--plot-{name}:{on_white};");
        dark += &format!("--plot-{name}:{on_black};");
        rules += &format!("svg.plot .f-{name}{{fill:var(--plot-{name},{on_white})}}\n");
        rules += &format!("svg.plot .s-{name}{{stroke:var(--plot-{name},{on_white})}}\n");
    }
    format!(
        ":root{{{light}}}\n\
         @media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\n\
         @media screen{{:root[data-theme=dark]{{{dark}}}}}\n\
         svg.plot{{display:block;max-width:100%;height:auto}}\n\
         .plot-box{{margin:0;overflow-x:auto}}\n\
         @media screen and (max-width:640px){{.plot-box svg.wide{{max-width:none}}}}\n\
         {rules}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linear red, green and blue.
    fn linear(hex: &str) -> [f64; 3] {
        [1, 3, 5].map(|at| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        })
    }

    fn times(matrix: &[[f64; 3]; 3], vector: [f64; 3]) -> [f64; 3] {
        matrix.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
    }

    fn luminance(hex: &str) -> f64 {
        let [red, green, blue] = linear(hex);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// Coordinates in Oklab (Ottosson 2020).
    fn oklab(linear: [f64; 3]) -> [f64; 3] {
        let cones = times(
            &[
                [0.412_221, 0.536_333, 0.051_446],
                [0.211_903, 0.680_700, 0.107_397],
                [0.088_302, 0.281_719, 0.629_979],
            ],
            linear.map(|value| value.clamp(0.0, 1.0)),
        );
        times(
            &[
                [0.210_454, 0.793_618, -0.004_072],
                [1.977_998, -2.428_592, 0.450_594],
                [0.025_904, 0.782_772, -0.808_676],
            ],
            cones.map(f64::cbrt),
        )
    }

    /// Sight without deficiency, and protanopia, deuteranopia and tritanopia (Machado et al. 2009).
    const SIGHTS: [[[f64; 3]; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ];

    #[test]
    fn series_differ_for_colour_blind_people() {
        let seen = |hex: &str, sight| oklab(times(sight, linear(hex)));
        let distance = |a: [f64; 3], b: [f64; 3]| {
            let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        for sight in &SIGHTS {
            for (i, a) in SERIES.iter().enumerate() {
                for b in &SERIES[..i] {
                    let light = distance(seen(a.light, sight), seen(b.light, sight));
                    let dark = distance(seen(a.dark, sight), seen(b.dark, sight));
                    // A just noticeable difference is about 0.02.
                    assert!(light > 0.07 && dark > 0.07, "{a:?} {b:?}: {light} {dark}");
                }
            }
        }
    }

    /// Contrast as in WCAG 2.
    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_and_series_stand_out_in_light_and_dark() {
        for text in [INK, MUTED] {
            assert!(contrast(text.light, PAPER.light) >= 4.5, "{text:?}");
            assert!(contrast(text.dark, PAPER.dark) >= 4.5, "{text:?}");
        }
        assert!(contrast(INK.light, HEAT.light) >= 4.5);
        assert!(contrast(INK.dark, HEAT.dark) >= 4.5);
        for color in SERIES {
            assert!(contrast(color.light, PAPER.light) >= 3.0, "{color:?}");
            assert!(contrast(color.dark, PAPER.dark) >= 3.0, "{color:?}");
        }
    }

    #[test]
    fn the_stylesheet_has_all_colours() {
        let css = stylesheet();
        for name in ["ink", "paper", "heat", "1", "7"] {
            assert!(css.contains(&format!("--plot-{name}:")), "{name}");
            assert!(
                css.contains(&format!(".f-{name}{{fill:var(--plot-{name},#")),
                "{name}"
            );
        }
    }
}
