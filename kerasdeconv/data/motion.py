"""Pictures that move: Moving MNIST, made of any pictures."""

from __future__ import annotations

import numpy as np

_SPEED = 0.1  # of the room that a picture has, each frame


def moving(
    rng: np.random.Generator, pictures: np.ndarray, frames: int, sides: tuple[int, int]
) -> np.ndarray:
    """Lets pictures move straight on over black, bounce off the borders, and cross each other.

    Moving MNIST of Srivastava et al., "Unsupervised learning of video representations using LSTMs"
    (ICML 2015), https://arxiv.org/abs/1502.04681, section 4.2: any place and direction to start
    from, a tenth of the way from border to border a frame, the brighter pixel where two overlap.

    Args:
        rng: Chooses places and directions.
        pictures: The pictures that move, number x height x width x channels.
        frames: How many frames.
        sides: Height and width of a frame, those of the pictures or more.

    Returns:
        frames x height x width x channels, of the type of the pictures.

    Raises:
        ValueError: A picture is larger than a frame.
    """
    height, width = pictures.shape[1:3]
    room = np.subtract(sides, (height, width))
    if min(room) < 0:
        raise ValueError(f"Pictures that move must fit into {sides}. Received: {(height, width)}")
    video = np.zeros((frames, *sides, pictures.shape[-1]), pictures.dtype)
    for picture in pictures:
        angle = rng.uniform(0, 2 * np.pi)
        step = _SPEED * room * [np.sin(angle), np.cos(angle)]
        # A straight line, folded at the borders.
        way = (rng.uniform(0, room) + np.arange(frames)[:, None] * step) % np.maximum(2 * room, 1)
        places = np.rint(np.minimum(way, 2 * room - way)).astype(int)
        for frame, (top, left) in zip(video, places, strict=True):
            part = frame[top : top + height, left : left + width]
            np.maximum(part, picture, out=part)
    return video
