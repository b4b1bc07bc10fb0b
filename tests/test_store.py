"""The weights store against a real HTTP server on the loopback interface."""

from __future__ import annotations

import hashlib
import http.server
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pooch
import pytest

from kerasdeconv.errors import WeightsError
from kerasdeconv.zoo import store
from kerasdeconv.zoo.cards import WeightsFile

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        bodies = {
            "/good.npz": CONTENT,
            "/wrong.npz": CONTENT[::-1],  # as long, another hash
            "/short.npz": CONTENT[:1000],  # a whole answer of a truncated file
            "/broken.npz": CONTENT[:1000],  # announced in full, then the connection breaks
        }
        if self.path not in bodies:
            self.send_error(404)
            return
        body = bodies[self.path]
        self.send_response(200)
        length = len(CONTENT) if self.path == "/broken.npz" else len(body)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class Server:
    """A server that can be taken away; `url` stays."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        handler = type("Bound", (Handler,), {"requests": self.requests})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def weights(self, name: str) -> WeightsFile:
        return WeightsFile(sha256=SHA256, size_bytes=len(CONTENT), url=f"{self.url}/{name}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("KERASDECONV_CACHE", str(folder))
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*")) if folder.exists() else []


def refusal(weights: WeightsFile) -> str:
    with pytest.raises(WeightsError) as caught:
        store.fetch(weights)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(f"Received: {weights.url!r}")
    return message


def test_a_remote_file_is_downloaded_once(server: Server, cache: Path) -> None:
    weights = server.weights("good.npz")
    path = store.fetch(weights)
    assert path.read_bytes() == CONTENT
    assert files(cache) == [path]
    assert store.fetch(weights) == path
    assert server.requests == ["/good.npz"]


def test_pooch_is_quiet_meanwhile(server: Server, cache: Path) -> None:
    records: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.emit = records.append  # type: ignore[method-assign]
    logger = pooch.get_logger()
    logger.addHandler(listener)
    try:
        store.fetch(server.weights("good.npz"))
        assert records == []
        logger.info("muted for the moment only")
        assert len(records) == 1
    finally:
        logger.removeHandler(listener)


def test_a_cached_file_needs_no_server(server: Server, cache: Path) -> None:
    weights = server.weights("good.npz")
    store.fetch(weights)
    server.stop()
    assert store.fetch(weights).read_bytes() == CONTENT


def test_versions_of_one_file_live_together(server: Server, cache: Path) -> None:
    weights = server.weights("wrong.npz")
    other = WeightsFile(
        sha256=hashlib.sha256(CONTENT[::-1]).hexdigest(), size_bytes=len(CONTENT), url=weights.url
    )
    assert store.cached_path(other) != store.cached_path(weights)
    assert store.fetch(other).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wrong.npz", "sha256"),
        ("short.npz", f"1000 bytes instead of {len(CONTENT)}"),
        ("broken.npz", "the connection broke"),
        ("missing.npz", "the server answers 404 Not Found"),
    ],
)
def test_a_failed_download_leaves_nothing(
    server: Server, cache: Path, name: str, reason: str
) -> None:
    message = refusal(server.weights(name))
    assert reason in message
    assert str(cache) in message  # where to put the file by other means
    assert server.requests  # the refusal came from the download, not from before it
    assert files(cache) == []


def test_no_server(server: Server, cache: Path) -> None:
    server.stop()
    assert "no connection to the server" in refusal(server.weights("good.npz"))
    assert files(cache) == []


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[::-1], b""])
def test_a_damaged_copy_is_downloaded_again(server: Server, cache: Path, damage: bytes) -> None:
    weights = server.weights("good.npz")
    path = store.fetch(weights)
    path.write_bytes(damage)
    assert store.fetch(weights).read_bytes() == CONTENT
    assert files(cache) == [path]
    assert len(server.requests) == 2


def test_a_damaged_copy_is_refused_without_server(server: Server, cache: Path) -> None:
    weights = server.weights("good.npz")
    path = store.fetch(weights)
    path.write_bytes(CONTENT[:1000])
    server.stop()
    message = refusal(weights)
    assert "the copy in the cache is damaged" in message
    assert "no connection" in message
    assert files(cache) == [path]


def test_a_cache_that_cannot_be_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv("KERASDECONV_CACHE", str(blocker / "cache"))
    with pytest.raises(WeightsError, match=r"set KERASDECONV_CACHE .* Received: ") as caught:
        store.fetch(server.weights("good.npz"))
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_default_cache_is_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERASDECONV_CACHE", raising=False)
    assert store.cache_folder() == Path(pooch.os_cache("kerasdeconv"))


class TestBundled:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(store, "_BUNDLED", tmp_path)
        return tmp_path

    weights = WeightsFile(sha256=SHA256, size_bytes=len(CONTENT), file="tiny.npz")

    def test_found(self, folder: Path) -> None:
        (folder / "tiny.npz").write_bytes(CONTENT)
        assert store.fetch(self.weights) == folder / "tiny.npz"

    def test_missing(self, folder: Path) -> None:
        with pytest.raises(WeightsError, match=r"missing: reinstall .*tiny\.npz"):
            store.fetch(self.weights)

    @pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[::-1]])
    def test_damaged(self, folder: Path, damage: bytes) -> None:
        (folder / "tiny.npz").write_bytes(damage)
        with pytest.raises(WeightsError, match=r"damaged \(.*reinstall .*tiny\.npz"):
            store.fetch(self.weights)


def test_weights_come_from_one_place() -> None:
    for places in ({}, {"file": "a.npz", "url": "http://localhost/a.npz"}):
        with pytest.raises(ValueError, match="either a file or a url"):
            WeightsFile(sha256=SHA256, size_bytes=1, **places)
