#!/usr/bin/env python3
"""Copies all objects below s3://BUCKET/KEY into a folder (requirements-servers.txt): s3_copy.py URL FOLDER.

The server and the credentials are those of the environment, `AWS_ENDPOINT_URL` and others.
"""

import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3


def main():
    url, folder = urlsplit(sys.argv[1]), Path(sys.argv[2])
    bucket = boto3.resource("s3").Bucket(url.netloc)
    key = url.path.strip("/") + "/"
    for found in bucket.objects.filter(Prefix=key):
        path = folder / found.key[len(key) :]
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file(found.key, str(path))


if __name__ == "__main__":
    main()
