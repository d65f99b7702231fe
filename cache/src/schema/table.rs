//! Tables and their columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::encoding::Encoding;
use crate::{CacheMeta, PatchDtype, Task};

/// Tables of a cache; each has a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    Slices,
    Cls,
    Mean,
    Patch,
    Residual,
    Mask,
    Picture,
}

impl Table {
    pub(crate) const ALL: [Table; 7] = [
        Table::Slices,
        Table::Cls,
        Table::Mean,
        Table::Patch,
        Table::Residual,
        Table::Mask,
        Table::Picture,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Slices => "slices",
            Table::Cls => "cls",
            Table::Mean => "mean",
            Table::Patch => "patch",
            Table::Residual => "residual",
            Table::Mask => "mask",
            Table::Picture => "picture",
        }
    }

    /// The tables that a cache with this description has.
    pub(crate) fn of(meta: &CacheMeta) -> Vec<Table> {
        let mut tables = vec![Table::Slices, Table::Cls, Table::Mean];
        tables.extend(meta.tokens.table());
        if meta.has_masks {
            tables.push(Table::Mask);
        }
        if meta.has_pictures {
            tables.push(Table::Picture);
        }
        tables
    }

    /// Whether it holds tokens of single positions, nearly all of a cache.
    pub(crate) fn is_of_positions(self) -> bool {
        matches!(self, Table::Patch | Table::Residual)
    }

    /// Values of a row in the tensor column of a layer; `None` for tables without tensors.
    pub(crate) fn tensor_values(self, meta: &CacheMeta, layer: u32) -> Option<usize> {
        let shape = meta.shape(layer);
        match self {
            Table::Cls => Some(shape.cls as usize),
            Table::Mean => Some(shape.patch as usize),
            Table::Patch => Some(shape.patch as usize * shape.patches()),
            Table::Residual => Some(shape.patch as usize * meta.positions(layer)),
            Table::Slices | Table::Mask | Table::Picture => None,
        }
    }

    /// Encoding of the tensor column of a layer.
    pub(crate) fn encoding(self, meta: &CacheMeta, layer: u32) -> Encoding {
        if self.is_of_positions() && meta.patch_dtype == PatchDtype::Int8 {
            let width = meta.shape(layer).patch as usize;
            Encoding::Int8 { width }
        } else {
            Encoding::F16
        }
    }

    /// Bytes of a row in the tensor column of a layer; `None` for tables without tensors.
    pub(crate) fn tensor_bytes(self, meta: &CacheMeta, layer: u32) -> Option<usize> {
        let values = self.tensor_values(meta, layer)?;
        Some(self.encoding(meta, layer).bytes(values))
    }

    pub(crate) fn schema(self, meta: &CacheMeta) -> SchemaRef {
        let mut fields = vec![Field::new("row", DataType::UInt64, false)];
        match self {
            Table::Slices => fields.extend(slice_fields(meta)),
            Table::Mask => fields.push(Field::new("mask", DataType::Binary, true)),
            Table::Picture => {
                let kind = DataType::FixedSizeBinary(fixed_size(picture_bytes(meta)));
                fields.push(Field::new("picture", kind, false));
            }
            Table::Cls | Table::Mean | Table::Patch | Table::Residual => {
                let layers = (1..=meta.layers).rev();
                fields.extend(layers.map(|layer| self.tensor_field(layer, meta)));
            }
        }
        Arc::new(Schema::new(fields))
    }

    fn tensor_field(self, layer: u32, meta: &CacheMeta) -> Field {
        let bytes = self.tensor_bytes(meta, layer).unwrap_or_default();
        let kind = DataType::FixedSizeBinary(fixed_size(bytes));
        Field::new(self.column(layer), kind, false)
    }

    /// The name of a tensor's column; layer 1 is the last block.
    pub(crate) fn column(self, layer: u32) -> String {
        format!("{}_{layer}", self.name())
    }
}

/// Bytes of a picture.
pub(crate) fn picture_bytes(meta: &CacheMeta) -> usize {
    (meta.image_size as usize).saturating_pow(2)
}

pub(super) fn fixed_size(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

pub(super) fn affine_item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Float64, false))
}

fn slice_fields(meta: &CacheMeta) -> Vec<Field> {
    let mut fields = vec![
        Field::new("sample", DataType::Utf8, false),
        Field::new("image", DataType::Utf8, false),
        Field::new("patient", DataType::Utf8, true),
        Field::new("slice", DataType::UInt32, false),
        Field::new("view", DataType::UInt16, false),
        Field::new("split", DataType::Utf8, true),
        Field::new("height", DataType::UInt32, false),
        Field::new("width", DataType::UInt32, false),
        Field::new("spacing_slice_mm", DataType::Float32, true),
        Field::new("spacing_row_mm", DataType::Float32, true),
        Field::new("spacing_column_mm", DataType::Float32, true),
    ];
    if meta.has_placement {
        let affine = DataType::List(affine_item());
        fields.push(Field::new("affine", affine, true));
        fields.push(Field::new("stored_axes", DataType::Utf8, true));
    }
    match meta.task {
        Task::Unlabelled => {}
        Task::SingleLabel => fields.push(Field::new("label", DataType::Int32, true)),
        Task::MultiLabel => fields.extend(
            meta.classes
                .iter()
                .map(|class| Field::new(label_column(class), DataType::Int8, true)),
        ),
    }
    fields
}

fn label_column(class: &str) -> String {
    format!("label_{class}")
}
