//! Studies that the program contains.

/// A study that the program contains.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its TOML file.
    pub text: &'static str,
}

/// All built-in studies.
pub const BUILT_IN: [BuiltIn; 2] = [
    BuiltIn {
        name: "small",
        text: include_str!("../../studies/small.toml"),
    },
    BuiltIn {
        name: "paper",
        text: include_str!("../../studies/paper.toml"),
    },
];

impl BuiltIn {
    /// The study of a name.
    pub fn find(name: &str) -> Option<BuiltIn> {
        BUILT_IN.into_iter().find(|study| study.name == name)
    }
}
