"""How far a padded U-shaped network sees, by arithmetic on intervals along one axis."""

from __future__ import annotations

from collections.abc import Sequence

Interval = tuple[int, int]


def left_reach(spreads: Sequence[int], level: int, place: int) -> Interval:
    """The first and the last input voxel that a voxel of an encoder's level depends on.

    Args:
        spreads: How far the convolutions of each level see to either side, the finest first.
        level: The level, 0 for the finest.
        place: Where in the level's map the voxel lies.
    """
    first = last = place
    for below in range(level, -1, -1):
        first, last = first - spreads[below], last + spreads[below]
        if below:  # a voxel of a pooling of 2 covers two
            first, last = 2 * first, 2 * last + 1
    return first, last


def right_reach(spreads: Sequence[int], level: int, place: int) -> Interval:
    """The same for a decoder's level, upsampled by transposed convolutions of 2 with strides 2."""
    if level == len(spreads) - 1:
        return left_reach(spreads, level, place)
    ends = place - spreads[level], place + spreads[level]
    # An upsampled voxel comes from one voxel.
    seen = [right_reach(spreads, level + 1, end // 2) for end in ends]
    seen += [left_reach(spreads, level, end) for end in ends]
    return min(first for first, _ in seen), max(last for _, last in seen)


def halo(spreads: Sequence[int]) -> int:
    """How many voxels away the farthest lies that any output voxel depends on."""
    reaches = [(place, *right_reach(spreads, 0, place)) for place in range(2 ** len(spreads))]
    return max(max(place - first, last - place) for place, first, last in reaches)
