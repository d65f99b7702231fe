//! Attributes of one frame.

use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::data_set::DataSet;
use super::layout::{Layout, Photometric};
use super::placement::Placement;
use super::table;
use crate::Error;
use crate::orient::{Geometry, is_usable};
use crate::preprocess::Bounds;
use crate::read::shown::Shown;
use crate::read::volume::{Block, Volume};
use crate::read::voxels::Voxels;

/// Warning for files with a slope that makes all values equal.
const NO_SLOPE: &str = "files with a RescaleSlope of 0, of which the stored values were taken, without \
                        slope and intercept";

/// Attributes that apply to one frame: those of the file, and in "enhanced" files those shared by all
/// frames and the frame's own.
pub(super) struct Frame<'a> {
    index: usize,
    main: &'a DataSet<'a>,
    own: Option<&'a DataSet<'a>>,
    shared: Option<&'a DataSet<'a>>,
}

impl<'a> Frame<'a> {
    /// Frame `index` of a file.
    pub(super) fn of(main: &'a DataSet<'a>, index: usize) -> Frame<'a> {
        let own = main.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
        let shared = main.items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
        Frame {
            index,
            main,
            own: own.get(index),
            shared: shared.first(),
        }
    }

    /// Position of the frame, if it or the file gives it.
    pub(super) fn placement(&self) -> Option<Placement> {
        let position = self.holder(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT);
        let orientation = self.holder(
            tags::PLANE_ORIENTATION_SEQUENCE,
            tags::IMAGE_ORIENTATION_PATIENT,
        );
        Placement::new(
            position.decimals_of(tags::IMAGE_POSITION_PATIENT)?,
            orientation.decimals_of(tags::IMAGE_ORIENTATION_PATIENT)?,
        )
    }

    /// Position of the frame among `count` frames. If they share one position, they follow each other at
    /// SpacingBetweenSlices.
    pub(super) fn placement_among(&self, count: usize) -> Option<Placement> {
        let placement = self.placement()?;
        let is_own = self
            .own
            .is_some_and(|own| !own.items(tags::PLANE_POSITION_SEQUENCE).is_empty());
        if is_own || count == 1 {
            return Some(placement);
        }
        let step = self.positive(tags::SPACING_BETWEEN_SLICES)?;
        Some(placement.moved(step * self.index as f64))
    }

    /// The frame as a volume of one slice.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged) if slope or intercept is no number.
    pub(super) fn slice(
        &self,
        path: &Path,
        layout: &Layout,
        voxels: Voxels,
        placement: Option<Placement>,
    ) -> Result<Volume, Error> {
        let is_grey = layout.samples == 1 && layout.photometric != Photometric::Palette;
        let mut block = Block {
            path: path.to_path_buf(),
            voxels,
            scale: None,
            shown: None,
        };
        if is_grey {
            self.measure(layout, &mut block)?;
        }
        let mut volume = Volume::of_block(block, Geometry::Unknown);
        if is_grey && self.has_no_slope() {
            volume.odd.push(NO_SLOPE);
        }
        Ok(self.located(volume, placement))
    }

    /// Applies the Modality LUT to a block of stored values, or sets its slope and intercept, and sets its
    /// window or VOI LUT.
    fn measure(&self, layout: &Layout, block: &mut Block) -> Result<(), Error> {
        let is_inverted = layout.photometric == Photometric::Monochrome1;
        // Sum of a value and its inverse.
        let mut sum = layout.inverse_sum();
        let mut signed = layout.signed;
        let modality_lut = (tags::MODALITY_LUT_SEQUENCE, "Modality LUT");
        match table::in_sequence(&block.path, self.main, modality_lut, layout.signed)? {
            Some(mut table) => {
                if is_inverted {
                    table = table.inverted(sum);
                }
                sum = table.greatest().into();
                block.voxels = table.applied(&block.voxels);
            }
            None => {
                block.scale = self.scale(&block.path)?;
                let (slope, intercept) = block.scale.unwrap_or((1.0, 0.0));
                sum = slope * sum + 2.0 * intercept;
                signed |= intercept < 0.0;
            }
        }
        let shown = self.shown(&block.path, signed)?;
        block.shown = shown.map(|shown| {
            if is_inverted {
                shown.inverted(sum)
            } else {
                shown
            }
        });
        Ok(())
    }

    /// The volume with its spacing and geometry.
    fn located(&self, volume: Volume, placement: Option<Placement>) -> Volume {
        let step = self
            .positive(tags::SPACING_BETWEEN_SLICES)
            .or_else(|| self.positive(tags::SLICE_THICKNESS))
            .unwrap_or(1.0);
        let spacing = self.spacing();
        let [row, column] = spacing.unwrap_or([1.0; 2]);
        let affine = placement.map(|placement| placement.affine([step, row, column]));
        let geometry = match affine.filter(is_usable) {
            Some(affine) => Geometry::Known(affine),
            None => Geometry::Unknown,
        };
        Volume {
            spacing_mm: spacing.map(|[row, column]| [step, row, column].map(|mm| mm as f32)),
            geometry,
            ..volume
        }
    }

    /// Whether RescaleSlope is 0, which would make all values equal.
    fn has_no_slope(&self) -> bool {
        let holder = self.holder(
            tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
            tags::RESCALE_SLOPE,
        );
        let slope = holder.decimals(tags::RESCALE_SLOPE);
        slope.is_some_and(|slope| slope.first() == Some(&0.0))
    }

    /// Slope and intercept, unless they change nothing; a slope of 0 is ignored.
    fn scale(&self, path: &Path) -> Result<Option<(f64, f64)>, Error> {
        let number = |tag, name: &str, default| {
            let holder = self.holder(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, tag);
            let Some(text) = holder.text(tag) else {
                return Ok(default);
            };
            let numbers = holder.decimals(tag).unwrap_or_default();
            let wrong = || Error::damaged(path, format!("{name} is `{text}`, expected a number"));
            numbers.first().copied().ok_or_else(wrong)
        };
        let slope = number(tags::RESCALE_SLOPE, "RescaleSlope", 1.0)?;
        let intercept = number(tags::RESCALE_INTERCEPT, "RescaleIntercept", 0.0)?;
        let changes = slope != 0.0 && (slope, intercept) != (1.0, 0.0);
        Ok(changes.then_some((slope, intercept)))
    }

    /// The first window if it is valid, else the first table; `signed` if values may be below 0.
    fn shown(&self, path: &Path, signed: bool) -> Result<Option<Shown>, Error> {
        let window = self.window();
        if window.is_some() {
            return Ok(window);
        }
        let holder = self.holder(tags::FRAME_VOILUT_SEQUENCE, tags::VOILUT_SEQUENCE);
        let voi_lut = (tags::VOILUT_SEQUENCE, "VOI LUT");
        let table = table::in_sequence(path, holder, voi_lut, signed)?;
        Ok(table.map(Shown::Table))
    }

    /// The first window: PS3.3 C.11.2.1.2 and C.11.2.1.3.
    fn window(&self) -> Option<Shown> {
        let holder = self.holder(tags::FRAME_VOILUT_SEQUENCE, tags::WINDOW_CENTER);
        let first = |tag| holder.decimals(tag)?.first().copied();
        let (center, width) = (first(tags::WINDOW_CENTER)?, first(tags::WINDOW_WIDTH)?);
        let function = holder.text(tags::VOILUT_FUNCTION);
        let (middle, half) = match function.as_deref() {
            Some("SIGMOID") => {
                let (center, width) = (center as f32, width as f32);
                let makes_sense = width > 0.0 && width.is_finite() && center.is_finite();
                return makes_sense.then_some(Shown::Sigmoid { center, width });
            }
            Some("LINEAR_EXACT") => (center, width / 2.0),
            _ if width == 1.0 && center.is_finite() => {
                return Some(Shown::Step((center - 0.5) as f32));
            }
            _ => (center - 0.5, (width - 1.0) / 2.0),
        };
        let (low, high) = (middle - half, middle + half);
        let makes_sense = low < high && high - low < f64::from(f32::MAX);
        makes_sense.then_some(Shown::Linear(Bounds {
            low: low as f32,
            high: high as f32,
        }))
    }

    /// Distance between rows and between columns in the patient, or else at the detector of a radiograph.
    pub(super) fn spacing(&self) -> Option<[f64; 2]> {
        let holder = self.holder(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING);
        holder
            .decimals_of::<2>(tags::PIXEL_SPACING)
            .or_else(|| self.main.decimals_of(tags::IMAGER_PIXEL_SPACING))
            .filter(|spacing| spacing.iter().all(|mm| *mm > 0.0))
    }

    fn positive(&self, tag: Tag) -> Option<f64> {
        let numbers = self
            .holder(tags::PIXEL_MEASURES_SEQUENCE, tag)
            .decimals(tag)?;
        numbers.first().copied().filter(|number| *number > 0.0)
    }

    /// Attributes that hold `tag`: the frame's own or the shared ones, where it is in `sequence`, or else
    /// those of the file.
    fn holder(&self, sequence: Tag, tag: Tag) -> &'a DataSet<'a> {
        let groups = [self.own, self.shared].into_iter().flatten();
        let mut items = groups.filter_map(|group| group.items(sequence).first());
        items.find(|item| item.has(tag)).unwrap_or(self.main)
    }
}
