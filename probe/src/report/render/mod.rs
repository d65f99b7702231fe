//! Tables in several formats.

pub(super) mod csv;
pub(super) mod html;
pub(super) mod latex;
pub(super) mod markdown;
