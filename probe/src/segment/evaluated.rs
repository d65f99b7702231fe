//! Results of decoders.

use image::RgbImage;

use super::volume::Volume;
use super::volume_table::VolumeTable;
use crate::record::RunRecord;

/// The evaluation of a decoder.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The run record.
    pub record: RunRecord,
    /// The measures of each volume.
    pub volumes: Vec<Volume>,
    /// Names of the classes, background first.
    pub names: Vec<String>,
    /// Names and pictures of a slice of the best, the median and the worst volume, with true and
    /// predicted classes.
    pub pictures: Vec<(String, RgbImage)>,
}

impl Evaluated {
    /// The measures of each volume as a table.
    pub fn table(&self) -> VolumeTable {
        VolumeTable::of(&self.volumes, &self.names)
    }
}
