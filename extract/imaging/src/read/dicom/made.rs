//! DICOM files for tests, written by dicom-object.

use std::path::Path;

use dicom_core::value::{DataSetSequence, PixelFragmentSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

/// A file to be.
#[derive(Clone)]
pub(crate) struct Made {
    object: InMemDicomObject,
    syntax: &'static str,
}

impl Made {
    /// A slice of 16-bit CT, `[rows, columns]` of which `pixels` has as many.
    pub(crate) fn slice([rows, columns]: [u16; 2], pixels: &[u16]) -> Made {
        let made = Made {
            object: InMemDicomObject::new_empty(),
            syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN,
        };
        made.with_text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE)
            .with_text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4")
            .with_text(tags::MODALITY, VR::CS, "CT")
            .with_text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
            .with_short(tags::SAMPLES_PER_PIXEL, 1)
            .with_short(tags::ROWS, rows)
            .with_short(tags::COLUMNS, columns)
            .with_short(tags::BITS_ALLOCATED, 16)
            .with_short(tags::BITS_STORED, 16)
            .with_short(tags::HIGH_BIT, 15)
            .with_short(tags::PIXEL_REPRESENTATION, 0)
            .with(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into()))
    }

    /// A slice at `z` mm of an axial series.
    pub(crate) fn axial(series: &str, z: f64) -> Made {
        Made::slice([2, 3], &[0, 1, 2, 3, 4, z.abs() as u16 + 5])
            .with_text(tags::SERIES_INSTANCE_UID, VR::UI, series)
            .with_text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("0\\0\\{z}"))
            .with_text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0")
            .with_text(tags::PIXEL_SPACING, VR::DS, "0.5\\0.25")
    }

    pub(crate) fn with_text(self, tag: Tag, vr: VR, text: &str) -> Made {
        self.with(tag, vr, PrimitiveValue::from(text))
    }

    pub(crate) fn with_short(self, tag: Tag, number: u16) -> Made {
        self.with(tag, VR::US, PrimitiveValue::from(number))
    }

    pub(crate) fn with(mut self, tag: Tag, vr: VR, value: PrimitiveValue) -> Made {
        self.object.put(DataElement::new(tag, vr, value));
        self
    }

    pub(crate) fn with_items(mut self, tag: Tag, items: Vec<InMemDicomObject>) -> Made {
        let items = DataSetSequence::from(items);
        self.object.put(DataElement::new(tag, VR::SQ, items));
        self
    }

    pub(crate) fn with_fragments(mut self, syntax: &'static str, fragments: &[&[u8]]) -> Made {
        let fragments: Vec<Vec<u8>> = fragments.iter().map(|bytes| bytes.to_vec()).collect();
        let value = Value::PixelSequence(PixelFragmentSequence::new_fragments(fragments));
        self.object
            .put(DataElement::new(tags::PIXEL_DATA, VR::OB, value));
        self.syntax = syntax;
        self
    }

    pub(crate) fn with_syntax(mut self, syntax: &'static str) -> Made {
        self.syntax = syntax;
        self
    }

    pub(crate) fn without(mut self, tag: Tag) -> Made {
        self.object.remove_element(tag);
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(self.syntax)
            .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE);
        let mut bytes = Vec::new();
        let object = self.object.with_meta(meta).unwrap();
        object.write_all(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn save(self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, self.bytes()).unwrap();
    }
}
