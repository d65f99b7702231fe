#!/usr/bin/env python3
"""Copies all objects below s3://BUCKET/KEY into a folder, or makes them those of a folder (requirements-servers.txt):
s3_copy.py URL FOLDER, s3_copy.py FOLDER URL.

The server and the credentials are those of the environment, `AWS_ENDPOINT_URL` and others.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import boto3


def main():
    source, target = sys.argv[1:]
    if source.startswith("s3://"):
        fetch(*objects(source), Path(target))
    else:
        send(Path(source), *objects(target))


def objects(url):
    parts = urlsplit(url)
    return boto3.resource("s3").Bucket(parts.netloc), parts.path.strip("/") + "/"


def fetch(bucket, key, folder):
    for found in bucket.objects.filter(Prefix=key):
        path = folder / found.key[len(key) :]
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file(found.key, str(path))


def send(folder, bucket, key):
    files = {key + path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for found in bucket.objects.filter(Prefix=key):
        if found.key not in files:
            found.delete()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: bucket.put_object(Key=item[0], Body=item[1].read_bytes()), files.items()))


if __name__ == "__main__":
    main()
