//! Tensors in files as `torch.save` writes them: an archive with a pickle and the numbers.

use std::io::{self, Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A file with a list of one vector in single precision, as eva saves it.
pub(super) fn list_of_vector(numbers: &[f32]) -> io::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        // PyTorch maps numbers into memory at multiples of 64 bytes.
        .with_alignment(64);
    let bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let files = [
        ("data.pkl", pickle(numbers.len() as u32)),
        ("byteorder", b"little".to_vec()),
        ("data/0", bytes),
        ("version", b"3\n".to_vec()),
    ];
    for (name, content) in files {
        archive.start_file(format!("archive/{name}"), options)?;
        archive.write_all(&content)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// The pickle of `[tensor]`, protocol 2: `torch._utils._rebuild_tensor_v2` of storage `0` with `width` numbers.
fn pickle(width: u32) -> Vec<u8> {
    let width = [b"J", &width.to_le_bytes()[..]].concat();
    let text = |text: &str| {
        [
            b"X",
            &(text.len() as u32).to_le_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    };
    [
        // PROTO 2, EMPTY_LIST, the function, MARK of its arguments
        b"\x80\x02]ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(),
        // MARK of the storage's persistent id
        b"(".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        width.clone(),
        // TUPLE, BINPERSID, offset 0
        b"tQK\x00".to_vec(),
        // shape (width,), stride (1,)
        width,
        b"\x85K\x01\x85".to_vec(),
        // requires_grad False, backward hooks OrderedDict()
        b"\x89ccollections\nOrderedDict\n)R".to_vec(),
        // TUPLE, REDUCE, APPEND, STOP
        b"tRa.".to_vec(),
    ]
    .concat()
}
