//! Tables of text about samples, images or patients, from CSV or Parquet.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use cache::SliceMeta;

use crate::error::ExploreError;
use crate::error::{Cause, Error};

/// Largest size of a CSV file in bytes.
const MOST_BYTES: u64 = 256 << 20;

/// Columns by which rows belong to slices, in the order of preference.
const KEYS: [&str; 3] = ["sample", "image", "patient"];

/// A table with a row for each sample, image or patient.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
    /// The index in [`KEYS`], and the row of each key.
    key: usize,
    of_key: HashMap<String, usize>,
    sha256: String,
}

impl Metadata {
    /// Reads a Parquet file, or a CSV file in UTF-8 separated by commas, semicolons or tabs. It has a column `sample`,
    /// `image` or `patient` with names as in the table `slices`. Of several rows of one name the first counts.
    ///
    /// # Errors
    ///
    /// [`ExploreError::Metadata`] if it cannot be read or has no such column.
    pub(crate) fn read(path: &Path) -> Result<Metadata, Error> {
        let failed = |source: Cause| {
            Error::Explore(ExploreError::Metadata {
                path: path.into(),
                source,
            })
        };
        let (headers, rows) = table(path).map_err(failed)?;
        let found = KEYS.iter().enumerate().find_map(|(key, name)| {
            let column = headers.iter().position(|header| header == name)?;
            Some((key, column))
        });
        let Some((key, column)) = found else {
            return Err(failed(
                "it has no column `sample`, `image` or `patient`".into(),
            ));
        };
        let sha256 = common::sha256_file(path).map_err(|error| failed(error.into()))?;
        let mut of_key = HashMap::new();
        for (number, row) in rows.iter().enumerate() {
            of_key.entry(row[column].clone()).or_insert(number);
        }
        Ok(Metadata {
            headers,
            rows,
            key,
            of_key,
            sha256,
        })
    }

    /// Hash of the file.
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Names of the columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.headers
    }

    /// The cells of a column for some slices, blank where the table has none; `None` if there is no such column.
    pub(crate) fn column<'a>(
        &self,
        name: &str,
        slices: impl Iterator<Item = &'a SliceMeta>,
    ) -> Option<Vec<String>> {
        let column = self.headers.iter().position(|header| header == name)?;
        let cell = |slice: &SliceMeta| {
            let key = match self.key {
                0 => &slice.sample,
                1 => &slice.image,
                _ => slice.patient.as_ref()?,
            };
            self.of_key
                .get(key)
                .map(|&row| self.rows[row][column].clone())
        };
        Some(
            slices
                .map(|slice| cell(slice).unwrap_or_default())
                .collect(),
        )
    }
}

type Cells = (Vec<String>, Vec<Vec<String>>);

fn table(path: &Path) -> Result<Cells, Cause> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err("it is no file".into());
    }
    let mut start = [0; 4];
    let is_parquet =
        std::io::Read::read(&mut fs::File::open(path)?, &mut start)? == 4 && start == *b"PAR1";
    if is_parquet {
        return parquet(path);
    }
    if about.len() > MOST_BYTES {
        return Err(format!("a CSV file may have {} MiB", MOST_BYTES >> 20).into());
    }
    let text = String::from_utf8(fs::read(path)?).map_err(|_| "it is no text in UTF-8")?;
    let mut records = csv(text.trim_start_matches('\u{feff}'))?.into_iter();
    let headers = records.next().ok_or("it is empty")?;
    let rows: Vec<Vec<String>> = records.collect();
    if let Some((number, row)) = rows
        .iter()
        .enumerate()
        .find(|(_, row)| row.len() != headers.len())
    {
        let (found, expected) = (row.len(), headers.len());
        return Err(format!("row {}: {found} cells, expected {expected}", number + 2).into());
    }
    Ok((headers, rows))
}

fn parquet(path: &Path) -> Result<Cells, Cause> {
    let (batch, _) = cache::read_table(path)?;
    let schema = batch.schema();
    let headers = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let options = FormatOptions::default();
    let mut rows = vec![Vec::new(); batch.num_rows()];
    for column in batch.columns() {
        let cells = ArrayFormatter::try_new(column, &options)?;
        for (number, row) in rows.iter_mut().enumerate() {
            let is_null = column.is_null(number);
            row.push(if is_null {
                String::new()
            } else {
                cells.value(number).to_string()
            });
        }
    }
    Ok((headers, rows))
}

/// Records of trimmed cells (RFC 4180); blank lines are left out.
fn csv(text: &str) -> Result<Vec<Vec<String>>, Cause> {
    let first = text.lines().next().unwrap_or_default();
    let count = |separator: char| first.matches(separator).count();
    let separator = [',', ';', '\t']
        .into_iter()
        .rev()
        .max_by_key(|&c| count(c))
        .unwrap_or(',');
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut is_quoted, mut letters) = (false, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' if is_quoted || cell.trim().is_empty() => is_quoted = !is_quoted,
            letter if is_quoted => cell.push(letter),
            letter if letter == separator => record.push(take(&mut cell)),
            '\n' | '\r' => {
                record.push(take(&mut cell));
                let record = std::mem::take(&mut record);
                records.extend((record.len() > 1 || !record[0].is_empty()).then_some(record));
            }
            letter => cell.push(letter),
        }
    }
    if is_quoted {
        return Err("a quotation mark is not closed".into());
    }
    if !cell.is_empty() || !record.is_empty() {
        record.push(take(&mut cell));
        records.push(record);
    }
    Ok(records)
}

fn take(cell: &mut String) -> String {
    std::mem::take(cell).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_may_be_quoted_and_separated_in_three_ways() {
        let found = csv("a;b\r\n\"x;\n\"\"y\"\"\"; 2 \n\n;3").unwrap();
        assert_eq!(found, [["a", "b"], ["x;\n\"y\"", "2"], ["", "3"]]);
        assert_eq!(csv("a\tb\n1\t2\n").unwrap()[1], ["1", "2"]);
        assert!(csv("a,b\n\"1,2").is_err());
    }

    #[test]
    fn a_table_is_found_by_sample_image_or_patient() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        let slices = ["a", "b"].map(|name| SliceMeta {
            patient: Some(format!("p{name}")),
            ..::tests::slice(name)
        });
        let site = |text: &str| {
            fs::write(&path, text).unwrap();
            let table = Metadata::read(&path).map_err(|error| error.to_string())?;
            Ok::<_, String>(table.column("site", slices.iter()).unwrap())
        };
        assert_eq!(site("sample,site\nb,2\na,1\n").unwrap(), ["1", "2"]);
        assert_eq!(site("site,image\n2,b.png\n").unwrap(), ["", "2"]);
        assert_eq!(site("site,patient\n1,pa\n9,pa\n").unwrap(), ["1", ""]);
        assert!(
            site("site,name\n1,a\n")
                .unwrap_err()
                .contains("no column `sample`")
        );
        assert!(
            site("site,sample\n1\n")
                .unwrap_err()
                .contains("row 2: 1 cells")
        );
        assert!(site("").unwrap_err().contains("empty"));
    }
}
