//! Trained decoders as files: safetensors, and ONNX for everybody else.

use std::path::Path;

use common::files::write_whole;
use nn::{Decoder, EPSILON, Kind, Shape};
use onnx_models::proto::{self, AttributeProto};
use onnx_models::{GraphBuilder, Versions};
use serde::{Deserialize, Serialize};

use super::cases::Cases;
use super::train::{Trained, borrowed, parameters};
use crate::error::{Cause, Error};
use crate::origin::Origin;
use crate::tensors::{self, Tensor};

/// The key of the file's metadata under which [`About`] stands.
const KEY: &str = "slicebank.decoder";

/// Versions of an exported graph: the first with `LayerNormalization`.
const VERSIONS: Versions<'static> = Versions {
    ir: 8,
    opsets: &[("", 17)],
};

/// Most classes of a decoder: logits of a batch are held for all of them.
const MOST_CLASSES: usize = 1024;

/// A trained decoder with all that is needed to apply it.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedDecoder {
    /// What it is for.
    pub about: About,
    /// Under the names, and in the layouts, of PyTorch's `state_dict`.
    pub tensors: Vec<Tensor>,
}

/// What a decoder is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// `linear` or `unet`.
    pub decoder: String,
    /// What it was trained on.
    pub origin: Origin,
    /// Input height and width of the backbone in pixels, `S`.
    pub image_size: usize,
    /// Names of the classes, background first.
    pub classes: Vec<String>,
    /// The value of each class in label maps.
    pub values: Vec<u16>,
    /// Layers whose patch tokens it takes, in the order of its inputs; 1 is the last block.
    pub layers: Vec<u32>,
    /// Whether tokens first go through [`nn::layer_norm`].
    #[serde(default)]
    pub layer_norm: bool,
    /// Width of a token, `D`.
    pub width: usize,
    /// Rows and columns of the patch grid, `h` and `w`.
    pub grid: [usize; 2],
    /// Number of trained parameters.
    pub parameters: usize,
    /// The learning rate at the beginning.
    pub learning_rate: f32,
    /// Epochs that it was trained for.
    pub epochs: usize,
    /// Pooled Dice coefficient on the slices by which learning rate and epochs were chosen.
    pub val_dice: Option<f64>,
    /// Samples per class that it was trained on, if few.
    pub shots: Option<usize>,
}

impl SavedDecoder {
    pub(super) fn of(
        origin: Origin,
        cases: &Cases,
        trained: &Trained,
        shots: Option<usize>,
        layer_norm: bool,
    ) -> SavedDecoder {
        let decoder = &trained.decoder;
        let shape = decoder.shape();
        SavedDecoder {
            about: About {
                decoder: super::name(decoder.kind()).into(),
                origin,
                image_size: shape.size,
                classes: cases.names.clone(),
                values: cases.values.clone(),
                layers: super::layers(decoder.kind()),
                layer_norm,
                width: shape.width,
                grid: [shape.grid.0, shape.grid.1],
                parameters: decoder.parameter_count(),
                learning_rate: trained.learning_rate,
                epochs: trained.epochs,
                val_dice: trained.dice,
                shots,
            },
            tensors: parameters(decoder),
        }
    }

    /// Writes `path` (safetensors, f32) and beside it an ONNX file of the same name.
    ///
    /// The ONNX graph takes `patch_K`, f32 `[B, P, D]`, for each layer `K` (as they stand in a cache),
    /// and gives `logits`, f32 `[B, C, S, S]`.
    ///
    /// # Errors
    ///
    /// [`Error::Output`] if a file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let onnx = path.with_extension("onnx");
        write_whole(&onnx, &self.onnx()).map_err(|error| Error::Output {
            path: onnx,
            source: error.into(),
        })?;
        tensors::write(path, KEY, &self.about, &self.tensors)
    }

    /// Reads what [`write`](SavedDecoder::write) wrote; `None` if the file holds no decoder.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if there is no such file, or it is damaged.
    pub fn read(path: &Path) -> Result<Option<SavedDecoder>, Error> {
        let Some((about, mut tensors)) = tensors::read::<About>(path, KEY)? else {
            return Ok(None);
        };
        let saved = SavedDecoder {
            about,
            tensors: tensors.take_all(""),
        };
        match saved.decoder() {
            Ok(_) => Ok(Some(saved)),
            Err(source) => Err(Error::Input {
                path: path.into(),
                source,
            }),
        }
    }

    /// The decoder itself.
    pub(super) fn decoder(&self) -> Result<Decoder, Cause> {
        let about = &self.about;
        let kind = super::kind(&about.decoder).ok_or_else(|| {
            format!(
                "found the decoder `{}`, expected `linear` or `unet`",
                about.decoder
            )
        })?;
        if about.values.len() != about.classes.len() || !about.values.is_sorted_by(|a, b| a < b) {
            return Err(
                "found values of classes that are not one for each, from low to high".into(),
            );
        }
        if about.layers != super::layers(kind) {
            return Err(format!("found the layers {:?}", about.layers).into());
        }
        cache::check_class_names(&about.classes)?;
        if about.classes.len() > MOST_CLASSES {
            return Err(format!(
                "found {} classes, expected at most {MOST_CLASSES}",
                about.classes.len()
            )
            .into());
        }
        // Less than any decoder of these sizes has: none is made of sizes that only a file claims.
        let least = about.width.saturating_mul(match kind {
            Kind::Linear => about.classes.len(),
            Kind::UNet => about.width,
        });
        let values = self.tensors.iter().map(|tensor| tensor.values.len());
        let found: usize = values.sum();
        if found < least {
            let width = about.width;
            return Err(format!(
                "found {found} parameters, expected at least {least} for tokens of width {width}"
            )
            .into());
        }
        let mut values = self.tensors.iter().flat_map(|tensor| &tensor.values);
        if !values.all(|value| value.is_finite()) {
            return Err("found parameters that are NaN or infinite".into());
        }
        let shape = Shape {
            width: about.width,
            classes: about.classes.len(),
            grid: (about.grid[0], about.grid[1]),
            size: about.image_size,
        };
        let mut decoder = Decoder::new(kind, shape, 0)?;
        decoder.load(self.tensors.iter().map(borrowed))?;
        Ok(decoder)
    }

    /// The decoder as an ONNX file.
    fn onnx(&self) -> Vec<u8> {
        let about = &self.about;
        let mut graph = GraphBuilder::new("decoder", "B");
        for tensor in &self.tensors {
            graph.floats(&tensor.name, &tensor.shape, &tensor.values);
        }
        let [height, width] = about.grid;
        let grid = [0, about.width as i64, height as i64, width as i64];
        graph.integers("grid", &[4], &grid);
        if about.layer_norm {
            graph.floats("norm.weight", &[about.width], &vec![1.0; about.width]);
        }
        for layer in &about.layers {
            let (tokens, across, map) = (
                format!("patch_{layer}"),
                format!("across_{layer}"),
                format!("map_{layer}"),
            );
            graph.input(&tokens, &[height * width, about.width]);
            let normed = if about.layer_norm {
                layer_norm(&mut graph, &tokens)
            } else {
                tokens
            };
            graph.node(
                "Transpose",
                &[&normed],
                &across,
                [AttributeProto::ints("perm", &[0, 2, 1])],
            );
            graph.node("Reshape", &[&across, "grid"], &map, []);
        }
        let classes = about.classes.len();
        let (output, mode) = match about.layers[..] {
            [layer] => {
                graph.node(
                    "Conv",
                    &[&format!("map_{layer}"), "weight", "bias"],
                    "low",
                    [],
                );
                ("low".to_owned(), "linear")
            }
            _ => (self.unet(&mut graph), "cubic"),
        };
        let side = about.image_size;
        resize(
            &mut graph,
            &output,
            "logits",
            mode,
            "half_pixel",
            [classes, side, side],
        );
        graph.output("logits", proto::FLOAT, &[classes, side, side]);
        let metadata = serde_json::to_string(about).unwrap_or_default();
        graph.into_bytes(VERSIONS, &[(KEY, metadata)])
    }

    /// The U-Net's blocks; returns the name of what comes out.
    fn unet(&self, graph: &mut GraphBuilder) -> String {
        let [last, skips @ ..] = [4, 3, 2, 1, 0].map(|at| self.about.layers[at]);
        let mut below = format!("map_{last}");
        let mut grid = self.about.grid;
        for (block, skip) in (1..).zip(skips) {
            let of = |rest: &str| format!("up{block}.{rest}");
            grid = grid.map(|length| 2 * length);
            let up = of("raised");
            graph.node(
                "ConvTranspose",
                &[&below, &of("up.weight"), &of("up.bias")],
                &up,
                [AttributeProto::ints("strides", &[2, 2])],
            );
            let channels = self.outputs(&of("up.bias"));
            let narrow = convolved(graph, &format!("map_{skip}"), &of("skip"));
            let wide = of("skip.wide");
            let shape = [channels, grid[0], grid[1]];
            resize(graph, &narrow, &wide, "linear", "align_corners", shape);
            let joined = of("joined");
            graph.node(
                "Concat",
                &[&up, &wide],
                &joined,
                [AttributeProto::int("axis", 1)],
            );
            below = convolved(graph, &joined, &of("merge"));
        }
        below
    }

    fn outputs(&self, name: &str) -> usize {
        let tensor = self.tensors.iter().find(|tensor| tensor.name == name);
        tensor.map_or(0, |tensor| tensor.values.len())
    }
}

/// [`nn::layer_norm`]; returns the name of what comes out.
fn layer_norm(graph: &mut GraphBuilder, tokens: &str) -> String {
    let output = format!("{tokens}.normed");
    graph.node(
        "LayerNormalization",
        &[tokens, "norm.weight"],
        &output,
        [AttributeProto::float("epsilon", EPSILON)],
    );
    output
}

/// A 3 by 3 convolution, batch normalisation and ReLU; returns the name of what comes out.
fn convolved(graph: &mut GraphBuilder, input: &str, layer: &str) -> String {
    let of = |rest: &str| format!("{layer}.{rest}");
    let (convolved, normalised, output) = (of("convolved"), of("normalised"), of("output"));
    graph.node(
        "Conv",
        &[input, &of("0.weight"), &of("0.bias")],
        &convolved,
        [AttributeProto::ints("pads", &[1, 1, 1, 1])],
    );
    let [weight, bias, mean, variance] =
        ["1.weight", "1.bias", "1.running_mean", "1.running_var"].map(of);
    graph.node(
        "BatchNormalization",
        &[&convolved, &weight, &bias, &mean, &variance],
        &normalised,
        [AttributeProto::float("epsilon", 1e-5)],
    );
    graph.node("Relu", &[&normalised], &output, []);
    output
}

/// Resizes to `[C, H, W]` as PyTorch does.
fn resize(
    graph: &mut GraphBuilder,
    input: &str,
    output: &str,
    mode: &str,
    coordinates: &str,
    [channels, height, width]: [usize; 3],
) {
    let (batch, rest, size) = (
        format!("{output}.batch"),
        format!("{output}.rest"),
        format!("{output}.size"),
    );
    graph.node(
        "Shape",
        &[input],
        &batch,
        [
            AttributeProto::int("start", 0),
            AttributeProto::int("end", 1),
        ],
    );
    graph.integers(&rest, &[3], &[channels, height, width].map(|n| n as i64));
    graph.node(
        "Concat",
        &[&batch, &rest],
        &size,
        [AttributeProto::int("axis", 0)],
    );
    graph.node(
        "Resize",
        &[input, "", "", &size],
        output,
        [
            AttributeProto::text("mode", mode),
            AttributeProto::text("coordinate_transformation_mode", coordinates),
            AttributeProto::float("cubic_coeff_a", -0.75),
        ],
    );
}
