//! The record of a run in the history of its cache.

use std::env;
use std::path::Path;

use cache::Session;
use common::process;

use super::Extraction;
use crate::Error;
use crate::backbone::Backbone;
use crate::parity::Parity;

impl Extraction<'_> {
    /// What the history of the cache `dir` says of this run. Host, user and paths are in it only if that was
    /// asked for.
    pub(super) fn session(
        &self,
        action: &str,
        dir: &Path,
        backbone: &Backbone,
        parity: Option<Parity>,
    ) -> Result<Session, Error> {
        let device = backbone.options().device;
        let path = |path: &Path| {
            // What lies in a bucket is read and written in a local copy.
            let mut path = cache::original_path(path, self.staging);
            if !cache::is_in_bucket(&path) {
                path = std::path::absolute(&path).unwrap_or(path);
            }
            path.to_string_lossy().into_owned()
        };
        let is_named = self.settings.record_host;
        let user = || {
            ["USER", "LOGNAME", "USERNAME"]
                .iter()
                .find_map(|name| env::var(name).ok())
        };
        Ok(Session {
            action: action.to_owned(),
            part: self.settings.part.map(|part| part.to_string()),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            onnxruntime_version: self.runtime.version(),
            provider: Some(device.provider.name().to_owned()),
            precision: Some(device.precision.name().to_owned()),
            parity: parity.map(serde_json::to_value).transpose()?,
            host: is_named.then(process::host),
            user: is_named.then(user).flatten(),
            root: is_named.then(|| path(&self.dataset.root)),
            cache: is_named.then(|| path(dir)),
            ..Session::default()
        })
    }
}
