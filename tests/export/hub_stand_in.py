"""A Hub on this machine: as much of its protocol as an upload needs, and what it was sent."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HubStandIn(ThreadingHTTPServer):
    """Takes commits; `files` holds path -> bytes, `made` the repositories, `tokens` who asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.made: list[dict[str, Any]] = []
        self.tokens: set[str | None] = set()
        self.commits: list[str] = []
        self.refuses = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> HubStandIn:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: HubStandIn

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, found: Any, status: int = 200) -> None:
        data = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        owner, name = "goose", "flock"
        self._answer({"id": f"{owner}/{name}", "sha": "0" * 40, "siblings": [], "tags": []})

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        self.server.objects[self.path.rpartition("/")[2]] = self._body()
        self._answer({})

    def do_POST(self) -> None:
        body, server = self._body(), self.server
        server.tokens.add(self.headers.get("Authorization"))
        if server.refuses:
            self._answer({"error": "no right to write"}, status=server.refuses)
        elif self.path == "/api/repos/create":
            server.made.append(json.loads(body))
            self._answer({"url": f"{server.endpoint}/goose/flock", "name": "goose/flock"})
        elif self.path == "/api/validate-yaml":  # of the card's front matter
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            self._answer({"files": [_mode(file) for file in json.loads(body)["files"]]})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            self._answer({"transfer": "basic", "objects": [self._upload(one) for one in objects]})
        elif "/commit/" in self.path:
            self._commit(body)
        else:
            self._answer({"error": f"no such place: {self.path}"}, status=404)

    def _upload(self, found: dict[str, Any]) -> dict[str, Any]:
        place = {"href": f"{self.server.endpoint}/objects/{found['oid']}"}
        return found | {"authenticated": True, "actions": {"upload": place}}

    def _commit(self, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.server.commits.append(value["summary"])
            elif line["key"] == "file":
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.server.files[value["path"]] = self.server.objects[value["oid"]]
        address = f"{self.server.endpoint}/goose/flock/commit/{'1' * 40}"
        self._answer({"commitUrl": address, "commitOid": "1" * 40, "pullRequestUrl": None})


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    """Weights go to the store of large files, the rest into the commit."""
    large = file["path"].endswith(".safetensors")
    return {"path": file["path"], "uploadMode": "lfs" if large else "regular"} | {
        "shouldIgnore": False
    }
