//! The fuzz targets over files that are changed at random: values or errors, and no panic.

#[path = "../../fuzz/targets.rs"]
mod targets;

#[test]
fn changed_files_give_values_or_errors() {
    tests::run_changed(&targets::seeds(), |target, bytes| {
        targets::run(target, bytes);
    })
    .unwrap();
}
