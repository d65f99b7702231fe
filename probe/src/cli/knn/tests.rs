use std::path::Path;

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn parse(words: &str) -> Result<Knn, clap::Error> {
    let words = ["probe", "knn"].into_iter().chain(words.split_whitespace());
    match Cli::try_parse_from(words)?.command {
        Command::Knn(knn) => Ok(knn),
        other => panic!("{other:?}"),
    }
}

#[test]
fn k_is_given_as_a_list_or_again_and_again() {
    assert_eq!(parse("--k 10,20 --k 200").unwrap().k, [10, 20, 200]);
    assert!(parse("--k 0").is_err());
    assert!(parse("--k 99999999999").is_err());
}

#[test]
fn temperatures_are_positive() {
    assert!(parse("--temperature 0").is_err());
    assert!(parse("--temperature nan").is_err());
}

#[test]
fn a_split_is_not_both_fitted_on_and_evaluated() {
    let train = |words| parse(words).unwrap().options().map(|options| options.train);
    assert_eq!(train("").unwrap(), [Split::Train, Split::Val]);
    assert_eq!(train("--eval val").unwrap(), [Split::Train]);
    assert_eq!(train("--train train").unwrap(), [Split::Train]);
    assert!(train("--train train+val --eval val").is_err());
}

#[test]
fn caches_are_chosen_by_the_name_of_their_folder() {
    let wants = |words, path| parse(words).unwrap().caches.wants(Path::new(path));
    assert!(wants("", "e/amos/dino@224"));
    assert!(wants(
        "--model dino --dataset amos --image-size 224",
        "e/amos/dino@224"
    ));
    assert!(!wants("--model din", "e/amos/dino@224"));
    assert!(!wants("--dataset msd", "e/amos/dino@224"));
    assert!(!wants("--image-size 22", "e/amos/dino@224"));
}

#[test]
fn nothing_to_run_on_is_an_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let knn = parse(&format!("--model m --cache {}", folder.path().display())).unwrap();
    let text = knn
        .run(&mut Vec::new(), &mut Vec::new())
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("no cache of `*/m@*` here\nhint: run `extract` first"),
        "{text}"
    );
}
