"""A Hub on this machine: the part of the Hugging Face Hub's protocol that a pull uses, over HTTP.

`GET /api/models/{repo}/revision/{rev}` lists a commit's files with sizes and hashes;
`GET /{repo}/resolve/{commit}/{file}` gives a file, large ones (LFS) by a redirect to another path,
with Range. What goes wrong on the way can be ordered per file.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LFS = (".safetensors", ".gguf")


@dataclass
class Stall:
    """Stop in the middle of a file, tell so by `reached`, and go on at `release`."""

    after: int
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


@dataclass
class Repo:
    """Commits of a repository, the newest last, and what is wrong with it."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    # Whoever sends a token that is not the right one is refused, as the Hub does it.
    strict: bool = False
    # File (or "api") -> statuses to answer with first, one a request.
    failing: dict[str, list[int]] = field(default_factory=dict)
    # File -> after how many bytes of an answer the connection ends, one entry a request.
    cut: dict[str, list[int]] = field(default_factory=dict)
    stalled: dict[str, Stall] = field(default_factory=dict)
    # Files that come with other bytes than the listing tells, that many times.
    corrupt: dict[str, int] = field(default_factory=dict)
    # Files that are listed, but not there.
    lost: set[str] = field(default_factory=set)
    # Every answer is the whole file, whatever Range says.
    ranges: bool = True
    # What the listing says instead, by the Hub's own keys; "whole" replaces all of it.
    info: dict[str, Any] = field(default_factory=dict)
    # File -> size that the listing claims.
    claimed: dict[str, int] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The newest commit."""
        return list(self.commits)[-1]

    def push(self, files: dict[str, bytes]) -> str:
        """A commit of `files`; returns its hash."""
        digest = hashlib.sha1(str(len(self.commits)).encode())
        for name, data in sorted(files.items()):
            digest.update(name.encode() + data)
        self.commits[digest.hexdigest()] = files
        return digest.hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of ours."""


class Hub:
    """The server; `url` is what HF_ENDPOINT takes. A context manager."""

    TOKEN = "hf_right"

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        # (method, repository, file or "api", first byte that was asked for), in order.
        self.log: list[tuple[str, str, str, int]] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.leaked = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def add(self, name: str, folder: Path) -> Repo:
        """A repository with one commit: the files of `folder`."""
        repo = self.repos[name] = Repo()
        repo.push({f.name: f.read_bytes() for f in sorted(folder.iterdir()) if f.is_file()})
        return repo

    def fetched(self, name: str) -> list[str]:
        """The files of a repository that were asked for so far, in order."""
        return [file for _, repo, file, _ in self.log if repo == name and file != "api"]

    def close(self) -> None:
        """Shut down; whoever still waits in a stall is let go."""
        for repo in self.repos.values():
            for stall in repo.stalled.values():
                stall.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).lstrip("/")
            try:
                if path.startswith("api/models/"):
                    name, _, revision = path.removeprefix("api/models/").partition("/revision/")
                    self.listing(name, revision or "main")
                elif path.startswith("lfs/"):
                    name, commit, file = path.removeprefix("lfs/").split("@")
                    hub.leaked |= "Authorization" in self.headers
                    self.contents(hub.repos[name], name, commit, file)
                else:
                    name, _, rest = path.partition("/resolve/")
                    commit, _, file = rest.partition("/")
                    self.resolve(name, commit, file)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        do_HEAD = do_GET

        def listing(self, name: str, revision: str) -> None:
            hub.log.append((self.command, name, "api", 0))
            repo = self.allowed(name)
            if repo is None or self.fails(repo, "api"):
                return
            commit = repo.head if revision == "main" else revision
            if commit not in repo.commits:
                self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
                return
            siblings = [_sibling(repo, n, data) for n, data in repo.commits[commit].items()]
            info = {"id": name, "modelId": name, "sha": commit, "siblings": siblings}
            info |= {"private": repo.private, "gated": "manual" if repo.gated else False}
            info |= repo.info
            body = info["whole"] if "whole" in info else json.dumps(info).encode()
            self.answer(200, body, {"Content-Type": "application/json"})

        def resolve(self, name: str, commit: str, file: str) -> None:
            start = self.first_byte()
            hub.log.append((self.command, name, file, start))
            repo = self.allowed(name)
            if repo is None or self.fails(repo, file):
                return
            if repo.gated and not self.authorized():
                self.refuse(401, "GatedRepo", f"Access to model {name} is restricted.")
            elif commit not in repo.commits:
                self.refuse(404, "RevisionNotFound", f"Invalid rev id: {commit}")
            elif file not in repo.commits[commit] or file in repo.lost:
                self.refuse(404, "EntryNotFound", "Entry not found")
            elif file.endswith(LFS):
                data = repo.commits[commit][file]
                headers = {
                    # Another host, as the real one's storage is: no token may go there.
                    "Location": f"http://localhost:{hub.port}/lfs/{name}@{commit}@{file}",
                    "X-Repo-Commit": commit,
                    "X-Linked-Size": str(len(data)),
                    "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
                }
                self.answer(302, b"", headers)
            else:
                self.contents(repo, name, commit, file)

        def contents(self, repo: Repo, name: str, commit: str, file: str) -> None:
            data = repo.commits[commit][file]
            if repo.corrupt.get(file, 0) > 0:
                repo.corrupt[file] -= 1
                data = bytes([data[0] ^ 1]) + data[1:]
            start = self.first_byte() if repo.ranges else 0
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.send_response(206 if start else 200)
            for key, value in {**headers, "Content-Length": str(len(data) - start)}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.write(repo, file, data[start:])

        def write(self, repo: Repo, file: str, data: bytes) -> None:
            if stall := repo.stalled.get(file):
                self.wfile.write(data[: stall.after])
                self.wfile.flush()
                stall.reached.set()
                stall.release.wait(60)
                data = data[stall.after :]
            if repo.cut.get(file):
                self.wfile.write(data[: repo.cut[file].pop(0)])
                self.close_connection = True
                return
            self.wfile.write(data)

        def allowed(self, name: str) -> Repo | None:
            repo = hub.repos.get(name)
            if repo and repo.strict and "Authorization" in self.headers and not self.authorized():
                self.refuse(401, "", "Invalid credentials in Authorization header")
                return None
            if repo is None or (repo.private and not self.authorized()):
                self.refuse(401, "RepoNotFound", "Repository not found")
                return None
            return repo

        def authorized(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {hub.TOKEN}"

        def fails(self, repo: Repo, file: str) -> bool:
            if not repo.failing.get(file):
                return False
            status = repo.failing[file].pop(0)
            self.answer(status, b"", {"Retry-After": "0"})
            return True

        def first_byte(self) -> int:
            asked = self.headers.get("Range", "bytes=0-")
            return int(asked.removeprefix("bytes=").partition("-")[0])

        def refuse(self, status: int, code: str, message: str) -> None:
            body = json.dumps({"error": message}).encode()
            self.answer(status, body, {"X-Error-Code": code, "X-Error-Message": message})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    return Handler


def _sibling(repo: Repo, name: str, data: bytes) -> dict[str, Any]:
    size = repo.claimed.get(name, len(data))
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry: dict[str, Any] = {"rfilename": name, "size": size, "blobId": blob}
    if name.endswith(LFS):
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 134}
    return entry
