"""For all tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Frees the networks of a module: Python does not see that small objects hold large tensors."""
    yield
    gc.collect()
