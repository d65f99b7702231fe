mod study;

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

pub(super) fn member(sample: &str, patient: Option<&str>, official: Option<Split>) -> Member {
    Member {
        sample: sample.to_owned(),
        images: vec![format!("{sample}.png")],
        patient: patient.map(str::to_owned),
        official,
        fold: None,
    }
}

/// Samples without patients.
pub(super) fn samples(names: impl IntoIterator<Item = String>) -> Vec<Member> {
    names
        .into_iter()
        .map(|name| member(&name, None, None))
        .collect()
}

fn by(rule: &str, members: &[Member]) -> Result<Vec<Option<Split>>, Error> {
    assign(&rule.parse().unwrap(), members, &[])
}

/// The names in a split, in the members' order.
fn in_split(members: &[Member], splits: &[Option<Split>], wanted: Option<Split>) -> Vec<String> {
    let pairs = members.iter().zip(splits);
    let wanted = pairs.filter(|(_, split)| **split == wanted);
    wanted.map(|(member, _)| member.sample.clone()).collect()
}

/// Numbers of train, val, test and none.
fn sizes(splits: &[Option<Split>]) -> [usize; 4] {
    let wanted = [
        Some(Split::Train),
        Some(Split::Val),
        Some(Split::Test),
        None,
    ];
    wanted.map(|wanted| splits.iter().filter(|split| **split == wanted).count())
}

/// Images of patients `p0`, `p1`, …; every second image of a patient lies with those of the next.
fn patients_with_images(count: usize, images: impl Fn(usize) -> usize) -> Vec<Member> {
    let mut members = Vec::new();
    for patient in 0..count {
        for image in 0..images(patient) {
            let late = patient > 0 && image % 2 == 1;
            let name = format!("p{}", if late { patient - 1 } else { patient });
            members.push(member(&format!("{patient}-{image}"), Some(&name), None));
        }
    }
    members
}

fn patients_in(members: &[Member], splits: &[Option<Split>]) -> [HashSet<String>; 3] {
    Split::ALL.map(|wanted| {
        let pairs = members.iter().zip(splits);
        let inside = pairs.filter(|(_, split)| **split == Some(wanted));
        inside
            .filter_map(|(member, _)| member.patient.clone())
            .collect()
    })
}

#[test]
fn the_last_lines_of_the_official_list_of_nih_become_val() {
    let official = |k: usize| match k {
        0..86_524 => Some(Split::Train),
        _ => Some(Split::Test),
    };
    // Two to seven images of a patient, so that the border cuts one.
    let members: Vec<Member> = (0..112_120)
        .map(|k| {
            member(
                &format!("{k:08}_000"),
                Some(&format!("{}", k / 7)),
                official(k),
            )
        })
        .collect();
    let splits = by("official:val=10002", &members).unwrap();
    assert_eq!(sizes(&splits), [76_522, 10_002, 25_596, 0]);
    assert_eq!(splits[76_521], Some(Split::Train));
    assert_eq!(splits[76_522], Some(Split::Val));
    let cut = overlaps(&members, &splits);
    let patients: Vec<&str> = cut.iter().map(|cut| cut.patient.as_str()).collect();
    assert_eq!(patients, ["10931", "12360"]);
    assert_eq!(cut[0].splits, [Split::Train, Split::Val]);
}

#[test]
fn official_is_what_the_files_say() {
    let splits = [
        Some(Split::Train),
        Some(Split::Val),
        Some(Split::Test),
        None,
    ];
    let members = splits.map(|split| member("a", None, split));
    assert_eq!(by("official", &members).unwrap(), splits);
    assert_eq!(by("none", &members).unwrap(), [None; 4]);
}

#[test]
fn a_part_of_the_official_train_patients_becomes_val() {
    let mut members = patients_with_images(50, |_| 4);
    for (k, member) in members.iter_mut().enumerate() {
        member.official = Some(if k < 160 { Split::Train } else { Split::Test });
    }
    let splits = by("official:val=0.25:3", &members).unwrap();
    let of = patients_in(&members, &splits);
    assert_eq!(of[1].len(), 10);
    assert!(of[0].is_disjoint(&of[1]));
    let pairs = members.iter().zip(&splits);
    assert!(
        pairs
            .clone()
            .all(|(m, s)| (m.official == Some(Split::Test)) == (*s == Some(Split::Test)))
    );
    assert_ne!(splits, by("official:val=0.25:4", &members).unwrap());
}

#[test]
fn official_folds_make_test_and_the_next_one_val() {
    let mut members = samples((0..8).map(|k| k.to_string()));
    for (k, member) in members.iter_mut().enumerate() {
        member.fold = [Some(1), Some(2), Some(3), None][k % 4];
    }
    let names = |rule, split| in_split(&members, &by(rule, &members).unwrap(), split);
    assert_eq!(names("folds:1", Some(Split::Test)), ["0", "4"]);
    assert_eq!(names("folds:1", Some(Split::Val)), ["1", "5"]);
    assert_eq!(names("folds:1", Some(Split::Train)), ["2", "6"]);
    assert_eq!(names("folds:1", None), ["3", "7"]);
    assert_eq!(names("folds:3", Some(Split::Val)), ["0", "4"]);
    let text = by("folds:0", &members).unwrap_err().to_string();
    assert!(
        text.contains("the official folds 1, 2, 3") && text.contains("hint:"),
        "{text}"
    );
}

#[track_caller]
fn refused(rule: &str, members: &[Member], words: &[&str]) {
    let text = by(rule, members).unwrap_err().to_string();
    for word in words.iter().chain(&[rule, "hint:"]) {
        assert!(text.contains(word), "no `{word}` in {text}");
    }
}

#[test]
fn what_there_is_not_is_not_split() {
    let members = patients_with_images(9, |_| 2);
    refused(
        "systematic:test=6,val=3",
        &members,
        &["9 patients", "at least 10"],
    );
    refused(
        "systematic:train=18446744073709551615",
        &members,
        &["9 patients"],
    );
    refused(
        "random:0.98:0.01:0.01",
        &members,
        &["9 patients", "at least 100"],
    );
    refused("kfold:10:0", &members, &["9 patients", "at least 10"]);
    refused("folds:0", &members, &["no official folds"]);
    refused(
        "official:val=1",
        &members,
        &["0 official train samples", "at least 2"],
    );
    refused("official:val=0.5", &members, &["0 patients"]);
    let val = [member("a", None, Some(Split::Val))];
    refused("official:val=0.5", &val, &["1 sample in val already"]);
    refused("kfold:3:0", &val, &["1 sample, expected"]);
}

#[test]
fn a_patient_in_two_splits_is_refused_unless_allowed() {
    let of_patient = |k: usize| member(&k.to_string(), Some(&format!("p{}", k / 3)), None);
    let members: Vec<Member> = (0..90).map(of_patient).collect();
    let splits: Vec<Option<Split>> = (0..90).map(|k| Some(Split::ALL[k % 2])).collect();
    let found = overlaps(&members, &splits);
    let text = check_overlaps(&found, false, "do this")
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("patients in several splits: 30, `p0` in train and val, "),
        "{text}"
    );
    assert!(
        text.contains("`p4` in") && !text.contains("`p5` in"),
        "{text}"
    );
    assert!(
        text.contains("hint: do this, or") && text.contains("--allow-patient-overlap"),
        "{text}"
    );
    let warning = check_overlaps(&found, true, "").unwrap().unwrap();
    assert!(warning.contains(": 30"), "{warning}");
    assert_eq!(check_overlaps(&[], false, "").unwrap(), None);
}

#[test]
fn unknown_patients_are_worth_a_warning_where_a_rule_divides_by_them() {
    let mut members = samples((0..4).map(|k| k.to_string()));
    members[0].patient = Some("p".to_owned());
    let warn = |rule: &str| warnings(&rule.parse().unwrap(), &members, &[Some(Split::Test); 4]);
    let text = &warn("kfold:3:0")[0];
    let parts = [
        "3 of 4 samples have no patient",
        "`kfold:3:0` divides these by sample",
    ];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(warn("official"), [""; 0]);
    assert_eq!(warn("file:x.csv"), [""; 0]);
}

#[test]
fn samples_in_no_split_are_worth_a_warning() {
    let members = samples((0..4).map(|k| k.to_string()));
    let warn = |rule: &str| warnings(&rule.parse().unwrap(), &members, &[None; 4]).join("");
    assert!(warn("official").contains("--split kfold:3:0`"));
    assert_eq!(warn("none"), "");
}

#[test]
fn test_images_of_nnunet_are_never_drawn_into_another_split() {
    let mut members = samples((0..40).map(|k| k.to_string()));
    for (k, member) in members.iter_mut().enumerate() {
        let folder = ["imagesTr", "imagesTs"][usize::from(k % 4 == 3)];
        member.images = vec![format!("Task01/{folder}/{k}.nii.gz")];
    }
    for rule in [
        "random:0.5:0.5:0",
        "kfold:3:0",
        "systematic:test=5,val=20",
        "systematic:train=10,val=10",
    ] {
        let splits = by(rule, &members).unwrap();
        assert!(
            (3..40).step_by(4).all(|k| splits[k] == Some(Split::Test)),
            "{rule}"
        );
    }
    assert_eq!(
        sizes(&by("random:0.5:0.5:0", &members).unwrap()),
        [15, 15, 10, 0]
    );
    assert!(by("systematic:test=31", &members).is_err());
}

#[test]
fn a_rule_that_cannot_be_used_is_answered_with_one_that_can() {
    for (count, rule, fitting) in [
        (30, "systematic:test=70,val=50", "random:0.7:0.1:0.2"),
        (5, "systematic:test=70,val=50", "kfold:3:0"),
        (2, "kfold:5:0", "none"),
        (30, "official:val=10002", "official:val=0.1"),
        (4, "official:val=10002", "official:val=0.2"),
        (2, "official:val=10002", "official:val=0.5"),
        (1, "official:val=10002", "none"),
        (30, "folds:1", "random:0.7:0.1:0.2"),
    ] {
        let mut members = samples((0..count).map(|k| k.to_string()));
        members
            .iter_mut()
            .for_each(|member| member.official = Some(Split::Train));
        let text = by(rule, &members).unwrap_err().to_string();
        assert!(text.contains(fitting), "{text}");
        assert!(by(fitting, &members).is_ok());
    }
}

/// A rule that divides by patient, in words, and samples some of which have a patient.
fn grouping() -> impl Strategy<Value = (String, Vec<Member>)> {
    let rules = prop_oneof![
        (1usize..5, 1usize..5).prop_map(|(a, b)| format!("systematic:test={a},val={b}")),
        (1usize..5, 1usize..5).prop_map(|(a, b)| format!("systematic:train={a},val={b},test=1")),
        any::<u64>().prop_map(|seed| format!("random:0.5:0.25:0.25:{seed}")),
        (3u16..9, any::<u64>()).prop_map(|(k, seed)| format!("kfold:{k}:{}:{seed}", k - 1)),
        any::<u64>().prop_map(|seed| format!("official:val=0.3:{seed}")),
    ];
    let patients = proptest::collection::vec(proptest::option::weighted(0.9, 0u8..40), 40..120);
    (rules, patients).prop_map(|(rule, patients)| {
        let member = |(k, patient): (usize, Option<u8>)| {
            let patient = patient.map(|patient| format!("p{patient}"));
            member(&k.to_string(), patient.as_deref(), Some(Split::Train))
        };
        (rule, patients.into_iter().enumerate().map(member).collect())
    })
}

proptest! {
    #[test]
    fn no_patient_is_in_two_splits((rule, members) in grouping()) {
        if let Ok(splits) = by(&rule, &members) {
            prop_assert_eq!(overlaps(&members, &splits), []);
            prop_assert_eq!(splits.len(), members.len());
            prop_assert!(rule.contains("train=") || splits.iter().all(Option::is_some));
            prop_assert_eq!(by(&rule, &members).unwrap(), splits);
        }
    }

    #[test]
    fn sizes_are_those_asked_for(n in 1usize..400, test in 1usize..200, val in 1usize..200) {
        let members = samples((0..n).map(|k| k.to_string()));
        match by(&format!("systematic:test={test},val={val}"), &members) {
            Ok(splits) => prop_assert_eq!(sizes(&splits), [n - test - val, val, test, 0]),
            Err(_) => prop_assert!(n <= test + val),
        }
    }

    #[test]
    fn folds_take_turns_and_cover_everything(n in 3usize..100, k in 3u16..9, seed: u64) {
        let members = samples((0..n).map(|k| k.to_string()));
        prop_assume!(n >= usize::from(k));
        let folds = (0..k).map(|fold| by(&format!("kfold:{k}:{fold}:{seed}"), &members).unwrap());
        let folds: Vec<_> = folds.collect();
        for (fold, splits) in folds.iter().enumerate() {
            let next = &folds[(fold + 1) % folds.len()];
            let test = sizes(splits)[2];
            prop_assert!(test == n / folds.len() || test == n / folds.len() + 1);
            for member in 0..n {
                prop_assert_eq!(splits[member] == Some(Split::Val), next[member] == Some(Split::Test));
            }
        }
        for member in 0..n {
            let tested = folds.iter().filter(|splits| splits[member] == Some(Split::Test));
            prop_assert_eq!(tested.count(), 1);
        }
    }

    #[test]
    fn random_parts_have_their_sizes(n in 4usize..300, seed: u64) {
        let members = samples((0..n).map(|k| k.to_string()));
        let sizes = sizes(&by(&format!("random:0.5:0.25:0.25:{seed}"), &members).unwrap());
        let near = |size: usize, part: f64| (size as f64 - part * n as f64).abs() <= 1.0;
        prop_assert!(near(sizes[0], 0.5) && near(sizes[1], 0.25) && near(sizes[2], 0.25));
    }
}
