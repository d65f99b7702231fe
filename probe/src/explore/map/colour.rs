//! Columns that give the points of a map their colours.

use std::collections::BTreeMap;

use cache::{CacheReader, Split};

use crate::Error;
use crate::error::ExploreError;
use crate::explore::embedded::Embedded;
use crate::metadata::Metadata;

/// Most values with a colour of their own.
const MOST: usize = 12;
/// Parts of equal size that a column of many numbers is cut into.
const PARTS: usize = 5;
/// The group of examples without a value.
const UNKNOWN: &str = "not known";

/// A value of each example.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    /// `[N]`; blank where not known.
    pub(super) values: Vec<String>,
}

impl Column {
    /// A column of the cache, or of the table.
    ///
    /// # Errors
    ///
    /// [`ExploreError::NoSuchColumn`].
    pub(super) fn of(
        reader: &CacheReader,
        embedded: &Embedded,
        metadata: Option<&Metadata>,
        name: &str,
    ) -> Result<Column, Error> {
        let slices = embedded.rows.iter().map(|&row| &embedded.slices[row]);
        if let Some(values) = metadata.and_then(|table| table.column(name, slices)) {
            let name = name.to_owned();
            return Ok(Column { name, values });
        }
        let cases = embedded.examples.cases.iter();
        let values: Vec<String> = match name {
            "label" => (0..embedded.len())
                .map(|example| embedded.label(example))
                .collect(),
            "split" => cases
                .map(|case| case.split.map_or("", Split::name).to_owned())
                .collect(),
            "patient" => cases
                .map(|case| case.patient.clone().unwrap_or_default())
                .collect(),
            "sample" => cases.map(|case| case.sample.clone()).collect(),
            _ => {
                let own = ["label", "split", "patient", "sample"].map(str::to_owned);
                let others = metadata.map(Metadata::names).unwrap_or_default();
                return Err(Error::Explore(ExploreError::NoSuchColumn {
                    path: reader.dir().into(),
                    column: name.into(),
                    known: [&own[..], others].concat(),
                }));
            }
        };
        Ok(Column {
            name: name.into(),
            values,
        })
    }

    /// Whether all examples have the same value.
    pub(super) fn is_constant(&self) -> bool {
        self.values.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// Examples by value: the most frequent ones, the others together, and those without one. Columns of many
    /// numbers are cut into parts of equal size.
    pub(super) fn groups(&self) -> Vec<(String, Vec<usize>)> {
        let (values, order) = self.binned().unwrap_or_else(|| (self.values.clone(), None));
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (example, value) in values.iter().enumerate() {
            members.entry(value).or_default().push(example);
        }
        let unknown = members.remove("");
        let mut groups: Vec<(&str, Vec<usize>)> = members.into_iter().collect();
        match &order {
            Some(order) => groups.sort_by_key(|(name, _)| order.iter().position(|of| of == name)),
            None => groups.sort_by_key(|(_, members)| std::cmp::Reverse(members.len())),
        }
        let others = groups.split_off(groups.len().min(MOST));
        let mut groups: Vec<(String, Vec<usize>)> = groups
            .into_iter()
            .map(|(name, of)| (name.to_owned(), of))
            .collect();
        if !others.is_empty() {
            let name = format!("{} others", others.len());
            let mut members: Vec<usize> = others.into_iter().flat_map(|(_, of)| of).collect();
            members.sort_unstable();
            groups.push((name, members));
        }
        groups.extend(unknown.map(|members| (UNKNOWN.to_owned(), members)));
        groups
    }

    /// The part of each number, and the parts in order, if the values are many numbers.
    fn binned(&self) -> Option<(Vec<String>, Option<Vec<String>>)> {
        let number = |value: &String| match value.as_str() {
            "" => Some(None),
            text => text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Some),
        };
        let numbers: Vec<Option<f64>> = self.values.iter().map(number).collect::<Option<_>>()?;
        let mut sorted: Vec<f64> = numbers.iter().copied().flatten().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut distinct = sorted.clone();
        distinct.dedup();
        if distinct.len() <= MOST {
            return None;
        }
        let mut ends: Vec<f64> = (1..=PARTS)
            .map(|part| sorted[part * sorted.len() / PARTS - 1])
            .collect();
        ends.dedup();
        let begin = |part: usize| if part == 0 { sorted[0] } else { ends[part - 1] };
        let name = |part: usize| match part {
            0 => format!("{} to {}", begin(0), ends[0]),
            _ => format!("above {} to {}", begin(part), ends[part]),
        };
        let of = |number: &Option<f64>| {
            number.map_or_else(String::new, |x| name(ends.partition_point(|&end| end < x)))
        };
        let names = (0..ends.len()).map(name).collect();
        Some((numbers.iter().map(of).collect(), Some(names)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(values: impl Iterator<Item = String>) -> Vec<(String, usize)> {
        let column = Column {
            name: "c".into(),
            values: values.collect(),
        };
        let groups = column.groups().into_iter();
        groups
            .map(|(name, members)| (name, members.len()))
            .collect()
    }

    #[test]
    fn frequent_values_come_first_and_rare_ones_together() {
        let words = ["b", "a", "b", "", "c", "b", "a"].map(str::to_owned);
        let found = groups(words.into_iter());
        let expected = [("b", 3), ("a", 2), ("c", 1), ("not known", 1)];
        assert_eq!(found, expected.map(|(name, n)| (name.to_owned(), n)));
        let many = groups((0..100).map(|k| format!("p{:02}", k % 20)));
        assert_eq!(many.len(), MOST + 1);
        assert_eq!(many[MOST], ("8 others".into(), 40));
    }

    #[test]
    fn many_numbers_are_cut_into_parts_of_equal_size() {
        let found = groups((0..101).map(|k| if k == 0 { String::new() } else { k.to_string() }));
        let expected = [
            ("1 to 20", 20),
            ("above 20 to 40", 20),
            ("above 40 to 60", 20),
            ("above 60 to 80", 20),
            ("above 80 to 100", 20),
            ("not known", 1),
        ];
        assert_eq!(found, expected.map(|(name, n)| (name.to_owned(), n)));
        assert_eq!(groups((0..30).map(|k| (k % 3).to_string())).len(), 3);
    }
}
