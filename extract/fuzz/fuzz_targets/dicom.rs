#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(init: targets::contain_panics(), |bytes: &[u8]| {
    targets::run("dicom", bytes);
});
