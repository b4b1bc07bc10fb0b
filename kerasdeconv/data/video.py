"""Videos of pictures that move, as predictors of frames learn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasdeconv.data.motion import moving
from kerasdeconv.data.pictures import PictureBatches


class MovingPictures(PictureBatches):
    """Random batches of videos in which pictures move: the first frames, and those that follow.

    See `kerasdeconv.data.motion.moving`.

    Args:
        pictures: What moves, uint8, N x height x width x channels.
        frames: Frames that are seen.
        horizon: Frames that follow.
        sides: Height and width of a frame.
        count: Pictures in a video.
        **options: See `PictureBatches`.
    """

    def __init__(
        self,
        pictures: np.ndarray,
        *,
        frames: int = 10,
        horizon: int = 10,
        sides: tuple[int, int] = (64, 64),
        count: int = 2,
        **options: Any,
    ) -> None:
        super().__init__(pictures, **options)
        self.frames, self.horizon, self.sides, self.count = frames, horizon, sides, count

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Makes one sample: frames seen and frames that follow, float32 in [0, 255]."""
        chosen = self.pictures[rng.integers(len(self.pictures), size=self.count)]
        video = moving(rng, chosen, self.frames + self.horizon, self.sides).astype(np.float32)
        return video[: self.frames], video[self.frames :]
