//! Tables in several formats.

mod columns;
pub(super) mod csv;
pub(super) mod html;
pub(super) mod latex;
pub(super) mod markdown;
