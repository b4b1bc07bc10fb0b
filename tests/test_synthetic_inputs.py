"""Synthetic samples of what is no picture."""

from __future__ import annotations

import numpy as np
import pytest

from kerasdeconv.data.synthetic_inputs import INPUTS, synthetic_inputs

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "codes": [(7,), (2, 3)],
    "moving_digits": [(4, 16, 20, 1)],
    "picture_pairs": [(16, 24, 6)],
    "noised_digits": [(8, 8, 1), (1,)],
}


@pytest.mark.parametrize("kind", INPUTS)
def test_the_same_for_the_same_seed(kind):
    first, same, other = (synthetic_inputs(kind, 3, SHAPES[kind], seed) for seed in (0, 0, 1))
    assert len(first) == 3
    for a, b, c in zip(first, same, other, strict=True):
        assert [part.shape for part in a] == SHAPES[kind]
        assert all(part.dtype == np.float32 for part in a)
        np.testing.assert_equal(a, b)
        assert not np.array_equal(a[0], c[0])


def test_an_unknown_kind():
    with pytest.raises(ValueError, match=r"Did you mean 'codes'\? Received: 'code'$"):
        synthetic_inputs("code", 1, [(3,)])
