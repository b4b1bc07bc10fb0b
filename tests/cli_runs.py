"""What the tests of the command line look at: what a command did, and a picture."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

SIDE = 32  # of the exported segmentation network, pixels


@dataclasses.dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, *words: str) -> None:
        """Asserts that it said what was wrong, in one line, and nothing else."""
        assert self.code == 2, self.err
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("kerasdeconv: "), self.err
        for word in words:
            assert word in self.err


def scene(height: int, width: int) -> np.ndarray:
    """A smooth coloured picture that spans [0, 255]."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = np.stack([y, x, 0.5 + 0.5 * np.sin(6 * (x + y))], axis=-1)
    return np.rint(255 * waves).astype(np.uint8)
