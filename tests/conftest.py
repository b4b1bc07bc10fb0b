"""For all tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import keras
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Starts each test, and fixtures that it is the first to use, with the same random numbers."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """Frees what a module's networks hold.

    Variables that were made in a scope without values are on Keras' list, and would be given values
    when the next such scope ends: gigabytes for networks that are counted and never run. And Python
    does not see that small objects hold large tensors.
    """
    yield
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("uninitialized_variables", [])
    gc.collect()
