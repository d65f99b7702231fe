#!/usr/bin/env python3
"""An S3 server on the loopback interface that keeps objects in memory, for tests (requirements-servers.txt).

Prints its port, which may be given, and serves until its standard input ends. Buckets are made by the first
request to them.
Those whose names contain a word misbehave: `faulty` fails every third request, before or after it took
effect; `outage` fails 60 requests in a row; `slow` answers each PUT and POST after a while; `absent` is not made;
`denied` refuses all requests.

PUT of `/-/held/BUCKET` makes each PUT of a `meta.json`, or of the `labels.json` of a label set that is not new, to the
bucket wait for ever, and DELETE of it ends this for later ones.

GET `/-/requests` answers with the number of requests so far by method, and the bytes of their answers, as JSON;
`/-/requests/BUCKET` with those to a bucket.
"""

import collections
import itertools
import json
import os
import sys
import threading
import time

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

SECONDS = 0.15
DENIED = "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
# moto changes a bucket by one thread at a time only if it is told to.
LOCK = threading.Lock()


class Server:
    def __init__(self):
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.counts = collections.defaultdict(itertools.count)
        self.made = set()
        self.held = set()
        # By bucket; those of the empty name are all.
        self.requests = collections.defaultdict(collections.Counter)

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"].startswith("/-/requests"):
            bucket = environ["PATH_INFO"].removeprefix("/-/requests").strip("/")
            return Response(json.dumps(self.requests[bucket]))(environ, start_response)
        if environ["PATH_INFO"].startswith("/-/held/"):
            name = environ["PATH_INFO"].removeprefix("/-/held/")
            is_put = environ["REQUEST_METHOD"] == "PUT"
            (self.held.add if is_put else self.held.discard)(name)
            return Response(status=200 if is_put else 204)(environ, start_response)
        bucket = environ["PATH_INFO"].strip("/").split("/")[0]
        is_description = environ["PATH_INFO"].endswith(("/meta.json", "/labels.json"))
        is_description = is_description and "/.new-" not in environ["PATH_INFO"]
        if bucket in self.held and environ["REQUEST_METHOD"] == "PUT" and is_description:
            threading.Event().wait()
        count = next(self.counts[bucket])
        if "slow" in bucket and environ["REQUEST_METHOD"] in ("PUT", "POST"):
            time.sleep(SECONDS)
        if "outage" in bucket and 30 <= count < 90:
            return Response("try again", 503)(environ, start_response)
        if "faulty" in bucket and count % 3 == 2:
            if count % 2:
                list(self.served(bucket, environ, lambda *_: None))
            return Response("try again", 503)(environ, start_response)
        if "denied" in bucket:
            return Response(DENIED, 403)(environ, start_response)
        return self.served(bucket, environ, start_response)

    def served(self, bucket, environ, start_response):
        with LOCK:
            if bucket and bucket not in self.made and "absent" not in bucket:
                self.made.add(bucket)
                make = {"REQUEST_METHOD": "PUT", "PATH_INFO": f"/{bucket}", "CONTENT_LENGTH": "0"}
                make |= {"QUERY_STRING": "", "wsgi.input": open(os.devnull, "rb")}
                list(self.moto(environ | make, lambda *_: None))
            answer = list(self.moto(environ, start_response))
            for counts in {bucket, ""}:
                self.requests[counts][environ["REQUEST_METHOD"]] += 1
                self.requests[counts]["bytes"] += sum(map(len, answer))
            return answer


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


def main():
    server = make_server(
        "127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0, Server(), threaded=True, request_handler=Quiet
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
