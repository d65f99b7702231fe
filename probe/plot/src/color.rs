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

/// Colours of series, after Okabe and Ito, with a contrast to the background of at least 3. The fifth and seventh
/// replace sky blue and yellow, which are too light for lines.
pub(crate) const SERIES: [Paint; 7] = [
    paint("1", "#0072b2", "#56b4e9"),
    paint("2", "#d55e00", "#ff8a3d"),
    paint("3", "#009e73", "#1fc89b"),
    paint("4", "#bf5b97", "#f0a6cf"),
    paint("5", "#4d4d4d", "#d0d0d0"),
    paint("6", "#a87b00", "#f0d54a"),
    paint("7", "#5b2a86", "#a99cff"),
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

    fn luminance(hex: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
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
