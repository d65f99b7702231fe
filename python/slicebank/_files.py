"""Files of a cache, in a folder or in a bucket."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pyarrow.fs
import pyarrow.parquet as pq

from slicebank._errors import CacheError

_SCHEMES = ("s3://", "gs://", "az://", "abfs://", "abfss://")


@dataclass(frozen=True)
class Files:
    """A folder on a file system."""

    system: pyarrow.fs.FileSystem
    folder: str
    shown: str

    @staticmethod
    def of(path: str | os.PathLike[str]) -> Files:
        """The folder `path`, or the prefix of a bucket that it names."""
        text = os.fspath(path)
        if text.startswith(_SCHEMES):
            url = text.replace("az://", "abfs://", 1) if text.startswith("az://") else text
            if url.startswith("s3://"):
                system, folder = _s3(), url.removeprefix("s3://")
            else:
                system, folder = pyarrow.fs.FileSystem.from_uri(url)
        else:
            system, folder = pyarrow.fs.LocalFileSystem(use_mmap=True), os.path.abspath(text)
        return Files(system, folder.rstrip("/"), text.rstrip("/"))

    def bytes(self, name: str) -> bytes:
        """The content of a file."""
        try:
            with self.system.open_input_stream(f"{self.folder}/{name}") as stream:
                return stream.read()
        except FileNotFoundError:
            raise CacheError(f"`{self.shown}/{name}`: no such file") from None

    def parquet(self, name: str) -> pq.ParquetFile:
        """A Parquet file, of which nothing but the metadata has been read."""
        path = f"{self.folder}/{name}"
        try:
            return pq.ParquetFile(self.system.open_input_file(path), memory_map=True)
        except FileNotFoundError:
            raise CacheError(f"`{self.shown}/{name}`: no such file") from None
        except (OSError, ValueError) as error:
            raise CacheError(f"`{self.shown}/{name}`: cannot be read: {error}") from error

    def names(self, folder: str, suffix: str = "") -> list[str]:
        """Names of the files and folders in a folder that end in `suffix`, sorted."""
        selector = pyarrow.fs.FileSelector(f"{self.folder}/{folder}", allow_not_found=True)
        names = (info.base_name for info in self.system.get_file_info(selector))
        return sorted(name for name in names if name.endswith(suffix))


def _s3() -> pyarrow.fs.FileSystem:
    """S3 with the variables that `extract` and `probe` read."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint is None:
        return pyarrow.fs.S3FileSystem()
    scheme, _, host = endpoint.rpartition("://")
    return pyarrow.fs.S3FileSystem(
        endpoint_override=host,
        scheme=scheme or "https",
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
    )
