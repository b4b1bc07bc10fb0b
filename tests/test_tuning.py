"""The chooser: measures what it should, remembers it, and falls back on the profile."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import runtime
from kerasdeconv.export import timing, tuning
from kerasdeconv.export.lowering import FAMILIES, apply_foldings, fix_shapes
from kerasdeconv.export.lowering.rewrites import choose, least_work
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.graph import Graph, build, read

L = keras.layers
FORMS = ("keep", "joint", "split", "rows")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASDECONV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def convert(model, sample, path):
    path = path.with_suffix(".tflite")
    path.write_bytes(to_tflite(model))
    return path


def meter(files, sample):
    return timing.medians([runtime.open(file) for file in files], sample, 3)[0]


def chooser(convert=convert, meter=meter, key="here"):
    return tuning.Chooser(least_work(16), convert, meter, key, tile=16)


def network(kernel=4, filters=8, name="up") -> Graph:
    image = keras.Input((8, 8, 16))
    layer = L.Conv2DTranspose(filters, kernel, 2, padding="same", activation="relu", name=name)
    graph = read(random_weights(keras.Model(image, layer(image))))
    fix_shapes(graph, [(1, 8, 8, 16)])
    apply_foldings(graph)
    return graph


def forms(family, node):
    return FORMS if family.name == "transposed_convolution" else ("keep",)


def test_the_fastest_is_picked():
    tuner = chooser(meter=lambda files, sample: [{"rows": 1.0}.get(f.stem, 2.0) for f in files])
    choose(network(), FAMILIES, forms, tuner.pick)
    (choice,) = tuner.choices
    assert (choice.layer, choice.form, choice.source) == ("up", "rows", "measured")
    assert choice.milliseconds["keep"] == 2.0


def test_every_form_is_really_run():
    tuner = chooser()
    choose(network(), FAMILIES, forms, tuner.pick)
    times = tuner.choices[0].milliseconds
    assert {"keep", "split", "rows"} <= set(times)
    assert all(0 < value < 1000 for value in times.values())


def test_forms_compute_the_same_where_they_stand():
    """What is timed is the site in its form, not something else."""
    answers = []
    sample = np.random.default_rng(0).normal(size=(1, 8, 8, 16)).astype(np.float32)

    def look(files, _):
        answers.extend(runtime.open(file).run(sample)[0] for file in files)
        return [1.0] * len(files)

    choose(network(), FAMILIES, forms, chooser(meter=look).pick)
    assert len(answers) >= 3
    for other in answers[1:]:
        # Sums of 64 products around 1, in another order.
        np.testing.assert_allclose(other, answers[0], rtol=0, atol=1e-5)


def test_hopeless_forms_are_not_tried():
    """Split to one channel: nine tiles of which a single column is used."""
    graph = network(kernel=6, filters=1)
    tuner = chooser(meter=lambda files, sample: [1.0] * len(files))
    choose(graph, FAMILIES, forms, tuner.pick)
    assert "split" not in tuner.choices[0].milliseconds


def test_remembered(cache):
    calls = []

    def count(files, sample):
        calls.append(len(files))
        return [float(i) for i in range(len(files))]

    first = chooser(meter=count)
    choose(network(), FAMILIES, forms, first.pick)
    second = chooser(meter=count)
    choose(network(name="another"), FAMILIES, forms, second.pick)
    assert len(calls) == 1
    assert second.choices[0].source == "remembered"
    assert second.choices[0].milliseconds == first.choices[0].milliseconds
    assert [path.name for path in cache.iterdir()] == ["tuning.json"]


@pytest.mark.parametrize("other", ["key", "shape", "kernel"])
def test_what_a_memory_depends_on(other):
    calls = []

    def count(files, sample):
        calls.append(files)
        return [1.0] * len(files)

    choose(network(), FAMILIES, forms, chooser(meter=count).pick)
    changed = network(kernel=5) if other == "kernel" else network()
    if other == "shape":
        changed = network(filters=9)
    key = "elsewhere" if other == "key" else "here"
    choose(changed, FAMILIES, forms, chooser(meter=count, key=key).pick)
    assert len(calls) == 2


@pytest.mark.parametrize("content", ["{", "[1]", '{"x": 3}', ""])
def test_a_damaged_memory_counts_as_empty(cache, content):
    cache.mkdir()
    (cache / "tuning.json").write_text(content)
    tuner = chooser(meter=lambda files, sample: [1.0] * len(files))
    choose(network(), FAMILIES, forms, tuner.pick)
    assert tuner.choices[0].source == "measured"
    assert json.loads((cache / "tuning.json").read_text())


def test_without_a_converter_the_profile_decides():
    tuner = chooser(convert=None)
    choose(network(kernel=2), FAMILIES, forms, tuner.pick)
    assert tuner.choices[0].source == "profile"
    assert tuner.choices[0].form == "joint"


def test_the_network_is_left_as_it_was():
    """Timing builds models of the site; the chosen nodes still go into the network."""
    graph = network()
    choose(graph, FAMILIES, forms, chooser().pick)
    model = build(graph, [(1, 8, 8, 16)], "net")
    sample = np.random.default_rng(0).normal(size=(1, 8, 8, 16)).astype(np.float32)
    expected = build(network(), [(1, 8, 8, 16)], "kept")(sample)
    np.testing.assert_allclose(model(sample), expected, rtol=0, atol=1e-5)


def test_the_key_names_versions_and_processor():
    key = tuning.machine_key("android-cpu", "int8")
    assert key.startswith("android-cpu int8 ")
    assert "ai-edge-litert" in key
    assert tuning.processor() in key
