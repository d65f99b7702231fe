//! The fuzz targets over files that are changed at random: values or errors, and no panic.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Changed files of each target, unless `SLICEBANK_MUTATIONS` gives another number.
const CHANGED: usize = 60;

/// A number below `end`.
fn below(state: &mut u64, end: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % end.max(1)
}

/// The bytes after some changes: of bytes, of numbers, of runs that are cut out or doubled.
fn changed(whole: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=below(state, 4) {
        let at = below(state, bytes.len());
        let end = (at + 1 + below(state, 64)).min(bytes.len());
        match below(state, 5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => bytes[at..end].fill([0, 0x7f, 0xff][below(state, 3)]),
            _ if at < bytes.len() => bytes[at] ^= 1 << below(state, 8),
            _ => {}
        }
    }
    bytes
}

#[test]
fn changed_files_give_values_or_errors() {
    let asked = std::env::var("SLICEBANK_MUTATIONS").ok();
    let count = asked.and_then(|text| text.parse().ok()).unwrap_or(CHANGED);
    let mut state = 7;
    for (target, whole) in targets::seeds() {
        targets::run(target, &whole);
        for _ in 0..count {
            targets::run(target, &changed(&whole, &mut state));
        }
    }
}

/// Writes a seed of each target, if a folder is given, for `cargo fuzz`.
#[test]
fn seeds_are_written_on_request() {
    let Some(folder) = std::env::var_os("SLICEBANK_WRITE_SEEDS") else {
        return;
    };
    for (target, whole) in targets::seeds() {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("whole"), whole).unwrap();
    }
}
