//! The pages of `docs/`.

use crate::lab::{Run, program, python};

#[test]
fn the_command_reference_is_current_and_links_resolve() {
    let extract = program("extract");
    let programs = std::path::Path::new(extract.get_program())
        .parent()
        .unwrap();
    let check = Run::of(python("dev/docs.py").arg("--check").arg(programs));
    check.expect(0);
}
