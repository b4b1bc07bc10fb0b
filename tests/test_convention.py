"""The convention that travels from a card into a file and back."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from kerasdeconv.convention import Convention

FULL = Convention(
    task="segmentation",
    color="rgb",
    value_range=(0.0, 255.0),
    output="probabilities",
    labels=("background", "nucleus"),
    scale=1,
    halo=94,
)


@pytest.mark.parametrize("convention", [FULL, Convention()], ids=["full", "default"])
def test_round_trip_through_json(convention):
    read = Convention.from_dict(json.loads(json.dumps(convention.to_dict())))
    assert read == convention
    assert hash(read) == hash(convention)  # lists became tuples


def test_the_default_says_nothing():
    assert Convention().task == Convention().output == "tensor"
    assert (Convention().color, Convention().value_range, Convention().halo) == (None, None, None)


@pytest.mark.parametrize(
    ("field", "value", "valid"),
    [
        ("task", "segment", "segmentation"),
        ("task", None, "tensor"),
        ("color", "bgr", "rgb"),
        ("output", "softmax", "probabilities"),
    ],
)
def test_a_value_outside_its_set(field, value, valid):
    with pytest.raises(
        ValueError, match=rf"{field} must be one of .*'{valid}'.*Received: {value!r}$"
    ):
        Convention(**{field: value})


def test_an_unknown_field():
    with pytest.raises(ValueError, match=r"'color'.*Received: {'colour'}$"):
        Convention.from_dict({"task": "tensor", "colour": "rgb"})


def test_it_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.task = "tensor"


def test_needs_neither_keras_nor_numpy():
    program = (
        "import sys, kerasdeconv.convention\n"
        "print({'keras', 'tensorflow', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
