//! Paths in object stores.

use std::path::{Path, PathBuf};

/// The parts of `SCHEME://BUCKET/KEY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) bucket: &'a str,
    /// Without slashes at its ends; empty for the whole bucket.
    pub(crate) key: &'a str,
}

/// An object store's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    /// S3, of Amazon and others.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
}

impl Scheme {
    const ALL: [Scheme; 3] = [Scheme::S3, Scheme::Gs, Scheme::Az];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scheme::S3 => "s3",
            Scheme::Gs => "gs",
            Scheme::Az => "az",
        }
    }
}

impl<'a> Location<'a> {
    /// The parts of a path, or `None` if it is one of the local file system.
    pub(crate) fn of(path: &'a Path) -> Option<Location<'a>> {
        let text = path.to_str()?;
        let (scheme, rest) = text.split_once("://")?;
        let scheme = Scheme::ALL.into_iter().find(|of| of.name() == scheme)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Location {
            scheme,
            bucket,
            key: key.trim_matches('/'),
        })
    }

    /// `SCHEME/BUCKET/KEY`, the place of a local copy below some folder.
    pub(crate) fn relative(self) -> PathBuf {
        Path::new(self.scheme.name())
            .join(self.bucket)
            .join(self.key)
    }

    /// The path of which [`relative`](Location::relative) is the local copy; `None` for other paths.
    pub(crate) fn of_relative(copy: &Path) -> Option<PathBuf> {
        let mut parts = copy.iter().map(|part| part.to_str());
        let first = parts.next()??;
        let scheme = Scheme::ALL.into_iter().find(|of| of.name() == first)?;
        let parts: Vec<&str> = parts.collect::<Option<_>>()?;
        Some(format!("{}://{}", scheme.name(), parts.join("/")).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_their_parts_when_names_are_joined_to_them() {
        let dir = Path::new("s3://bucket/a/b/")
            .join("c@224")
            .join("meta.json");
        let found = Location::of(&dir).unwrap();
        assert_eq!((found.bucket, found.key), ("bucket", "a/b/c@224/meta.json"));
        let copy = Path::new("s3/bucket/a/b/c@224/meta.json");
        assert_eq!(found.relative(), copy);
        let original = "s3://bucket/a/b/c@224/meta.json";
        assert_eq!(Location::of_relative(copy), Some(original.into()));
        for path in ["", "S3/bucket", "embeddings/a"] {
            assert_eq!(Location::of_relative(Path::new(path)), None);
        }
        let parent = dir.parent().unwrap();
        assert_eq!(Location::of(parent).unwrap().key, "a/b/c@224");
        for (path, bucket, key) in [("gs://b", "b", ""), ("az://b/", "b", ""), ("s3://", "", "")] {
            let found = Location::of(Path::new(path)).unwrap();
            assert_eq!((found.bucket, found.key), (bucket, key));
        }
        for path in ["s3:/bucket/a", "embeddings", "/a/s3://b", "http://a/b", ""] {
            assert_eq!(Location::of(Path::new(path)), None, "{path}");
        }
    }
}
