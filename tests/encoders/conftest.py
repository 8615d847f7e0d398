"""A hub on this machine: it serves files, and fails in the ways that a hub fails."""

from __future__ import annotations

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
from packaging.version import Version

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub: ``files`` by path, ``fails`` with a status for every file, ``asked`` with the requests."""
    state = SimpleNamespace(files={}, asked=[], fails=None, code=None, slow=0.0, short=False)

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            if (content := self.answer()) is not None:
                self.wfile.write(content[: len(content) // 2] if state.short else content)

        def answer(self):
            state.asked.append((self.command, self.path, self.headers.get("Authorization")))
            content = b"" if self.path == "/" else state.files.get(self.path)
            failing = state.fails is not None and self.path != "/"
            if self.path != "/":
                time.sleep(state.slow)
            status = state.fails if failing else 404 if content is None else 200
            self.send_response(status)
            if failing or content is None:
                if code := state.code if failing else "EntryNotFound":
                    self.send_header("X-Error-Code", code)
                content = None if failing or content is None else content
            else:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            return content

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    point_to(f"http://127.0.0.1:{server.server_port}", tmp_path, monkeypatch)
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def point_to(endpoint, folder, monkeypatch):
    """Send the hub's client to another address, with a cache of its own and without a token."""
    if Version(huggingface_hub.__version__) < Version("1.0"):
        pytest.skip("earlier clients of the hub cannot be sent to another address while they run")
    for name, value in {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(folder / "hub"),
        "HF_HUB_DISABLE_XET": True,
        "HF_TOKEN_PATH": str(folder / "no-token"),
    }.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(name="point_to")
def _point_to():
    return point_to
