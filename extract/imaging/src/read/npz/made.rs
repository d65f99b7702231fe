//! Archives of NumPy arrays for tests.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// An array as NumPy saves it.
pub(crate) fn npy(shape: &[usize], values: &[u8]) -> Vec<u8> {
    let shape: Vec<String> = shape.iter().map(|side| format!("{side},")).collect();
    let shape = shape.join(" ");
    array_file(
        &format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}"),
        values,
    )
}

/// A `.npy` file of version 1 with this header.
pub(crate) fn array_file(header: &str, values: &[u8]) -> Vec<u8> {
    let size = u16::try_from(header.len() + 1).unwrap().to_le_bytes();
    [
        b"\x93NUMPY\x01\0",
        &size[..],
        header.as_bytes(),
        b"\n",
        values,
    ]
    .concat()
}

/// An archive of such files.
pub(crate) fn archive_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file(format!("{name}.npy"), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
