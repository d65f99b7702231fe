//! Model and preprocessing of tokens.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CacheMeta, ModelMeta};

/// Model and preprocessing of the tokens of a plain slice. A head or decoder fits tokens of one recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRecipe {
    /// The backbone.
    pub model: ModelMeta,
    /// Input height and width of the backbone in pixels.
    pub image_size: u32,
    /// The precision of the computation.
    pub precision: String,
    /// Preprocessing from voxels to the backbone's input, without augmented views, which are rows of their
    /// own.
    pub preprocess: Value,
}

/// A field with two values.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Name, with those of the enclosing objects: `preprocess.intensity`.
    pub field: String,
    /// First value, `null` if absent.
    pub found: Value,
    /// Second value, `null` if absent.
    pub expected: Value,
}

impl CacheMeta {
    /// Settings that the tokens of plain slices depend on.
    pub fn token_recipe(&self) -> TokenRecipe {
        let mut preprocess = self.preprocess.clone();
        if let Value::Object(preprocess) = &mut preprocess {
            preprocess.remove("views");
        }
        TokenRecipe {
            // The hash of the graph tells it.
            model: ModelMeta {
                final_norm: None,
                weights_sha256: None,
                ..self.model.clone()
            },
            image_size: self.image_size,
            precision: self.precision.clone(),
            preprocess,
        }
    }
}

impl CacheMeta {
    /// The fields in which two caches differ, but those that tell how far an extraction has come; of
    /// each, the value of `self` first.
    pub fn differences(&self, other: &CacheMeta) -> Vec<Difference> {
        let [found, expected] = [self, other].map(|meta| {
            let mut value = serde_json::to_value(meta).unwrap_or_default();
            if let Value::Object(fields) = &mut value {
                fields.retain(|key, _| {
                    !["shards", "complete", "parity", "added", "has_provenance"]
                        .contains(&key.as_str())
                });
            }
            value
        });
        differences("", &found, &expected)
    }
}

impl TokenRecipe {
    /// Fields that differ from `expected`.
    pub fn differences(&self, expected: &TokenRecipe) -> Vec<Difference> {
        let value = |recipe| serde_json::to_value(recipe).unwrap_or_default();
        differences("", &value(self), &value(expected))
    }
}

/// Fields in which two values differ, descending into objects.
pub(crate) fn differences(field: &str, found: &Value, expected: &Value) -> Vec<Difference> {
    if found == expected {
        return Vec::new();
    }
    let (Value::Object(left), Value::Object(right)) = (found, expected) else {
        return vec![Difference {
            field: field.to_owned(),
            found: found.clone(),
            expected: expected.clone(),
        }];
    };
    let more = right.keys().filter(|key| !left.contains_key(*key));
    let keys = left.keys().chain(more);
    let below = keys.flat_map(|key| {
        let field = if field.is_empty() {
            key.clone()
        } else {
            format!("{field}.{key}")
        };
        let [found, expected] = [left, right].map(|of| of.get(key).unwrap_or(&Value::Null));
        differences(&field, found, expected)
    });
    below.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_fields_and_views_are_none() {
        let recipe = |sha256: &str, preprocess| TokenRecipe {
            model: ModelMeta {
                name: "m".into(),
                sha256: sha256.into(),
                final_norm: None,
                weights_sha256: None,
            },
            image_size: 224,
            precision: "fp32".into(),
            preprocess,
        };
        let first = recipe(
            "a",
            json!({"intensity": "minmax", "mean": [0.5], "views": {"count": 2}}),
        );
        let second = recipe(
            "b",
            json!({"intensity": "voi", "mean": [0.5], "slicing": "axial"}),
        );
        let found = first.differences(&second);
        let fields: Vec<&str> = found.iter().map(|d| d.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "model.sha256",
                "preprocess.intensity",
                "preprocess.views",
                "preprocess.slicing"
            ]
        );
        assert_eq!(
            (&found[1].found, &found[1].expected),
            (&json!("minmax"), &json!("voi"))
        );
        assert_eq!(found[3].found, Value::Null);
        assert_eq!(first.differences(&first), []);
    }
}
