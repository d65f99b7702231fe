//! Splits of the study.

use super::*;

/// Lists of ids: a line `NAME COUNT`, then indented lines of ids.
struct Golden(Vec<(String, Vec<String>)>);

impl Golden {
    fn read(text: &str) -> Golden {
        let mut lists: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines() {
            match (line.strip_prefix("  "), lists.last_mut()) {
                (Some(ids), Some((_, list))) => list.extend(ids.split(' ').map(str::to_owned)),
                _ => lists.push((line.split(' ').next().unwrap().to_owned(), Vec::new())),
            }
        }
        Golden(lists)
    }

    fn list(&self, name: &str) -> &[String] {
        &self.0.iter().find(|(found, _)| found == name).unwrap().1
    }

    /// The ids of some lists in the order of their bytes, as the files of a download are listed.
    fn all(&self, names: &[&str]) -> Vec<String> {
        let mut ids: Vec<String> = names
            .iter()
            .flat_map(|name| self.list(name).to_vec())
            .collect();
        ids.sort();
        ids
    }

    #[track_caller]
    fn expect(&self, rule: &str, ids: Vec<String>) -> [usize; 4] {
        let members = samples(ids);
        let splits = by(rule, &members).unwrap();
        for split in Split::ALL {
            let found = in_split(&members, &splits, Some(split));
            assert_eq!(found, self.list(split.name()), "{}", split.name());
        }
        sizes(&splits)
    }
}

#[test]
fn spleen_is_split_as_in_the_study() {
    let golden = Golden::read(include_str!("../../../../tests/golden/splits/spleen.txt"));
    // `spleen_10.nii.gz` sorts before `spleen_2.nii.gz`.
    let ids = golden.all(&["train", "val", "test"]);
    let sizes = golden.expect("systematic:test=15,val=10", ids);
    assert_eq!(sizes, [16, 10, 15, 0]);
}

#[test]
fn hippocampus_is_split_as_in_the_study() {
    let golden = Golden::read(include_str!(
        "../../../../tests/golden/splits/hippocampus.txt"
    ));
    let ids = golden.all(&["train", "val", "test"]);
    let sizes = golden.expect("systematic:test=80,val=60", ids);
    assert_eq!(sizes, [120, 60, 80, 0]);
}

#[test]
fn amos_is_split_as_in_the_study_and_half_of_it_is_left_out() {
    let golden = Golden::read(include_str!("../../../../tests/golden/splits/amos.txt"));
    let ids = golden.all(&["imagesTr", "imagesVa"]);
    let sizes = golden.expect("systematic:train=80,val=20,test=50", ids);
    assert_eq!(sizes, [80, 20, 50, 150]);
}

#[test]
fn montgomery_is_split_as_in_the_study() {
    let members = samples((0..138).map(|k| format!("{k:04}")));
    let splits = by("systematic:test=46,val=23", &members).unwrap();
    assert_eq!(sizes(&splits), [69, 23, 46, 0]);
    let test = in_split(&members, &splits, Some(Split::Test));
    assert!(
        test.iter().eq(&(0..138)
            .step_by(3)
            .map(|k| format!("{k:04}"))
            .collect::<Vec<_>>())
    );
    let rest = (0..138).filter(|k| k % 3 != 0).step_by(4);
    let rest: Vec<String> = rest.map(|k| format!("{k:04}")).collect();
    assert_eq!(in_split(&members, &splits, Some(Split::Val)), rest);
}

#[test]
fn sars_cov_2_is_split_by_patient_as_in_the_study() {
    let members = patients_with_images(210, |patient| 1 + patient % 40);
    let splits = by("systematic:test=70,val=50", &members).unwrap();
    let of = patients_in(&members, &splits);
    assert_eq!([of[0].len(), of[1].len(), of[2].len()], [90, 50, 70]);
    let thirds: HashSet<String> = (0..210).step_by(3).map(|k| format!("p{k}")).collect();
    assert_eq!(of[2], thirds);
}

#[test]
fn brain_tumors_are_split_by_patient_in_order_of_first_appearance() {
    let members = patients_with_images(233, |patient| 5 + patient * 7 % 17);
    let splits = by("systematic:test=70,val=50", &members).unwrap();
    let of = patients_in(&members, &splits);
    assert_eq!([of[0].len(), of[1].len(), of[2].len()], [113, 50, 70]);
    // round_even(233 / 70) = 3, and not the third image.
    assert!(of[2].contains("p0") && of[2].contains("p3") && !of[2].contains("p1"));
}
