//! Checks of a machine: what an extraction needs, found or not, and how to get it.

mod disk;
mod gpu;
mod machine;

use std::path::Path;

use serde::Serialize;

use crate::backbone::{Provider, Runtime};
use crate::export::hub;
use crate::project;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Something is slow or missing that some runs need.
    Warning,
    /// An extraction cannot run.
    Fault,
}

/// Result of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// How it ended.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding {
            check,
            state: State::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, remedy: &str) -> Finding {
        Finding {
            state: State::Warning,
            remedy: Some(remedy.to_owned()),
            ..Finding::ok(check, found)
        }
    }

    fn fault(check: &'static str, found: impl Into<String>, remedy: &str) -> Finding {
        Finding {
            state: State::Fault,
            ..Finding::warning(check, found, remedy)
        }
    }

    /// A fault with the text of an error, whose hint is the remedy.
    fn of_error(check: &'static str, error: &dyn std::error::Error) -> Finding {
        let text = error.to_string();
        let (found, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
        Finding::fault(check, found.replace('\n', "; "), hint)
    }
}

/// Checks this machine for extractions into the folder of caches `caches`. Without `is_offline`, the hub is asked
/// for its front page; nothing else uses the network.
pub fn examine(caches: &Path, is_offline: bool) -> Vec<Finding> {
    let mut findings = vec![machine::versions()];
    match project::find() {
        Ok(home) => {
            findings.extend(project_at(&home));
            findings.extend(runtime(&home));
        }
        Err(error) => findings.push(Finding::of_error("project", &error)),
    }
    findings.extend([machine::threads(), machine::memory()]);
    findings.extend(disk::check(caches));
    findings.push(if is_offline {
        Finding::ok("hub", "not checked (`--offline`)")
    } else {
        hub_access()
    });
    findings
}

fn project_at(home: &Path) -> [Finding; 1] {
    let models = project::models(home);
    let shown = models.display();
    [if !models.exists() {
        Finding::ok("project", format!("{shown}: made when a model is exported"))
    } else if disk::is_writable(&models) {
        Finding::ok("project", format!("{shown}: can be written"))
    } else {
        Finding::warning(
            "project",
            format!("{shown}: cannot be written, so no model can be exported"),
            "set SLICEBANK_HOME to a folder of yours, or export the models as its owner",
        )
    }]
}

/// ONNX Runtime, its providers, and the GPUs.
fn runtime(home: &Path) -> Vec<Finding> {
    let gpus = gpu::found();
    let runtime = match Runtime::load(home, true) {
        Ok(runtime) => runtime,
        Err(error) => {
            let fault = Finding::of_error("ONNX Runtime", &error);
            return vec![fault, gpu::finding(&gpus, None)];
        }
    };
    let version = runtime
        .version()
        .unwrap_or_else(|| "unknown version".to_owned());
    let library = runtime.library().display();
    let providers = [Provider::Cpu, Provider::Cuda, Provider::Tensorrt];
    let built = providers
        .into_iter()
        .filter(|provider| runtime.has(*provider).is_ok());
    let built: Vec<_> = built.map(Provider::name).collect();
    let cuda = runtime.has(Provider::Cuda);
    vec![
        Finding::ok("ONNX Runtime", format!("{version}, {library}")),
        Finding::ok("providers", built.join(", ")),
        gpu::finding(&gpus, Some(cuda.err().map(|error| error.to_string()))),
    ]
}

fn hub_access() -> Finding {
    const REMEDY: &str = "models and datasets that are here work all the same; behind a proxy set HTTPS_PROXY, for a mirror HF_ENDPOINT, or download elsewhere and give `extract export NAME --weights FILE`";
    let endpoint = hub::endpoint();
    if hub::is_offline() {
        return Finding::warning(
            "hub",
            "not checked (`HF_HUB_OFFLINE` is set)",
            "unset it to download weights",
        );
    }
    let token = if hub::token().is_some() {
        "with a token"
    } else {
        "without a token, which gated models need (`HF_TOKEN`)"
    };
    match hub::ask(&endpoint) {
        Ok(()) => Finding::ok("hub", format!("{endpoint} answers, {token}")),
        Err(what) => Finding::warning("hub", format!("{endpoint}: {what}"), REMEDY),
    }
}
