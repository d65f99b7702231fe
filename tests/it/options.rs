//! Options without an effect are refused, by name and with a hint.

use crate::lab::{Lab, Run, nifti, program, ramp};

/// A folder of pictures of two classes.
fn folder(lab: &Lab) -> std::path::PathBuf {
    for k in 0..2 {
        lab.png(&format!("tree/left/{k}.png"), 0, k);
        lab.png(&format!("tree/right/{k}.png"), 1, k);
    }
    lab.path("tree")
}

#[test]
fn options_that_a_layout_does_not_use_are_refused() {
    let lab = Lab::new();
    let root = folder(&lab);
    for (more, users) in [
        (&["--label-columns", "a"][..], "`dicom`, `manifest`"),
        (&["--image-root", "elsewhere"], "`manifest`"),
        (&["--allow-missing"], "`nnunet`"),
        (&["--keep-ids"], "`dicom`"),
    ] {
        lab.extract("folder", &root, more)
            .expect_error(2, &[more[0], "`folder`", users]);
        let mut command = program("extract");
        command.args(["datasets", "folder", "--root"]).arg(&root);
        Run::of(command.args(more)).expect_error(2, &[more[0], users]);
    }
    assert!(!lab.path("cache").exists());
    lab.extract("dicom", &root, &["--label-columns", "a,b"])
        .expect_error(2, &["`--label-columns`", "`manifest`"]);
    lab.extract("folder", &root, &["--split", "none"]).expect(0);
    for more in [
        &["--label-columns", "a"][..],
        &["--image-root", "x"],
        &["--keep-ids"],
    ] {
        let mut command = lab.split("folder");
        command.args(["--cache-name", "images", "--rule", "none"]);
        command.args(["--name", "a", "--root"]).arg(&root);
        Run::of(command.args(more)).expect_error(2, &[more[0], "`folder`"]);
    }
}

#[test]
fn options_without_what_they_are_about_are_refused() {
    let lab = Lab::new();
    let root = folder(&lab);
    for (more, word) in [
        (&["--augment", "flip-rotate"][..], "`--views`"),
        (&["--slicing", "axial"], "`--slicing axial`"),
        (&["--gpu", "3", "--provider", "cpu"], "`--provider cpu`"),
    ] {
        lab.extract("folder", &root, more).expect_error(2, &[word]);
    }
    let more = [
        "--augment",
        "flip-rotate",
        "--views",
        "1",
        "--split",
        "none",
    ];
    lab.extract("folder", &root, &more).expect(0);
}

#[test]
fn a_plane_is_told_to_change_nothing_in_pictures_beside_volumes() {
    let lab = Lab::new();
    lab.png("a.png", 0, 0);
    lab.write("b.nii", nifti([6, 5, 4], &ramp([6, 5, 4])));
    let csv = lab.write("m.csv", "image\na.png\nb.nii\n");
    let run = lab
        .extract("manifest", &csv, &["--slicing", "axial"])
        .expect(0);
    assert!(
        run.stderr.contains("`--slicing axial`") && run.stderr.contains("1 sample"),
        "{run:#?}"
    );
}

#[test]
fn what_a_volume_does_not_say_is_told_where_it_matters() {
    let lab = Lab::new();
    lab.write("b.nii", nifti([6, 5, 4], &ramp([6, 5, 4])));
    let csv = lab.write("m.csv", "image\nb.nii\n");
    let run = |name: &str, more: &[&str]| {
        let mut command = lab.extract_as(name, "manifest", &csv);
        Run::of(command.args(more)).expect(0).stderr
    };
    let plain = run("plain", &[]);
    assert!(
        !plain.contains("sform") && !plain.contains("percentiles 1"),
        "{plain}"
    );
    let axial = run("axial", &["--slicing", "axial"]);
    assert!(
        axial.contains("warning: ") && axial.contains("sform"),
        "{axial}"
    );
    let voi = run("voi", &["--intensity", "voi"]);
    assert!(
        voi.contains("name no window") && voi.contains("1 sample (`b`)"),
        "{voi}"
    );
}

#[test]
fn a_file_that_is_not_there_is_told_with_a_hint() {
    let lab = Lab::new();
    let root = folder(&lab);
    lab.extract("folder", &root, &["--split", "none"]).expect(0);
    let mut command = lab.split("images");
    command.args(["--name", "a", "--rule", "file:nofile.csv"]);
    Run::of(&mut command).expect_error(2, &["nofile.csv", "the name is right"]);
    lab.extract("nofile.toml", &root, &[])
        .expect_error(2, &["nofile.toml", "the name is right"]);
}
