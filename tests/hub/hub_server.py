"""A Hugging Face Hub on this machine, as far as fetching and sending a network needs it."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse


def commit_of(repository: str, branch: str) -> str:
    """The commit that a branch is at; each has one only."""
    return hashlib.sha1(f"{repository}@{branch}".encode()).hexdigest()


@dataclass
class FakeHub:
    """What it holds.

    Attributes:
        repositories: {USER/NAME: {branch: {file: bytes}}}.
        requests: method and path of each, in their order.
        validated: what it was asked to check of model cards.
        closed: whether it lets nobody in.
        url: where it is.
    """

    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    validated: list[str] = field(default_factory=list)
    closed: bool = False
    url: str = ""


@contextmanager
def running() -> Iterator[FakeHub]:
    """Yields a hub that answers on the loopback until the block ends."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        parts = self._parts()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if parts == ["api", "validate-yaml"]:  # of the front matter
            self.hub.validated.append(json.loads(body)["content"])
            return self._send({"errors": [], "warnings": []})
        if parts[:3] == ["api", "repos", "create"]:
            fields = json.loads(body)
            name = (
                fields["name"] if fields.get("organization") is None else f"{fields['organization']}/{fields['name']}"
            )
            self.hub.repositories.setdefault(name, {"main": {}})
            return self._send({"url": f"{self.hub.url}/{name}", "name": name})
        if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) in self.hub.repositories:
            branches = self.hub.repositories["/".join(parts[2:4])]
            action, branch = parts[4], parts[5]
            if action == "branch":
                branches.setdefault(branch, dict(branches["main"]))
                return self._send({})
            if action == "preupload" and branch in branches:
                files = [
                    {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for one in json.loads(body)["files"]
                ]
                return self._send({"files": files})
            if action == "commit" and branch in branches:
                for line in body.splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        branches[branch][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                commit = commit_of("/".join(parts[2:4]), branch)
                url = f"{self.hub.url}/{'/'.join(parts[2:4])}/commit/{commit}"
                return self._send({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})
        self._refuse("RepoNotFound")

    def _get(self) -> None:
        parts = self._parts()
        if parts[:2] == ["api", "agent-harnesses"]:  # what the library asks to name itself to the hub
            return self._send({})
        of_models = parts[:2] == ["api", "models"]
        repository = "/".join(parts[2:4] if of_models else parts[:2])
        branches, asked = self.hub.repositories.get(repository), parts[5 if of_models else 3 :]
        if branches is None:
            return self._refuse("RepoNotFound")
        names = {commit_of(repository, name): name for name in branches} | {name: name for name in branches}
        branch = names.get(unquote(asked[0]) if asked else "main")
        if branch is None:
            return self._refuse("RevisionNotFound")
        files, commit = branches[branch], commit_of(repository, branch)
        if of_models and parts[4:5] == ["tree"]:
            return self._send(
                [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files.items()]
            )
        if of_models:
            return self._send({"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in files]})
        data = files.get("/".join(asked[1:]))
        if data is None:
            return self._refuse("EntryNotFound")
        self._send(data, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'})

    def _parts(self) -> list[str]:
        self.hub.requests.append(f"{self.command} {self.path}")
        return urlparse(self.path).path.strip("/").split("/")

    def _refuse(self, code: str) -> None:
        self._send({"error": code}, {"X-Error-Code": code}, status=404)

    def _send(self, content: Any, headers: dict[str, str] | None = None, *, status: int = 200) -> None:
        if self.hub.closed:
            content, headers, status = {"error": "closed today"}, {}, 403
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
