//! The file of a probe's records, `RUNS/PROBE.jsonl`.
//!
//! All records of an evaluation are appended at once, each with its number, so that a part of an evaluation left
//! by an interruption or a full disk is recognised.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use common::counted;
use common::text::printable;
use serde_json::Value;
use serde_json::error::Category;

use super::RunRecord;
use super::name::Names;
use crate::Error;
use crate::error::FileError;
use crate::version::EVALUATION_VERSION;

/// Maximum number of unreadable lines that a message lists.
const NAMED: usize = 5;

/// Records of a probe.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Complete evaluations of the current version, in the order of the file.
    evaluations: Vec<Vec<RunRecord>>,
    /// Names of their records.
    names: Names,
    /// Messages about lines that are left out.
    complaints: Vec<String>,
}

/// Outcome of [`append`].
#[derive(Clone, Debug)]
pub enum Appended {
    /// The records are in the file.
    New(Vec<RunRecord>),
    /// The records of the same evaluation by another process.
    Known(Vec<RunRecord>),
}

impl Recorded {
    /// The records of the latest evaluation with this key.
    pub fn of(&self, key: &str) -> Option<&[RunRecord]> {
        let mut latest = self.evaluations.iter().rev();
        latest
            .find(|records| records[0].key == key)
            .map(Vec::as_slice)
    }

    /// The records of each evaluation, in the order of the file.
    pub fn evaluations(&self) -> &[Vec<RunRecord>] {
        &self.evaluations
    }

    /// The records of all evaluations; of those with equal keys only the latest.
    pub fn latest(self) -> Vec<RunRecord> {
        let numbered = self.evaluations.iter().enumerate();
        let last: HashMap<String, usize> = numbered
            .map(|(at, records)| (records[0].key.clone(), at))
            .collect();
        let numbered = self.evaluations.into_iter().enumerate();
        numbered
            .filter(|(at, records)| last[&records[0].key] == *at)
            .flat_map(|(_, records)| records)
            .collect()
    }

    /// Messages about other content of the file: unreadable lines, interrupted evaluations, and records of another
    /// evaluation version.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn parse(path: &Path, bytes: &[u8]) -> Recorded {
        let (mut parts, mut recorded) = (Parts::default(), Recorded::default());
        for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            if !line.trim_ascii().is_empty() {
                recorded.evaluations.extend(parts.take(number, line));
            }
        }
        parts.interrupt();
        let mut names = Names::default();
        for records in &mut recorded.evaluations {
            names.give(records);
        }
        recorded.names = names;
        recorded.complaints = parts.complaints(path, &recorded);
        recorded
    }
}

/// Lines read so far that do not belong to a complete evaluation.
#[derive(Debug, Default)]
struct Parts {
    /// The evaluation that the next line may continue, and the number of its first line.
    begun: Vec<RunRecord>,
    line: usize,
    /// Incomplete evaluations: the first line, a record, and the number of records.
    interrupted: Vec<(usize, RunRecord, usize)>,
    unreadable: Vec<String>,
    /// Records of another version.
    others: usize,
}

impl Parts {
    /// Takes a line; returns the evaluation that it completes.
    fn take(&mut self, number: usize, line: &[u8]) -> Option<Vec<RunRecord>> {
        match serde_json::from_slice::<RunRecord>(line) {
            Ok(record) if record.evaluation_version == EVALUATION_VERSION => {
                return self.join(number, record);
            }
            Err(error) if !is_of_other_version(line) => {
                self.unreadable.push(unreadable(number, &error));
            }
            _ => self.others += 1,
        }
        None
    }

    fn join(&mut self, number: usize, record: RunRecord) -> Option<Vec<RunRecord>> {
        let follows = self.begun.last().is_some_and(|last| {
            let place = |of: &RunRecord| (of.key.clone(), of.results);
            place(last) == place(&record) && last.result + 1 == record.result
        });
        if !follows {
            self.interrupt();
            self.line = number;
        }
        self.begun.push(record);
        let is_whole = self.begun.len() == self.begun[0].results && self.begun[0].result == 1;
        is_whole.then(|| std::mem::take(&mut self.begun))
    }

    /// Ends the evaluation that has been read so far.
    fn interrupt(&mut self) {
        let found = std::mem::take(&mut self.begun);
        let first = found.first().cloned();
        self.interrupted
            .extend(first.map(|first| (self.line, first, found.len())));
    }

    fn complaints(self, path: &Path, recorded: &Recorded) -> Vec<String> {
        let path = path.display().to_string();
        let path = printable(&path);
        let mut complaints = Vec::new();
        if !self.unreadable.is_empty() {
            let lines = counted(self.unreadable.len(), "line");
            let named = self.unreadable[..self.unreadable.len().min(NAMED)].join(", ");
            let named = printable(&named);
            let more = if self.unreadable.len() > NAMED {
                ", …"
            } else {
                ""
            };
            complaints.push(format!(
                "`{path}`: {lines} cannot be read and left out: {named}{more}\nhint: delete what is torn from the file"
            ));
        }
        for (line, record, found) in self.interrupted {
            // A later evaluation with this key may be complete.
            if recorded.of(&record.key).is_none() {
                let of = format!(
                    "{}@{} on {}",
                    record.model, record.image_size, record.dataset
                );
                let of = printable(&of);
                let all = counted(record.results, "record");
                complaints.push(format!(
                    "`{path}`: line {line}: {found} of {all} of an interrupted evaluation ({of}): not current, it is evaluated again when asked for"
                ));
            }
        }
        if self.others > 0 {
            let records = counted(self.others, "record");
            complaints.push(format!(
                "`{path}`: skipped {records} of another evaluation version (expected {EVALUATION_VERSION}); requested evaluations are repeated"
            ));
        }
        complaints
    }
}

/// A line that is no record, and why: `line 2, column 18 (EOF while parsing a string)`.
fn unreadable(number: usize, error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    // The parser has seen one line.
    let place = format!(" at line {} column {column}", error.line());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    match error.classify() {
        Category::Data => format!("line {number} ({text})"),
        _ => format!("line {number}, column {column} ({text})"),
    }
}

/// Whether a line is a record of another version, which may have other fields.
fn is_of_other_version(line: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(line).unwrap_or_default();
    let version = value.get("evaluation_version").and_then(Value::as_u64);
    version.is_some_and(|version| version != u64::from(EVALUATION_VERSION))
}

/// The records of a probe in a folder; none if there is no such file.
///
/// # Errors
///
/// [`FileError::Records`] if the file cannot be read.
pub fn read(folder: &Path, probe: &str) -> Result<Recorded, Error> {
    let path = path(folder, probe);
    let read = |mut file: File| {
        tolerant(file.lock_shared())?;
        contents(&mut file)
    };
    match File::open(&path).and_then(read) {
        Ok(bytes) => Ok(Recorded::parse(&path, &bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Recorded::default()),
        Err(source) => Err(Error::File(FileError::Records { path, source })),
    }
}

/// The records of all probes in a folder, of equal keys only the latest, and messages about other content.
///
/// # Errors
///
/// [`FileError::Records`] if the folder or a file cannot be read.
pub fn read_all(folder: &Path) -> Result<(Vec<RunRecord>, Vec<String>), Error> {
    let failed = |source| {
        Error::File(FileError::Records {
            path: folder.into(),
            source,
        })
    };
    let mut probes = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_records = path.extension().is_some_and(|end| end == "jsonl");
        if let Some(probe) = path
            .file_stem()
            .and_then(OsStr::to_str)
            .filter(|_| is_records)
        {
            probes.push(probe.to_owned());
        }
    }
    probes.sort();
    let (mut records, mut complaints) = (Vec::new(), Vec::new());
    for probe in probes {
        let recorded = read(folder, &probe)?;
        complaints.extend_from_slice(recorded.complaints());
        records.extend(recorded.latest());
    }
    Ok((records, complaints))
}

/// Appends the records of an evaluation, all or none, and syncs them to disk. Unless `again`, an evaluation that
/// another process recorded meanwhile is returned instead: of equal commands at the same time, one records.
///
/// # Errors
///
/// [`FileError::Record`] if the file cannot be created or written.
pub fn append(
    folder: &Path,
    probe: &str,
    mut records: Vec<RunRecord>,
    again: bool,
) -> Result<Appended, Error> {
    let Some(key) = records.first().map(|record| record.key.clone()) else {
        return Ok(Appended::New(records));
    };
    let results = records.len();
    for (result, record) in (1..).zip(&mut records) {
        (record.result, record.results) = (result, results);
    }
    let path = path(folder, probe);
    let written = fs::create_dir_all(folder).and_then(|()| {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(&path)?;
        tolerant(file.lock())?;
        let before = contents(&mut file)?;
        let mut recorded = Recorded::parse(&path, &before);
        if !again && let Some(known) = recorded.of(&key) {
            return Ok(Some(known.to_vec()));
        }
        recorded.names.give(&mut records);
        let begin = if matches!(before.last(), None | Some(b'\n')) {
            ""
        } else {
            "\n"
        };
        let lines = records.iter().map(|record| record.to_json() + "\n");
        let text: String = std::iter::once(begin.to_owned()).chain(lines).collect();
        extend(&mut file, before.len() as u64, text.as_bytes())?;
        Ok(None)
    });
    match written {
        Ok(Some(known)) => Ok(Appended::Known(known)),
        Ok(None) => Ok(Appended::New(records)),
        Err(source) => Err(Error::File(FileError::Record { path, source })),
    }
}

/// Appends to a file of `length` bytes; on failure the file is truncated to this length.
fn extend(file: &mut File, length: u64, bytes: &[u8]) -> io::Result<()> {
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        // The first of two errors is reported; the next reader finds a torn line.
        let _ = file.set_len(length);
    }
    written
}

fn path(folder: &Path, probe: &str) -> PathBuf {
    folder.join(format!("{probe}.jsonl"))
}

fn contents(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Continues without a lock if the file system has none.
fn tolerant(locked: io::Result<()>) -> io::Result<()> {
    locked.or_else(|error| match error.kind() {
        ErrorKind::Unsupported => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests;
