//! NVIDIA GPUs and their driver.

use std::fs;
use std::process::Command;

use super::Finding;

/// GPUs by `nvidia-smi`: name, driver and memory of each; or the driver alone.
pub(super) struct Gpus {
    lines: Vec<String>,
    driver: Option<String>,
}

pub(super) fn found() -> Gpus {
    let query = [
        "--query-gpu=name,driver_version,memory.total",
        "--format=csv,noheader",
    ];
    let output = Command::new("nvidia-smi").args(query).output();
    let text = output.ok().filter(|output| output.status.success());
    let text = text.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let lines = text.unwrap_or_default();
    let driver = fs::read_to_string("/proc/driver/nvidia/version").ok();
    Gpus {
        lines: lines
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|l| !l.is_empty())
            .collect(),
        driver: driver.and_then(|text| Some(text.lines().next()?.trim().to_owned())),
    }
}

/// `cuda` is `None` without ONNX Runtime, else the reason why its CUDA provider cannot be used, if there is one.
pub(super) fn finding(gpus: &Gpus, cuda: Option<Option<String>>) -> Finding {
    let text = gpus.lines.join("; ");
    match (gpus.lines.is_empty(), &gpus.driver, cuda) {
        (true, None, _) => Finding::ok("GPU", "no NVIDIA GPU found; `extract` uses the CPU"),
        (true, Some(driver), _) => Finding::warning(
            "GPU",
            format!("{driver}, but `nvidia-smi` lists no GPU"),
            "pass the GPU to the container or the job (`docker --gpus all`, `sbatch --gres=gpu:1`)",
        ),
        (false, _, Some(Some(reason))) => Finding::warning(
            "GPU",
            format!("{text}; not used: {}", reason.replace('\n', "; ")),
            "run `scripts/install_onnxruntime --gpu`",
        ),
        (false, _, Some(None)) => Finding::ok(
            "GPU",
            format!("{text}; `scripts/gpu_check` runs models on it"),
        ),
        (false, _, None) => Finding::ok("GPU", text),
    }
}
