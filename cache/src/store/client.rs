//! Clients of object stores, configured by the environment, and the runtime that they need.

use std::collections::HashMap;
use std::env;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use object_store::aws::{AmazonS3Builder, S3CopyIfNotExists};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{Error, ObjectStore};
use tokio::runtime::{Builder, Runtime};

use super::location::{Location, Scheme};
use super::refusal::io_error;

/// Threads that wait for the network.
const THREADS: usize = 2;

/// Clients by scheme and bucket.
type Clients = HashMap<(Scheme, String), Arc<dyn ObjectStore>>;

static CLIENTS: Mutex<Option<Clients>> = Mutex::new(None);

/// The client of a bucket; each process has one.
pub(super) fn of(location: Location<'_>) -> io::Result<Arc<dyn ObjectStore>> {
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let clients = clients.get_or_insert_default();
    let key = (location.scheme, location.bucket.to_owned());
    if let Some(client) = clients.get(&key) {
        return Ok(Arc::clone(client));
    }
    // Two crates need it; it fails if it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = build(location).map_err(io_error)?;
    clients.insert(key, Arc::clone(&client));
    Ok(client)
}

fn build(location: Location<'_>) -> Result<Arc<dyn ObjectStore>, Error> {
    let bucket = location.bucket;
    Ok(match location.scheme {
        Scheme::S3 => {
            let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
            if env::var_os("AWS_COPY_IF_NOT_EXISTS").is_none() {
                builder = builder.with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
            }
            // An endpoint without TLS was named on purpose.
            if is_plain("AWS_ENDPOINT_URL") || is_plain("AWS_ENDPOINT") {
                builder = builder.with_allow_http(true);
            }
            Arc::new(builder.build()?)
        }
        Scheme::Gs => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Arc::new(builder.build()?)
        }
        Scheme::Az => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            if is_plain("AZURE_ENDPOINT") || is_plain("AZURE_STORAGE_ENDPOINT") {
                builder = builder.with_allow_http(true);
            }
            Arc::new(builder.build()?)
        }
    })
}

fn is_plain(variable: &str) -> bool {
    env::var(variable).is_ok_and(|url| url.starts_with("http://"))
}

/// Waits for a request.
pub(super) fn wait<T>(request: impl Future<Output = Result<T, Error>>) -> io::Result<T> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).enable_all().build()
    });
    match runtime {
        Ok(runtime) => runtime.block_on(request).map_err(io_error),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
