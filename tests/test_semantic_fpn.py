"""SemanticFPN: the paper's numbers and steps."""

from __future__ import annotations

import keras
import pytest

from kerasdeconv import models
from kerasdeconv.models.semantic_fpn import semantic_branch

SMALL = {"encoder": "small", "encoder_width": 2, "channels": 8}


def count(model: keras.Model, *starts: str) -> int:
    return sum(x.count_params() for x in model.layers if x.name.startswith(starts))


def test_the_papers_head():
    """3 + 2 + 1 + 1 convolutions of 3 x 3 with GroupNorm, and 54 classes, on 256 channels."""
    sides = (64, 32, 16, 8)
    pyramid = [keras.Input((side, side, 256)) for side in sides]
    x = semantic_branch(pyramid)
    assert x.shape == (None, 64, 64, 128)
    model = keras.Model(pyramid, keras.layers.Conv2D(54, 1)(x))
    assert model.count_params() == 1_630_774
    convolutions = [x.name for x in model.layers if x.name.endswith("_conv")]
    per_level = {p: sum(n.startswith(p) for n in convolutions) for p in ("p2", "p3", "p4", "p5")}
    assert per_level == {"p2": 1, "p3": 1, "p4": 2, "p5": 3}
    norms = [x for x in model.layers if isinstance(x, keras.layers.GroupNormalization)]
    assert len(norms) == 7 and {norm.groups for norm in norms} == {32}
    assert sum(isinstance(x, keras.layers.UpSampling2D) for x in model.layers) == 6


def test_the_whole_network():
    model = models.SemanticFPN((64, 96, 3), 54)
    assert model.output_shape == (None, 64, 96, 54)
    assert count(model, *(f"p{k}_semantic" for k in (2, 3, 4, 5)), "head") == 1_630_774
    assert count(model, *(f"p{k}" for k in (2, 3, 4, 5))) == 1_630_774 - 6_966 + 3_344_384


@pytest.mark.parametrize(("output_stride", "levels"), [(32, 4), (16, 3)])
def test_output_stride(output_stride, levels):
    model = models.SemanticFPN(**SMALL, output_stride=output_stride, width=8)
    assert len(model.get_layer("sum").input) == levels
    assert not any(x.name.startswith(f"p{levels + 2}") for x in model.layers)


@pytest.mark.parametrize(("width", "groups"), [(48, 16), (6, 2)])
def test_groups_divide_the_width(width, groups):
    model = models.SemanticFPN(**SMALL, width=width)
    assert model.get_layer("p2_semantic_0_norm").groups == groups
