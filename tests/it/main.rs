//! The two programs as a user types them, over real ONNX Runtime and real files.

mod bad_input;
mod beside;
mod buckets;
mod caches;
mod card;
mod changed;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod cuda;
mod datasets;
mod docs;
mod doctor;
mod downloads;
mod explore;
mod extract;
mod fixtures;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod gpu_check;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod gpu_graphs;
mod graphs;
mod hostile_models;
mod hostile_names;
mod hub;
mod lab;
mod layers;
mod model_cards;
mod models;
mod notebooks;
mod options;
mod own_data;
mod parts;
mod placement;
mod plan;
mod polars;
mod privacy;
mod probe;
mod protocols;
mod provenance;
mod publication;
mod python;
mod relabel;
mod repair;
mod report;
mod restate;
mod results;
mod resume;
mod runtime;
mod s3;
mod segment;
mod shells;
mod sources;
mod splits;
mod study;
mod tokens;
mod trust;
mod weights;
