"""Rounds weights so that what a layer computes changes least, instead of each to the nearest step.

An integer kernel adds up thousands of rounded weights times what the layer reads. Neighbouring
pixels are alike, so that errors of one sign add up: in the zoo's ESPCN x2 most of the loss of int8
came from the first layer's weights. Here the weights are rounded one after the other, and
the error of each is made up for by those that are still to come, as far as what the layer reads is
correlated.

This is GPTQ (Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained
transformers", 2023), after optimal brain surgeon (Hassibi and Stork 1993), for convolutions. NumPy
alone.
"""

from __future__ import annotations

import numpy as np

from kerasdeconv.export.saturation import PAIR_LIMIT, WEIGHT_LIMIT

# Added to each input's energy, as a share of the mean: what the samples don't tell, no weight may
# rely on.
_DAMPING = 1e-3
_BLOCK = 128  # weights after which the making up reaches the far ones, all at once


def round_weights(
    weights: np.ndarray, inputs: np.ndarray, scales: np.ndarray, *, paired: bool = False
) -> np.ndarray:
    """Rounds the weights of linear outputs to whole steps, with the least error of the outputs.

    Args:
        weights: (inputs, outputs).
        inputs: Examples of what the outputs are computed from, (examples, inputs).
        scales: Step of each output, (outputs,).
        paired: Whether neighbours of one sign may add up to 128 at most, see `saturation`.

    Returns:
        Whole numbers from -127 to 127, float64, (inputs, outputs). What an output's scale comes
        from, its largest weight or pair, is rounded to the nearest, and so keeps the scale.
    """
    steps = weights.astype(np.float64) / scales
    fixed = _deciding(steps, paired)
    energy = (inputs.T @ inputs).astype(np.float64) / len(inputs)
    # Not every BLAS makes it symmetric to the last digit, and its inverse enlarges that.
    energy = (energy + energy.T) / 2
    # The strongest inputs first, while there are many others to make up for them.
    order = np.argsort(-np.diag(energy), kind="stable")
    influence = _influence(energy[np.ix_(order, order)])
    return _rounded(steps, fixed, influence, order, paired)


def _deciding(steps: np.ndarray, paired: bool) -> np.ndarray:
    """The whole numbers of the weights that scales come from; NaN for all others."""
    sizes = np.abs(steps)
    fixed = np.where(sizes >= sizes.max(axis=0) * (1 - 1e-6), np.rint(steps), np.nan)
    if not paired:
        return fixed
    even = len(steps) - len(steps) % 2
    first, second = steps[0:even:2], steps[1:even:2]
    sums = np.where(first * second > 0, np.abs(first + second), 0)
    decide = sums >= PAIR_LIMIT * (1 - 1e-6)
    whole = np.rint(first)
    fixed[0:even:2][decide] = whole[decide]
    fixed[1:even:2][decide] = (np.sign(second) * PAIR_LIMIT - whole)[decide]
    return fixed


def _influence(energy: np.ndarray) -> np.ndarray:
    """How an error of one weight is made up for by the later ones: an upper triangle."""
    damping = _DAMPING * np.mean(np.diag(energy)) or 1.0
    inverse = np.linalg.inv(energy + damping * np.eye(len(energy)))
    return np.linalg.cholesky(inverse).T


def _rounded(
    steps: np.ndarray, fixed: np.ndarray, influence: np.ndarray, order: np.ndarray, paired: bool
) -> np.ndarray:
    """Rounds row after row, in an order, and passes on the errors."""
    rounded = np.zeros_like(steps)
    steps = steps[order]
    for start in range(0, len(steps), _BLOCK):
        end = min(start + _BLOCK, len(steps))
        block = steps[start:end]
        errors = np.empty_like(block)
        for i in range(end - start):
            here = order[start + i]
            low, high = -WEIGHT_LIMIT, WEIGHT_LIMIT
            if paired and here ^ 1 < len(rounded):  # 0 as long as the neighbour is not rounded
                neighbour = rounded[here ^ 1]
                low = np.maximum(low, -PAIR_LIMIT - np.minimum(neighbour, 0))
                high = np.minimum(high, PAIR_LIMIT - np.maximum(neighbour, 0))
            nearest = np.clip(np.rint(block[i]), low, high)
            rounded[here] = np.where(np.isnan(fixed[here]), nearest, fixed[here])
            row = influence[start + i, start:end]
            errors[i] = (block[i] - rounded[here]) / row[i]
            block[i + 1 :] -= row[i + 1 :, None] * errors[i]
        steps[end:] -= influence[start:end, end:].T @ errors
    return rounded
