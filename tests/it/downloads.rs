//! Downloads of weights from a hub.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use common::sha256_file;

use crate::hub::{Hub, Manners};
use crate::lab::{Lab, Run};
use crate::models::{HUB_SOURCE, export, home, weights};

#[test]
fn a_download_that_breaks_off_goes_on_and_becomes_a_graph() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    let hub = Hub::serve(fs::read(weights()).unwrap(), Manners::BreaksOffOnce);
    Run::of(export(&home).env("HF_ENDPOINT", hub.address())).expect(0);
    let asked = hub.asked();
    assert!(asked[0].starts_with("HEAD /someone/tiny/resolve/main/model.safetensors"));
    assert!(asked.last().unwrap().contains("bytes="), "{asked:?}");
    let folder = home.join("onnx_models");
    let [found, expected] = [folder.join("tiny-vit.safetensors"), weights()];
    assert_eq!(
        sha256_file(&found).unwrap(),
        sha256_file(&expected).unwrap()
    );
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|f| f.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["tiny-vit.safetensors", "tiny-vit.toml", "tiny-vit@56.onnx"]
    );
}

#[test]
fn a_download_with_another_hash_than_the_hub_s_is_refused_and_deleted() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    let hub = Hub::serve(fs::read(weights()).unwrap(), Manners::WrongHash);
    Run::of(export(&home).env("HF_ENDPOINT", hub.address()))
        .expect_error(2, &["sha256", "--weights"]);
    assert_eq!(fs::read_dir(home.join("onnx_models")).unwrap().count(), 1);
}

#[test]
fn gated_weights_and_a_hub_out_of_reach_are_errors_that_say_what_to_do() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    let hub = Hub::serve(Vec::new(), Manners::Gated);
    Run::of(export(&home).env("HF_ENDPOINT", hub.address()))
        .expect_error(2, &["401", "HF_TOKEN", "--weights"]);
    Run::of(export(&home).env("HF_HUB_OFFLINE", "1"))
        .expect_error(2, &["HF_HUB_OFFLINE", "--weights"]);
}

const PART: &str = "home/onnx_models/someone--tiny--model.safetensors.part";

#[test]
fn a_download_that_was_stopped_goes_on_in_the_next_run() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    let content = fs::read(weights()).unwrap();
    let part = lab.write(PART, &content[..100_000]);
    let hub = Hub::serve(content, Manners::BreaksOffOnce);
    let lock = File::open(&part).unwrap();
    lock.lock().unwrap();
    Run::of(export(&home).env("HF_ENDPOINT", hub.address()))
        .expect_error(2, &["another process", ".part"]);
    drop(lock);
    Run::of(export(&home).env("HF_ENDPOINT", hub.address())).expect(0);
    let asked = hub.asked();
    let first = asked.iter().find(|line| line.starts_with("GET")).unwrap();
    assert!(first.contains("bytes=100000-"), "{asked:?}");
    let found = home.join("onnx_models/tiny-vit.safetensors");
    assert_eq!(
        sha256_file(&found).unwrap(),
        sha256_file(&weights()).unwrap()
    );
    assert!(!part.exists());
}

#[test]
fn links_in_the_hub_s_own_cache_are_followed() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    let folder = "hub/models--someone--tiny";
    lab.write(&format!("{folder}/refs/main"), "abc");
    lab.write(
        &format!("{folder}/blobs/0123"),
        fs::read(weights()).unwrap(),
    );
    let link = lab.path(&format!("{folder}/snapshots/abc/model.safetensors"));
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink("../../blobs/0123", link).unwrap();
    Run::of(
        export(&home)
            .env("HF_HUB_CACHE", lab.path("hub"))
            .env("HF_HUB_OFFLINE", "1"),
    )
    .expect(0);
}
