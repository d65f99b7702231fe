use super::super::tests::record;
use super::*;

/// An evaluation of `results` records.
fn evaluation(key: &str, results: usize) -> Vec<RunRecord> {
    let record = RunRecord {
        key: key.into(),
        ..record()
    };
    vec![record; results]
}

fn add(runs: &Path, key: &str, results: usize) {
    let appended = append(runs, "knn", evaluation(key, results), false).unwrap();
    assert!(matches!(appended, Appended::New(_)), "{appended:?}");
}

fn text(runs: &Path) -> String {
    fs::read_to_string(runs.join("knn.jsonl")).unwrap()
}

fn write(runs: &Path, text: &str) {
    fs::write(runs.join("knn.jsonl"), text).unwrap();
}

/// The messages about the file.
fn complaints(runs: &Path) -> String {
    read(runs, "knn").unwrap().complaints().join("\n")
}

#[test]
fn records_of_an_evaluation_are_a_line_each_with_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("new/runs");
    assert!(read(&runs, "knn").unwrap().of("a").is_none());
    add(&runs, "a", 2);
    add(&runs, "b", 1);
    let recorded = read(&runs, "knn").unwrap();
    let found = recorded.of("a").unwrap();
    let numbers: Vec<_> = found.iter().map(|r| (r.result, r.results)).collect();
    assert_eq!(numbers, [(1, 2), (2, 2)]);
    assert_eq!(recorded.of("b").unwrap().len(), 1);
    assert!(recorded.of("c").is_none() && recorded.complaints().is_empty());
    assert_eq!(text(&runs).lines().count(), 3);
    assert!(read(&runs, "linear").unwrap().of("a").is_none());
}

#[test]
fn an_evaluation_of_which_records_are_missing_is_not_recorded_until_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    add(runs, "a", 3);
    let whole = text(runs);
    let ends: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at + 1).collect();
    for end in [ends[0], ends[1]] {
        write(runs, &whole[..end]);
        assert!(read(runs, "knn").unwrap().of("a").is_none());
        assert!(
            complaints(runs).contains("line 1: "),
            "{}",
            complaints(runs)
        );
        add(runs, "a", 3);
        assert_eq!(read(runs, "knn").unwrap().of("a").unwrap().len(), 3);
        assert_eq!(complaints(runs), "");
    }
    write(runs, &whole[ends[0]..]);
    assert!(read(runs, "knn").unwrap().of("a").is_none());
}

#[test]
fn a_torn_line_is_named_and_takes_no_other_record_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    add(runs, "a", 1);
    let whole = text(runs);
    for torn in [1, whole.len() / 2, whole.len() - 1] {
        write(runs, &whole[..torn]);
        add(runs, "b", 2);
        let recorded = read(runs, "knn").unwrap();
        assert_eq!(recorded.of("b").unwrap().len(), 2);
        // A whole line that lacks its end only is none the less a record.
        assert_eq!(recorded.of("a").is_some(), torn == whole.len() - 1);
        let found = complaints(runs);
        assert_eq!(found.contains("knn.jsonl`: 1 line"), torn < whole.len() - 1);
        assert_eq!(
            found.contains("line 1, column "),
            torn < whole.len() - 1,
            "{found}"
        );
    }
}

#[test]
fn what_is_no_record_is_named_and_the_rest_read() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    add(runs, "a", 1);
    let mut bytes = text(runs).into_bytes();
    bytes.extend(b"\n\xff\xfe\n{\"of\": \"something else\"}\n\0\0\0\n");
    fs::write(runs.join("knn.jsonl"), bytes).unwrap();
    add(runs, "b", 1);
    let recorded = read(runs, "knn").unwrap();
    assert!(recorded.of("a").is_some() && recorded.of("b").is_some());
    let found = complaints(runs);
    for named in [
        "3 lines",
        "line 3, column 1 (",
        "line 4 (missing field",
        "line 5, column 1 (",
    ] {
        assert!(found.contains(named), "{named}: {found}");
    }
}

#[test]
fn records_of_another_version_are_counted_and_not_current() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    add(runs, "a", 1);
    let current = format!("\"evaluation_version\":{EVALUATION_VERSION}");
    let older = text(runs).replace(&current, "\"evaluation_version\":1");
    let oldest = text(runs).replace(&format!(",{current}"), "");
    assert_ne!(older, oldest);
    let newer = format!("{{\"evaluation_version\": {}}}\n", EVALUATION_VERSION + 1);
    write(runs, &(older + &oldest + &newer));
    assert!(read(runs, "knn").unwrap().of("a").is_none());
    let found = complaints(runs);
    assert!(
        found.contains("3 records of another evaluation version"),
        "{found}"
    );
    assert_eq!(found.lines().count(), 1, "{found}");
}

#[test]
fn of_equal_evaluations_the_second_is_given_the_first_unless_it_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    add(runs, "a", 2);
    let later = || {
        let mut records = evaluation("a", 2);
        records[1].setting = "later".into();
        records
    };
    match append(runs, "knn", later(), false).unwrap() {
        Appended::Known(known) => assert_eq!(known[1].setting, "k=1"),
        Appended::New(new) => panic!("{new:?}"),
    }
    assert_eq!(text(runs).lines().count(), 2);
    append(runs, "knn", later(), true).unwrap();
    assert_eq!(text(runs).lines().count(), 4);
    let recorded = read(runs, "knn").unwrap();
    assert_eq!(recorded.of("a").unwrap()[1].setting, "later");
    assert_eq!(recorded.latest().len(), 2);
}

#[test]
fn many_at_once_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    let records = || append(runs, "knn", evaluation("a", 3), false).unwrap();
    let new = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(records)).collect();
        let found = threads.into_iter().map(|thread| thread.join().unwrap());
        found
            .filter(|found| matches!(found, Appended::New(_)))
            .count()
    });
    assert_eq!(new, 1);
    assert_eq!(text(runs).lines().count(), 3);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let found = append(file.path(), "knn", evaluation("a", 1), false);
    let text = found.unwrap_err().to_string();
    assert!(
        text.contains("knn.jsonl`: cannot write a run record"),
        "{text}"
    );
}
