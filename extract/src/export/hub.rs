//! Downloads from the Hugging Face hub.
//!
//! The crate `hf-hub` is not used because it does not verify what it downloads: neither version 0.5.0 nor
//! 1.1.0 compares a file with the sha256 that the hub sends. 0.5.0 resumes a download, but appends the
//! whole file if a server ignores the `Range` header. 1.1.0 begins again after an interruption, and needs
//! tokio, reqwest and hf-xet, where this module needs `ureq` alone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::files::persist;
use common::sha256_file;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use crate::ModelError;

/// Bytes between two reports of progress.
const REPORT: u64 = 128 << 20;
/// Number of attempts of a transfer that is interrupted.
const TRIES: u32 = 5;

/// A file of a repository.
#[derive(Clone, Copy, Debug)]
pub struct HubFile<'a> {
    /// Owner and name of the repository.
    pub repository: &'a str,
    /// Path of the file in the repository.
    pub file: &'a str,
    /// A branch or a commit.
    pub revision: &'a str,
}

impl HubFile<'_> {
    /// The file in the cache of the hub's own clients on this machine, if it is there.
    pub fn cached(&self) -> Option<PathBuf> {
        let set = |name| std::env::var_os(name).map(PathBuf::from);
        let home =
            || set("HF_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache/huggingface")));
        let hub = set("HF_HUB_CACHE").or_else(|| Some(home()?.join("hub")))?;
        let folder = hub.join(format!("models--{}", self.repository.replace('/', "--")));
        let commit = fs::read_to_string(folder.join("refs").join(self.revision));
        let commit = commit.unwrap_or(self.revision.to_string());
        let file = folder.join("snapshots").join(commit.trim()).join(self.file);
        file.is_file().then_some(file)
    }

    /// Downloads the file into `folder`, resumes an interrupted download, and verifies the sha256 that the hub
    /// sends.
    ///
    /// The hub is `$HF_ENDPOINT`, else `https://huggingface.co`; the token is `$HF_TOKEN`, else that
    /// of `hf auth login`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Download`] with the hub's answer, [`ModelError::Downloading`] if another process
    /// downloads the file, [`ModelError::WeightsHash`] and [`ModelError::Io`].
    pub fn download(
        &self,
        folder: &Path,
        tell: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, ModelError> {
        let name = [self.repository, self.file].map(|part| part.replace('/', "--"));
        let target = folder.join(name.join("--"));
        let part = folder.join(format!("{}.part", name.join("--")));
        let url = self.url();
        let failed = |what: String| ModelError::Download {
            url: url.clone(),
            what,
        };
        if is_offline() {
            return Err(failed("`HF_HUB_OFFLINE` is set".to_string()));
        }
        tell(&format!("downloading {url}"));
        let expected = sha256_at(&url).map_err(failed)?;
        if expected.is_some()
            && target.is_file()
            && expected == Some(sha256_file(&target).map_err(ModelError::io(&target))?)
        {
            return Ok(target);
        }
        let lock = locked(&part)?;
        if expected.is_none() {
            // Without a hash, a partial file cannot be recognised as a part of this file.
            lock.set_len(0).map_err(ModelError::io(&part))?;
        }
        transfer(&url, &part, tell)?;
        let found = sha256_file(&part).map_err(ModelError::io(&part))?;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            fs::remove_file(&part).map_err(ModelError::io(&part))?;
            return Err(ModelError::WeightsHash {
                path: part,
                found,
                expected,
            });
        }
        persist(&part, &target).map_err(ModelError::io(&target))?;
        Ok(target)
    }

    fn url(&self) -> String {
        let HubFile {
            repository,
            file,
            revision,
        } = self;
        format!("{}/{repository}/resolve/{revision}/{file}", endpoint())
    }
}

/// The hub, without a slash at its end: `$HF_ENDPOINT`, else `https://huggingface.co`.
pub fn endpoint() -> String {
    let set = std::env::var("HF_ENDPOINT").ok();
    let hub = set.filter(|hub| !hub.is_empty());
    let hub = hub.unwrap_or("https://huggingface.co".to_string());
    hub.trim_end_matches('/').to_owned()
}

/// Whether `$HF_HUB_OFFLINE` forbids downloads.
pub fn is_offline() -> bool {
    std::env::var_os("HF_HUB_OFFLINE").is_some_and(|value| value != "0")
}

/// Asks a server for its front page, for at most five seconds.
///
/// # Errors
///
/// The reason why there is no answer, or its status if it is an error of the server.
pub fn ask(url: &str) -> Result<(), String> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(5)));
    let agent: Agent = config.build().into();
    let status = agent.head(url).call().map_err(|e| e.to_string())?.status();
    if status.is_server_error() {
        return Err(format!("it answers {status}"));
    }
    Ok(())
}

/// The file `part`, locked against downloads of other processes.
fn locked(part: &Path) -> Result<File, ModelError> {
    let file = OpenOptions::new().create(true).append(true).open(part);
    let file = file.map_err(ModelError::io(part))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ModelError::Downloading { path: part.into() }),
        Err(TryLockError::Error(source)) => Err(ModelError::io(part)(source)),
    }
}

fn agent(redirects: u32) -> Agent {
    let config = Agent::config_builder()
        .max_redirects(redirects)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .user_agent(concat!("slicebank/", env!("CARGO_PKG_VERSION")));
    config.build().into()
}

/// The token: `$HF_TOKEN`, else that of `hf auth login`.
pub(crate) fn token() -> Option<String> {
    let set = std::env::var("HF_TOKEN").ok();
    let stored = || {
        let home = std::env::var_os("HF_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(std::env::home_dir()?.join(".cache/huggingface")))?;
        fs::read_to_string(home.join("token")).ok()
    };
    let token = set.or_else(stored)?.trim().to_string();
    (!token.is_empty()).then_some(token)
}

/// The file's sha256, if the hub sends it. Redirections to the hub's storage are not followed, since only the
/// hub sends it.
fn sha256_at(url: &str) -> Result<Option<String>, String> {
    let mut request = agent(0).head(url);
    if let Some(token) = token() {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let response = request.call().map_err(|e| e.to_string())?;
    check_status(&response)?;
    Ok(["x-linked-etag", "etag"]
        .iter()
        .filter_map(|name| header(response.headers(), name))
        .map(|value| value.trim_start_matches("W/").trim_matches('"').to_string())
        .find(|value| value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit())))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn check_status(response: &Response<Body>) -> Result<(), String> {
    let status = response.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(format!(
            "the hub answers {status}: accept the model's terms on its page, and set `HF_TOKEN`"
        )),
        _ if status.is_success() || status.is_redirection() => Ok(()),
        _ => Err(format!("the hub answers {status}")),
    }
}

/// Appends the missing bytes to `part`.
fn transfer(url: &str, part: &Path, tell: &mut dyn FnMut(&str)) -> Result<(), ModelError> {
    let failed = |what: String| ModelError::Download {
        url: url.to_string(),
        what,
    };
    for _ in 1..TRIES {
        match append(url, part, tell) {
            Ok(()) => return Ok(()),
            Err(Broken::Refused(what)) => return Err(failed(what)),
            Err(Broken::Disk(source)) => return Err(ModelError::io(part)(source)),
            Err(Broken::Off(what)) => tell(&format!("{what}; resuming")),
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    append(url, part, tell).map_err(|broken| match broken {
        Broken::Disk(source) => ModelError::io(part)(source),
        Broken::Refused(what) | Broken::Off(what) => failed(what),
    })
}

/// The cause of an incomplete transfer.
enum Broken {
    /// The hub refuses the request.
    Refused(String),
    /// The connection was interrupted.
    Off(String),
    /// The file cannot be written.
    Disk(io::Error),
}

fn append(url: &str, part: &Path, tell: &mut dyn FnMut(&str)) -> Result<(), Broken> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(part)
        .map_err(Broken::Disk)?;
    let have = file.metadata().map_err(Broken::Disk)?.len();
    let mut request = agent(10).get(url);
    if let Some(token) = token() {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|e| Broken::Off(e.to_string()))?;
    match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(()),
        StatusCode::PARTIAL_CONTENT => {}
        _ => {
            check_status(&response).map_err(Broken::Refused)?;
            file.set_len(0).map_err(Broken::Disk)?;
        }
    }
    copy(response, &mut file, tell)
}

fn copy(
    response: Response<Body>,
    file: &mut File,
    tell: &mut dyn FnMut(&str),
) -> Result<(), Broken> {
    let length = header(response.headers(), "content-length").and_then(|n| n.parse::<u64>().ok());
    let mut body = response.into_body().into_reader();
    let (mut done, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        let count = body
            .read(&mut buffer)
            .map_err(|e| Broken::Off(e.to_string()))?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count]).map_err(Broken::Disk)?;
        let before = done / REPORT;
        done += count as u64;
        if done / REPORT > before {
            let of = length
                .map(|length| format!(" of {}", length >> 20))
                .unwrap_or_default();
            tell(&format!("{}{of} MB", done >> 20));
        }
    }
    if length.is_some_and(|length| done < length) {
        Err(Broken::Off(format!(
            "the connection was interrupted after {done} bytes"
        )))
    } else {
        Ok(())
    }
}
