"""A server of Google Cloud Storage's API on this machine: python tests/gcs_server.py prints its address, and serves.

The package gcp-storage-emulator keeps the objects. Three things that it leaves out are added, since tensorstore needs
them: the generation of what is read and requests on condition of one, for the database of a checkpoint, and ranges that
count from the end, for arrays in tiles.
"""

from __future__ import annotations

from functools import partial
from http.server import HTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.storage import Storage

BUCKET = "bucket"
_download = objects.download


def _download_with_generation(request: Any, response: Any, storage: Any, *_: Any) -> None:
    _download(request, response, storage)
    name = request.params["bucket_name"], request.params["object_id"]
    if response.status < 300:
        response["x-goog-generation"] = storage.get_file_obj(*name)["generation"]


class _Handler(server.RequestHandler):
    """Answers one request at a time, so that a condition holds until it is acted upon."""

    def do_GET(self) -> None:
        self._answer(super().do_GET)

    def do_POST(self) -> None:
        self._answer(super().do_POST)

    def do_DELETE(self) -> None:
        self._answer(super().do_DELETE)

    def _answer(self, answer: Any) -> None:
        url = urlparse(self.path)
        query = parse_qs(url.query)
        generation = self._field("generation", url.path, query)
        if self.headers.get("Range", "").startswith("bytes=-"):
            size = int(self._field("size", url.path, query))
            start = max(0, size - int(self.headers["Range"].removeprefix("bytes=-")))
            self.headers.replace_header("Range", f"bytes={start}-{size - 1}")
        if "ifGenerationMatch" in query and query["ifGenerationMatch"] != [generation]:
            self._refuse(412)
        elif "ifGenerationNotMatch" in query and query["ifGenerationNotMatch"] == [generation]:
            self._refuse(304)
        else:
            answer()

    def _field(self, name: str, path: str, query: dict[str, list[str]]) -> str:
        """What is known of the object, "0" if there is none."""
        _, _, rest = path.partition("/b/")
        bucket, _, key = rest.partition("/o")
        try:
            return str(self.storage.get_file_obj(bucket, unquote(key[1:]) or query["name"][0])[name])
        except (NotFound, KeyError):
            return "0"

    def _refuse(self, status: int) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


class _Server(HTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up, with what they have not read."""


def main() -> None:
    """Serves until the process is ended."""
    objects.download = _download_with_generation
    storage = Storage(use_memory_fs=True)
    buckets.create_bucket(BUCKET, storage)
    httpd = _Server(("127.0.0.1", 0), partial(_Handler, storage))
    print(f"http://127.0.0.1:{httpd.server_port}", flush=True)
    httpd.serve_forever()


if __name__ == "__main__":
    main()
