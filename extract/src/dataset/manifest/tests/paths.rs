//! Paths as other programs and systems write them.

use super::*;
use crate::dataset::fixtures::write;

/// The images of a manifest with one row, and of those whose folder is `image_root`.
fn image(root: &tempfile::TempDir, path: &str, image_root: Option<&str>) -> Result<String, Error> {
    let manifest = format!("image\n\"{path}\"\n");
    write(root.path(), "manifest.csv", manifest);
    let mut card = card(&[]);
    card.options.image_root = image_root.map(PathBuf::from);
    let dataset = open(root.path(), &card)?;
    Ok(dataset.samples[0].image.file().display().to_string())
}

#[test]
fn windows_paths_and_other_unicode_forms_are_found() {
    let composed = "Bj\u{f6}rn/\u{e9}.png";
    let decomposed = "Bjo\u{308}rn/e\u{301}.png";
    for on_disk in [composed, decomposed] {
        let root = folder(&[(on_disk, "x"), ("a/b.png", "x"), ("c\\d.png", "x")]);
        for named in [composed, decomposed, "Bj\u{f6}rn/e\u{301}.png"] {
            assert_eq!(image(&root, named, None).unwrap(), on_disk);
        }
        let windows = composed.replace('/', "\\");
        assert_eq!(image(&root, &windows, None).unwrap(), on_disk);
        assert_eq!(image(&root, ".\\a\\b.png", None).unwrap(), "a/b.png");
        assert_eq!(image(&root, "c\\d.png", None).unwrap(), "c\\d.png");
        let text = image(&root, "a\\\u{e9}.png", None).unwrap_err().to_string();
        assert!(text.contains("1 file missing"), "{text}");
        let text = image(&root, "..\\a.png", None).unwrap_err().to_string();
        assert!(text.contains("outside"), "{text}");
    }
}

#[test]
fn absolute_paths_are_read_inside_the_folder_or_the_image_root() {
    let root = folder(&[("images/a.png", "x")]);
    let absolute = root.path().join("images/a.png").display().to_string();
    assert_eq!(image(&root, &absolute, None).unwrap(), "images/a.png");
    let elsewhere = folder(&[("ct/b.png", "x"), ("other/c.png", "x")]);
    let ct = elsewhere.path().join("ct").display().to_string();
    let absolute = elsewhere.path().join("ct/b.png").display().to_string();
    let text = image(&root, &absolute, None).unwrap_err().to_string();
    assert!(
        text.contains("`--image-root`") && text.contains("line 2"),
        "{text}"
    );
    for named in [&absolute, "b.png"] {
        assert_eq!(image(&root, named, Some(&ct)).unwrap(), "b.png");
    }
    let other = elsewhere.path().join("other/c.png").display().to_string();
    let text = image(&root, &other, Some(&ct)).unwrap_err().to_string();
    assert!(text.contains("outside") && text.contains(&ct), "{text}");
}
