"""What independent programs read in the fixtures: none of this project's Rust code takes part."""
