//! Identifiers of patients and paths of files in a cache.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cache::{CacheReader, SliceMeta, Split};

use crate::lab::{Lab, Run};

const SERIES: &str = "1.2.840.99999.7";

/// An element in explicit VR, little-endian.
fn element(group: u16, number: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
    bytes.extend(vr.as_bytes());
    match vr {
        "OW" => {
            bytes.extend([0, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
        }
        _ => bytes.extend((value.len() as u16).to_le_bytes()),
    }
    bytes.extend(value);
    bytes
}

/// A radiograph of 8 x 8 pixels of a patient.
fn radiograph(patient: &str) -> Vec<u8> {
    let text = |group, number, vr, text: &str| {
        let padded = format!("{text}{}", " ".repeat(text.len() % 2));
        element(group, number, vr, padded.as_bytes())
    };
    let short = |number, value: u16| element(0x28, number, "US", &value.to_le_bytes());
    let pixels: Vec<u8> = (0..64u16).flat_map(u16::to_le_bytes).collect();
    [
        text(8, 0x60, "CS", "DX"),
        text(0x10, 0x20, "LO", patient),
        text(0x20, 0x0e, "UI", SERIES),
        short(2, 1),
        text(0x28, 4, "CS", "MONOCHROME2"),
        short(0x10, 8),
        short(0x11, 8),
        short(0x100, 16),
        short(0x101, 16),
        short(0x102, 15),
        short(0x103, 0),
        element(0x7fe0, 0x10, "OW", &pixels),
    ]
    .concat()
}

/// A folder of two patients.
fn patients(lab: &Lab) -> PathBuf {
    for (patient, folder) in [("MILLER", "bed-1"), ("SMITH", "bed-2")] {
        lab.write(&format!("dicom/{folder}/{SERIES}/1"), radiograph(patient));
    }
    lab.path("dicom")
}

fn extracted(lab: &Lab, name: &str, more: &[&str]) -> Vec<SliceMeta> {
    let mut command = lab.extract_as(name, "dicom", &patients(lab));
    Run::of(command.args(["--split", "none"]).args(more)).expect(0);
    let cache = lab.path(&format!("cache/{name}/tiny-vit@56"));
    CacheReader::open(&cache).unwrap().slices().unwrap()
}

#[test]
fn hashes_stand_for_patients_and_uids_unless_they_are_to_be_kept() {
    let lab = Lab::new();
    let kept = extracted(&lab, "kept", &["--keep-ids"]);
    assert_eq!(kept[0].sample, format!("bed-1/{SERIES}/1"));
    assert_eq!(kept[0].patient.as_deref(), Some("MILLER"));
    let hidden = extracted(&lab, "hidden", &[]);
    let again = extracted(&lab, "again", &[]);
    assert_eq!(hidden, again);
    let patients: BTreeSet<_> = hidden.iter().map(|slice| slice.patient.clone()).collect();
    assert_eq!(patients.len(), 2);
    for slice in &hidden {
        let patient = slice.patient.as_deref().unwrap();
        assert!(patient.len() == 16 && patient.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(!slice.sample.contains(SERIES) && !slice.image.contains(SERIES));
    }
    assert!(hidden[0].sample.starts_with("bed-1/"));
    let masked = extracted(&lab, "masked", &["--mask-paths"]);
    for slice in &masked {
        let text = format!("{} {}", slice.sample, slice.image);
        assert!(!text.contains("bed-1") && !text.contains("bed-2"), "{text}");
        assert_eq!(slice.sample.matches('/').count(), 2);
    }
    assert_eq!(masked[0].patient, hidden[0].patient);
}

#[test]
fn reasons_of_skipped_samples_name_files_as_they_are_on_the_screen_only() {
    let lab = Lab::new();
    let root = patients(&lab);
    let cut = radiograph("BROWN");
    lab.write(&format!("dicom/jones/{SERIES}/1"), &cut[..cut.len() - 20]);
    let extract = |name: &str, more: &[&str]| {
        let mut command = lab.extract_as(name, "dicom", &root);
        let run = Run::of(command.args(["--split", "none"]).args(more)).expect(1);
        assert!(
            run.stderr
                .contains(&format!("skipped `jones/{SERIES}/1`: ")),
            "{run:#?}"
        );
        fs::read_to_string(lab.path(&format!("cache/{name}/tiny-vit@56/meta.json"))).unwrap()
    };
    for (name, more, uid, folder) in [
        ("kept", &["--keep-ids"][..], true, true),
        ("hidden", &[], false, true),
        ("masked", &["--mask-paths"], false, false),
    ] {
        let meta = extract(name, more);
        assert!(
            meta.contains("the file is damaged") || meta.contains("bytes"),
            "{meta}"
        );
        assert_eq!(meta.contains(SERIES), uid, "{meta}");
        assert_eq!(meta.contains("jones"), folder, "{meta}");
    }
}

#[test]
fn a_table_of_splits_names_the_originals_where_the_key_is() {
    let lab = Lab::new();
    for (name, more) in [("hidden", None), ("masked", Some("--mask-paths"))] {
        let slices = extracted(&lab, name, more.as_slice());
        let splits = |csv: String, key: Option<PathBuf>| {
            let rule = format!("file:{}", lab.write("splits.csv", csv).display());
            let mut command = lab.split(name);
            command.args(["--name", "mine", "--rule", &rule]);
            if let Some(key) = key {
                command.env("SLICEBANK_ID_KEY", key);
            }
            Run::of(&mut command)
        };
        let tables = [
            "patient,split\nMILLER,test\nSMITH,train\n".to_owned(),
            format!("sample,split\nbed-1/{SERIES}/1,test\nbed-2\\{SERIES}\\1,train\n"),
            format!("image,split\nbed-1/{SERIES}/1,test\nbed-2/{SERIES}/1,train\n"),
            format!(
                "sample,split\n{},test\nbed-2/{SERIES}/1,train\n",
                slices[0].sample
            ),
        ];
        for csv in &tables {
            splits(csv.clone(), None).expect(0);
            let cache = CacheReader::open(&lab.path(&format!("cache/{name}/tiny-vit@56")));
            let (slices, _) = cache.unwrap().slices_with_split("mine").unwrap();
            let found: Vec<_> = slices.iter().map(|slice| slice.split).collect();
            assert_eq!(found, [Some(Split::Test), Some(Split::Train)], "{csv}");
        }
        let no_key = lab.path("no.key");
        let run = splits(tables[0].clone(), Some(no_key.clone()));
        run.expect_error(2, &["splits.csv", "`", "hashes", "key"]);
        assert!(!no_key.exists());
    }
}

#[test]
fn no_identifier_is_left_in_a_tree_that_is_named_by_them() {
    let lab = Lab::new();
    let instance = "1.3.6.1.4.1.14519.5.7";
    let series = format!("1.3.6.1.4.1.14519/{SERIES}");
    for (patient, name) in [
        ("MILLER", format!("MILLER/{series}/{instance}.dcm")),
        ("SMITH", format!("Smith/{series}/MR.{instance}.dcm")),
        ("JONES", "jones.dcm".to_owned()),
    ] {
        lab.write(&format!("tree/{name}"), radiograph(patient));
    }
    let mut damaged = radiograph("BROWN");
    damaged.truncate(damaged.len() - 64);
    lab.write(&format!("tree/BROWN/{series}/{instance}.dcm"), damaged);
    let extract = |name: &str, more: &[&str]| {
        let mut command = lab.extract_as(name, "dicom", &lab.path("tree"));
        let run = Run::of(command.args(["--split", "none"]).args(more)).expect(1);
        // The user is told which file it is.
        let file = format!("`BROWN/{series}/{instance}.dcm`");
        assert!(run.stderr.contains(&file), "{run:#?}");
        lab.path(&format!("cache/{name}/tiny-vit@56"))
    };
    let raw = ["miller", "smith", "jones", "brown", "14519", SERIES];
    let kept = |dir: &Path| {
        let meta = fs::read_to_string(dir.join("meta.json")).unwrap();
        let reader = CacheReader::open(dir).unwrap();
        assert_eq!(reader.meta().skipped.len(), 1);
        let rows = reader.slices().unwrap();
        let rows = rows
            .iter()
            .map(|row| format!("{} {}\n", row.sample, row.image));
        (meta + &rows.collect::<String>()).to_lowercase()
    };
    let hidden = kept(&extract("hidden", &[]));
    let masked = kept(&extract("masked", &["--mask-paths"]));
    for word in raw {
        assert!(!hidden.contains(word), "{word}: {hidden}");
        assert!(!masked.contains(word), "{word}: {masked}");
    }
    assert!(hidden.contains(".dcm") && !masked.contains(".dcm"));
    let open = kept(&extract("open", &["--keep-ids"]));
    assert!(raw.iter().all(|word| open.contains(word)), "{open}");
    // A table may name what is hidden, in caches of all kinds.
    let table = format!(
        "image,split\nMILLER/{series}/{instance}.dcm,test\nSmith/{series}/MR.{instance}.dcm,val\n\
         jones.dcm,train\n"
    );
    let rule = format!("file:{}", lab.write("splits.csv", table).display());
    for name in ["hidden", "masked", "open"] {
        Run::of(lab.split(name).args(["--name", "mine", "--rule", &rule])).expect(0);
    }
    // The same names again, so that a stopped run can go on.
    let again = Run::of(
        lab.extract_as("hidden", "dicom", &lab.path("tree"))
            .args(["--split", "none"]),
    );
    assert!(again.expect(1).stderr.contains("already complete"));
}

#[test]
fn an_identifier_in_a_longer_name_is_told() {
    let lab = Lab::new();
    lab.write("tree/MILLER_2/a.dcm", radiograph("MILLER"));
    let mut command = lab.extract_as("longer", "dicom", &lab.path("tree"));
    let run = Run::of(command.args(["--split", "none"])).expect(0);
    let told = run.stderr.contains("`MILLER_2/a`") && run.stderr.contains("--mask-paths");
    assert!(told, "{run:#?}");
}

#[test]
fn a_key_that_cannot_be_made_is_an_error_with_a_way_out() {
    let lab = Lab::new();
    let root = patients(&lab);
    let file = lab.write("file", "");
    let mut command = lab.extract_as("images", "dicom", &root);
    command.env("SLICEBANK_ID_KEY", file.join("id.key"));
    let run = Run::of(&mut command).expect(2);
    assert!(
        run.stderr.contains("id.key") && run.stderr.contains("--keep-ids"),
        "{run:#?}"
    );
}
