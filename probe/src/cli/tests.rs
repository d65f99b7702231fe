use std::path::Path;

use clap::Parser;

use cache::Split;

use super::*;
use crate::control::Control;

fn parse(words: &str) -> Result<ProbeCommand, clap::Error> {
    let words = ["probe", "knn"].into_iter().chain(words.split_whitespace());
    match Cli::try_parse_from(words)?.command {
        Command::Probe(probe) => Ok(probe),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_split_is_not_both_fitted_on_and_evaluated() {
    let fit = |words, eval| {
        let knn = parse(words).unwrap();
        let settings = knn
            .args
            .settings
            .whole(&knn.args.fit, eval, [], &mut Vec::new());
        settings.map(|settings| settings[0].fit.clone())
    };
    assert_eq!(fit("", Split::Test).unwrap(), [Split::Train, Split::Val]);
    assert_eq!(fit("", Split::Val).unwrap(), [Split::Train]);
    assert_eq!(fit("--train train", Split::Test).unwrap(), [Split::Train]);
    assert!(fit("--train train+val", Split::Val).is_err());
}

#[test]
fn caches_are_chosen_by_the_name_of_their_folder() {
    let wants = |words, path| parse(words).unwrap().args.caches.wants(Path::new(path));
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
    let knn = parse(&format!("--cache {}", folder.path().display())).unwrap();
    let error = knn.run(&mut Vec::new(), &mut Vec::new()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("no cache in `"), "{text}");
}

#[test]
fn an_unknown_name_is_told_apart_from_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    for cache in ["amos/dino-b@224", "amos/clip@224", "msd/dino-b@448"] {
        let dir = folder.path().join(cache);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("meta.json"), "{}").unwrap();
    }
    for (words, expected) in [
        (
            "--model dino-s",
            "no model `dino-s` (did you mean `dino-b`?); there is",
        ),
        (
            "--dataset Amos",
            "no dataset `Amos` (did you mean `amos`?); there is",
        ),
        (
            "--dataset xyz --model clip",
            "hint: no dataset `xyz`; there is `amos/clip@224`",
        ),
        ("--image-size 14", "no image size `14`"),
        (
            "--dataset msd --model clip",
            "hint: there is `amos/clip@224`, `amos/dino-b@224`, `msd",
        ),
    ] {
        let knn = parse(&format!("{words} --cache {}", folder.path().display())).unwrap();
        let text = knn
            .run(&mut Vec::new(), &mut Vec::new())
            .unwrap_err()
            .to_string();
        assert!(text.contains(expected), "{words}: {text}");
    }
}

#[test]
fn each_protocol_is_taken_once() {
    let of = |words| {
        parse(words)
            .unwrap()
            .args
            .settings
            .settings(Split::Test, &[], [], &mut Vec::new())
    };
    let names = |words| {
        of(words)
            .unwrap()
            .iter()
            .map(|s| s.protocol.name())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["strict"]);
    assert_eq!(names("--protocol paper,strict,paper"), ["paper", "strict"]);
}

#[test]
fn permutations_belong_to_shuffled_labels() {
    let control = |words| {
        let settings =
            parse(words)?
                .args
                .settings
                .settings(Split::Test, &[], [], &mut Vec::new())?;
        anyhow::Ok(settings[0].control)
    };
    let shuffled = |permutations| Some(Control::ShuffledLabels { permutations });
    assert_eq!(control("--control shuffled-labels").unwrap(), shuffled(20));
    let words = "--control shuffled-labels --permutations 5";
    assert_eq!(control(words).unwrap(), shuffled(5));
    assert!(control("--permutations 5").is_err());
    assert!(control("--control random-features --permutations 5").is_err());
}
