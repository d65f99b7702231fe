//! Maps as SVG and HTML.

use common::draw::equidistant;
use maud::{Markup, html};
use plot::{Caption, Cloud, Scatter};

use super::Mapped;
use super::colour::Column;
use crate::explore::page::page;

/// Maps are as wide as the page, and no wider.
const STYLE: &str =
    "figure { margin: 1rem 0; } svg.plot.wide { min-width: 0; max-width: 100%; height: auto; }";
/// Most points that are drawn.
const MOST: usize = 20_000;
/// Most points that have a tooltip each.
const TITLED: usize = 2000;

impl Mapped {
    /// The maps as SVG, one for each column of colours.
    pub fn figures(&self) -> Vec<String> {
        let columns = self.colours.iter().enumerate();
        let svg = |(number, column)| self.scatter(number, column).svg().into_string();
        columns.map(svg).collect()
    }

    /// All maps on one page.
    pub fn page(&self) -> String {
        let record = &self.record;
        let title = format!("Map of {}", record.dataset);
        let about = format!(
            "{}@{}, {}; {} {}s. {}",
            record.model,
            record.image_size,
            record.setting,
            record.n_test,
            self.embedded.examples.unit.name(),
            self.distances(),
        );
        let figures: Vec<Markup> = self
            .colours
            .iter()
            .enumerate()
            .map(|(number, column)| {
                let scatter = self.scatter(number, column);
                plot::figure(&scatter.caption, &scatter.svg())
            })
            .collect();
        let body = html! {
            @for figure in &figures { (figure) }
        };
        page(&title, &about, &(plot::stylesheet() + STYLE), &body)
    }

    /// What distances on the map mean.
    fn distances(&self) -> String {
        let number = |name: &str| self.record.metrics.get(name)?.as_f64();
        let kept = 100.0 * number("neighbours_kept").unwrap_or_default();
        let kept = format!("{kept:.0}% of the nearest neighbours are neighbours on the map.");
        if self.record.params["perplexity"].is_null() {
            return kept;
        }
        format!("{kept} Distances between far points, and sizes of groups, mean nothing.")
    }

    fn scatter(&self, number: usize, column: &Column) -> Scatter {
        let count = self.places.nrows();
        let drawn = equidistant(count, MOST);
        let is_drawn = |example: &&usize| drawn.binary_search(example).is_ok();
        let groups = column.groups();
        let largest: Vec<String> = groups
            .iter()
            .map(|(name, members)| format!("{name} ({})", members.len()))
            .collect();
        let clouds = groups.into_iter().map(|(name, members)| {
            let members: Vec<usize> = members.iter().filter(is_drawn).copied().collect();
            let place = |&example: &usize| {
                let [x, y] = [0, 1].map(|axis| f64::from(self.places[[example, axis]]));
                (x, y)
            };
            let title = |&example: &usize| {
                let value = &column.values[example];
                format!("{}: {value}", self.embedded.names[example])
            };
            Cloud {
                name,
                points: members.iter().map(place).collect(),
                titles: if count <= TITLED {
                    members.iter().map(title).collect()
                } else {
                    Vec::new()
                },
            }
        });
        let less = if drawn.len() < count {
            format!(" {} of {count} points are drawn.", drawn.len())
        } else {
            String::new()
        };
        Scatter {
            caption: Caption::new(
                format!("map-{number}"),
                format!("{} by {}", self.record.dataset, column.name),
                format!(
                    "Points coloured by {}: {}.{less}",
                    column.name,
                    largest.join(", ")
                ),
            ),
            clouds: clouds.collect(),
            map: true,
            ..Scatter::default()
        }
    }
}
