//! Files that are changed at random, for the targets of `cargo fuzz` as tests.

use std::path::Path;
use std::{env, fs, io};

/// Changed files of each target, unless `SLICEBANK_MUTATIONS` gives another number.
const CHANGED: usize = 60;

/// Runs targets over their whole files, by name, over many changed ones, and over the files in `corpus/TARGET`. If
/// `SLICEBANK_WRITE_SEEDS` is set, the whole files are written to `corpus/TARGET/whole`.
///
/// # Errors
///
/// If the corpus cannot be read or written.
pub fn run_changed(
    seeds: &[(&str, Vec<u8>)],
    corpus: &Path,
    run: impl Fn(&str, &[u8]),
) -> io::Result<()> {
    for (target, whole) in seeds {
        let folder = corpus.join(target);
        if env::var_os("SLICEBANK_WRITE_SEEDS").is_some() {
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("whole"), whole)?;
        }
        for entry in fs::read_dir(&folder)? {
            run(target, &fs::read(entry?.path())?);
        }
    }
    let asked = env::var("SLICEBANK_MUTATIONS").ok();
    let count = asked.and_then(|text| text.parse().ok()).unwrap_or(CHANGED);
    let mut state = 7;
    for (target, whole) in seeds {
        run(target, whole);
        for _ in 0..count {
            run(target, &changed(whole, &mut state));
        }
    }
    Ok(())
}

/// A number below `end`; the next one for the next `state`.
fn below(state: &mut u64, end: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % end.max(1)
}

/// The bytes after some changes: cut, cut out, doubled, filled, a bit turned.
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
