"""The weights store: files that ship with the package, and remote ones kept in a cache.

Either kind is used only when its sha256 is the card's, each time that it is loaded. A remote file
is downloaded to a temporary name and renamed once it is whole; after that no network is needed.
The cache is the folder in the environment variable KERASDECONV_CACHE, or the platform's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from kerasdeconv.errors import WeightsError
from kerasdeconv.zoo.cards import WeightsFile

_BUNDLED = Path(__file__).parent / "weights"
_TIMEOUT = 30  # seconds without an answer or a byte


def cache_folder() -> Path:
    """Returns the folder that holds downloaded weights; it need not exist yet."""
    if folder := os.environ.get("KERASDECONV_CACHE"):
        return Path(folder).expanduser()
    import pooch

    return Path(pooch.os_cache("kerasdeconv"))


def cached_path(weights: WeightsFile) -> Path:
    """Returns where a remote file is kept. Its name holds the hash, so versions live together."""
    name = PurePosixPath(unquote(urlsplit(weights.url or "").path))
    return cache_folder() / f"{name.stem}.{weights.sha256[:8]}{name.suffix}"


def fetch(weights: WeightsFile) -> Path:
    """Returns the path of a weights file, downloaded if need be, its hash checked.

    Raises:
        WeightsError: The file is missing, damaged, cannot be downloaded or cannot be kept.
    """
    if weights.file is None:
        return _fetch_remote(weights)
    path = _BUNDLED / weights.file
    if not path.is_file():
        raise WeightsError(
            "A weights file that ships with the package is missing: reinstall kerasdeconv. "
            f"Received: {str(path)!r}"
        )
    if fault := _fault(path, weights):
        raise WeightsError(
            f"A weights file that ships with the package is damaged ({fault}): reinstall "
            f"kerasdeconv. Received: {str(path)!r}"
        )
    return path


def _fetch_remote(weights: WeightsFile) -> Path:
    import pooch
    import requests

    path = cached_path(weights)

    def download(url: str, output: str, manager: Any) -> None:
        pooch.HTTPDownloader(timeout=_TIMEOUT)(url, output, manager)
        if fault := _fault(Path(output), weights):
            raise WeightsError(_failure(weights, path, f"what came is not the file: {fault}"))

    try:
        with _quiet(pooch.get_logger()):
            pooch.retrieve(
                weights.url,
                known_hash=f"sha256:{weights.sha256}",
                fname=path.name,
                path=path.parent,
                downloader=download,
            )
    except requests.RequestException as error:
        if error.response is not None:
            error.response.close()  # pooch leaves the connection of a refused request open
        raise WeightsError(_failure(weights, path, _reason(error))) from error
    except OSError as error:
        raise WeightsError(
            f"Cannot keep the weights file {path.name} of {weights.url} ({error.strerror or error})"
            f": set KERASDECONV_CACHE to a folder that can be written. "
            f"Received: {str(path.parent)!r}"
        ) from error
    return path


def _fault(path: Path, weights: WeightsFile) -> str | None:
    """Says in which way a file is not the one that the card means."""
    size = path.stat().st_size
    if size != weights.size_bytes:
        return f"{size} bytes instead of {weights.size_bytes}"
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != weights.sha256:
        return f"sha256 {digest.hexdigest()[:12]}... instead of {weights.sha256[:12]}..."
    return None


def _failure(weights: WeightsFile, path: Path, reason: str) -> str:
    damaged = " (the copy in the cache is damaged)" if path.is_file() else ""
    return (
        f"Cannot download the weights file {path.name}{damaged}: {reason}. Try again later, or put "
        f"the file at {str(path)!r} by other means. Received: {weights.url!r}"
    )


def _reason(error: Exception) -> str:
    """One short clause for the long chains of causes that requests prints."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"the server did not answer within {_TIMEOUT} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the file was complete"
    if isinstance(error, requests.ConnectionError):
        return "no connection to the server"
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Mutes a logger's news for a while; pooch prints its downloads to the terminal."""

    # Not setLevel: pooch's logger is outside of logging's registry, so that the levels that it
    # has cached would outlive the change.
    def warnings_only(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    logger.addFilter(warnings_only)
    try:
        yield
    finally:
        logger.removeFilter(warnings_only)
