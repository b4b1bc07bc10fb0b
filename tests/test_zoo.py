"""Cards, listing, loading, new heads, and freezing."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdeconv import analysis, models, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.errors import AnalysisError, UnknownModel, WeightsError
from kerasdeconv.zoo import cards, store
from kerasdeconv.zoo.cards import ExportedFile, Metric, WeightsFile

NAMES = zoo.list_models()

TINY = """
title = "Tiny"  # a comment that stays
summary = "For the tests."
builder = "UNet"
default = true
parameters = 100

[paper]
title = "None"
url = "https://example.org"

[arguments]
input_shape = ["none", "none", 3]
classes = 1
width = 2
depth = 1
padding = "same"
norm = "batch"

[convention]
task = "segmentation"
color = "rgb"
value_range = [0.0, 255.0]
output = "probabilities"
labels = ["background", "thing"]
halo = 10

[export]
size = [16, 16]
"""


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {v.path: v.numpy() for v in model.weights}


def shuffle(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight a value that no initializer gives."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype("float32"))
    return model


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one trained entry `tiny.first` and one untrained `tiny.second`."""
    monkeypatch.setattr(cards, "_FOLDER", tmp_path)
    monkeypatch.setattr(store, "_BUNDLED", tmp_path)
    path = tmp_path / "tiny.first.toml"
    path.write_text(TINY)
    (tmp_path / "tiny.second.toml").write_text(TINY.replace("default = true", "default = false"))
    weights = zoo.save_weights(shuffle(zoo.load("tiny", weights=None)), tmp_path / "tiny.npz")
    content = weights.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    cards.update_card(path, weights=WeightsFile(digest, len(content), file="tiny.npz"))
    return weights


class TestListing:
    @pytest.mark.parametrize("name", ["unet.nuclei", "unet.paper", "espcn_x3"])
    def test_entries(self, name: str) -> None:
        assert name in zoo.list_models()

    def test_default_tag_first(self) -> None:
        assert zoo.list_models("unet*")[0] == "unet.nuclei"

    def test_filters(self) -> None:
        espcn = ["espcn_x2", "espcn_x3", "espcn_x4"]
        assert zoo.list_models("espcn*") == espcn
        assert zoo.list_models(["espcn_x[24]", "unet.paper"]) == [*espcn[::2], "unet.paper"]
        assert zoo.list_models("espcn*", exclude="*x3") == espcn[::2]
        assert zoo.list_models("espcn*", exclude=["*x3", "*x4"]) == espcn[:1]
        assert zoo.list_models("unet") == ["unet.nuclei"]
        assert zoo.list_models("nothing*") == []
        assert set(espcn) <= set(zoo.list_models(task="super-resolution"))
        assert "unet.nuclei" not in zoo.list_models(task="super-resolution")
        assert "unet.paper" in zoo.list_models(pretrained=False)
        assert "unet.paper" not in zoo.list_models(pretrained=True)
        assert set(NAMES) == {*zoo.list_models(pretrained=True), *zoo.list_models(pretrained=False)}

    def test_unknown_task(self) -> None:
        with pytest.raises(ValueError, match=r"Did you mean 'segmentation' or .* Received: 'segm"):
            zoo.list_models(task="segmentations")

    def test_needs_neither_keras_nor_numpy(self) -> None:
        program = (
            "import sys, kerasdeconv\n"
            "assert kerasdeconv.zoo.list_models()\n"
            "assert kerasdeconv.zoo.card('unet').name == 'unet.nuclei'\n"
            "print({'keras', 'tensorflow', 'numpy', 'pooch', 'requests'} & set(sys.modules))"
        )
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == "set()"


class TestCards:
    @pytest.mark.parametrize(
        "name",
        [
            # Hundreds of megabytes of weights take their time.
            pytest.param(name, marks=[pytest.mark.slow] * (zoo.card(name).parameters > 35e6))
            for name in NAMES
        ],
    )
    def test_says_what_the_network_is(self, name: str) -> None:
        card = zoo.card(name)
        model = zoo.load(
            name, weights=None, input_shape=(*card.export_size, card.arguments["input_shape"][-1])
        )
        # `python zoo/count.py` writes what is counted here.
        counted = analysis.costs(model)
        assert (counted.trainable, counted.macs) == (card.parameters, card.macs)
        try:
            assert analysis.receptive_field(model).halo == card.convention.halo
        except AnalysisError:
            assert card.convention.halo is None
        assert card.builder in models.__all__
        channels = {"rgb": 3, "gray": 1, "y": 1}.get(card.convention.color or "")
        assert channels in (None, model.inputs[0].shape[-1])
        if card.convention.scale > 1:
            expected = tuple(side * card.convention.scale for side in card.export_size)
            assert model.outputs[0].shape[1:-1] == expected
        if card.convention.labels:
            assert len(card.convention.labels) == max(2, model.outputs[0].shape[-1])

    def test_trained_weights_load_in_full(self) -> None:
        for name in zoo.list_models(pretrained=True):
            assert zoo.reinitialized(zoo.load(name)) == ()
            assert zoo.card(name).metrics
            assert zoo.card(name).data

    def test_one_default_tag(self) -> None:
        for model in {zoo.card(name).model for name in NAMES if "." in name}:
            tags = [zoo.card(name) for name in NAMES if name.startswith(f"{model}.")]
            assert sum(card.default for card in tags) == 1

    def test_arguments_are_python_values(self) -> None:
        card = zoo.card("unet.nuclei")
        assert card.arguments["input_shape"] == (None, None, 3)
        assert card.convention == Convention(
            task="segmentation",
            color="rgb",
            value_range=(0.0, 255.0),
            output="probabilities",
            labels=("background", "nucleus"),
            halo=card.convention.halo,
        )
        with pytest.raises(dataclasses.FrozenInstanceError):
            card.title = "other"  # type: ignore[misc]
        assert hash(card) == hash(zoo.card("unet"))
        assert card.to_dict()["task"] == "segmentation"

    @pytest.mark.parametrize(
        ("wrong", "near"), [("unte", "'unet'"), ("unet.nucleus", "'unet.nuclei'"), ("zzz", "Known")]
    )
    def test_unknown_names_suggest_close_ones(self, wrong: str, near: str) -> None:
        for function in (zoo.card, zoo.load):
            with pytest.raises(UnknownModel, match=f"{near}.* Received: '{wrong}'"):
                function(wrong)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("title = ", "Not a card"),
            (TINY.replace('builder = "UNet"', ""), "builder"),
            (TINY.replace("[arguments]", "[argument]"), "lacks the field 'arguments'"),
            (TINY + "\n[data]\nname = 'x'\nlicense = 'y'", "license"),
            (TINY.replace('"segmentation"', '"segment"'), "task must be one of"),
        ],
    )
    def test_a_wrong_card_is_refused(self, tmp_path: Path, text: str, reason: str) -> None:
        path = tmp_path / "wrong.toml"
        path.write_text(text)
        with pytest.raises(ValueError, match=f"{reason}.*Received: '.*wrong.toml'"):
            cards.read_card(path)

    def test_update_keeps_what_was_written_by_hand(self, tmp_path: Path) -> None:
        path = tmp_path / "tiny.toml"
        path.write_text(TINY)
        weights = WeightsFile("ab" * 32, 12, url="https://example.org/größe.npz")
        metric = Metric("IoU", 0.91, "float32", "keras", 'the "x" set', "kerasdeconv evaluate")
        files = (ExportedFile("int8", "tflite", 12, 1.5), ExportedFile("int8", "onnx", 13))
        cards.update_card(path, weights=weights, metrics=[metric, metric], files=files)
        other = dataclasses.replace(metric, value=0.9)
        card = cards.update_card(path, metrics=[other])
        assert (card.weights, card.metrics, card.files) == (weights, (other,), files)
        assert path.read_text().startswith(TINY.rstrip())
        assert list(tmp_path.iterdir()) == [path]

    def test_update_refuses_what_it_would_lose(self, tmp_path: Path) -> None:
        path = tmp_path / "tiny.toml"
        path.write_text(TINY + "[weights]\nfile = 'a.npz'\nsha256 = 'ab'\nsize_bytes = 1\n")
        with pytest.raises(ValueError, match="must come last"):
            cards.update_card(path, metrics=[])


class TestLoading:
    def test_never_random_weights_in_silence(self, tiny: Path) -> None:
        with pytest.raises(WeightsError, match=r"'tiny\.second' has no trained weights: pass w"):
            zoo.load("tiny.second")
        model = zoo.load("tiny.second", weights=None)
        assert model.name == "tiny_second"
        assert zoo.card_of(model) == zoo.card("tiny.second")

    def test_default_weights(self, tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
        model = zoo.load("tiny")
        assert model.name == "tiny"
        expected = values(shuffle(models.UNet(**zoo.card("tiny").arguments)))
        for path, value in values(model).items():
            # Half a unit in the last place of float16, for values in [0.5, 1.5].
            np.testing.assert_allclose(value, expected[path], rtol=0, atol=2**-11, err_msg=path)
        assert zoo.card_of(model) == zoo.card("tiny.first")
        assert zoo.convention_of(model) == zoo.card("tiny").convention
        assert zoo.reinitialized(model) == ()
        assert not caplog.records

    def test_a_model_from_elsewhere_has_no_card(self) -> None:
        model = models.ESPCN()
        assert zoo.card_of(model) is None
        assert zoo.convention_of(model) is None
        assert zoo.reinitialized(model) == ()

    def test_new_head(self, tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
        trained = values(zoo.load("tiny"))
        with caplog.at_level(logging.WARNING, logger="kerasdeconv"):
            model = zoo.load("tiny", classes=3)
        assert zoo.reinitialized(model) == ("head",)
        [record] = caplog.records
        assert record.getMessage() == (
            "tiny.first with classes=3: these layers have no trained weights: head"
        )
        for path, value in values(model).items():
            if not path.startswith("head/"):
                np.testing.assert_array_equal(value, trained[path], err_msg=path)
        convention = zoo.convention_of(model)
        assert convention is not None
        assert convention.labels == ("class 0", "class 1", "class 2")
        assert convention.halo == 10  # a head sees one pixel

    def test_the_cards_own_arguments_change_nothing(
        self, tiny: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = zoo.load("tiny", classes=1, input_shape=(None, None, 3), activation="relu")
        assert zoo.convention_of(model) == zoo.card("tiny").convention
        assert not caplog.records

    def test_changed_arguments_change_the_convention(self, tiny: Path) -> None:
        model = zoo.load("tiny", input_shape=(16, 16, 1), depth=2, head_activation=None)
        assert zoo.reinitialized(model)[0] == "encoder_0_0_conv"
        convention = zoo.convention_of(model)
        assert convention is not None
        assert (convention.color, convention.output, convention.halo) == ("gray", "logits", 23)

    def test_another_scale(self) -> None:
        convention = zoo.convention_of(zoo.load("espcn_x3", scale=2, weights=None))
        assert convention is not None
        assert convention.scale == 2

    def test_unit_range(self) -> None:
        model = zoo.load("espcn_x3", include_rescaling=False, weights=None)
        convention = zoo.convention_of(model)
        assert convention is not None
        assert convention.value_range == (0.0, 1.0)
        assert convention.output == "tensor"

    def test_weights_of_ones_own(self, tiny: Path, tmp_path: Path) -> None:
        model = shuffle(models.UNet(**zoo.card("tiny").arguments), 1)
        path = zoo.save_weights(model, tmp_path / "own.npz")
        own, default = (zoo.load("tiny", weights=w) for w in (path, "default"))
        assert any((values(own)[k] != values(default)[k]).any() for k in values(own))

    def test_other_weights_need_to_be_asked_for(self, tiny: Path, tmp_path: Path) -> None:
        path = zoo.save_weights(zoo.load("tiny", classes=3), tmp_path / "own.npz")
        with pytest.raises(WeightsError, match="head/kernel is"):
            zoo.load("tiny", weights=path)
        assert zoo.reinitialized(zoo.load("tiny", classes=3, weights=path)) == ()

    def test_wrong_arguments(self) -> None:
        with pytest.raises(TypeError, match=r"ESPCN.*no such argument.* Received: 'classes'"):
            zoo.load("espcn_x3", classes=3)
        with pytest.raises(TypeError, match=r"Did you mean 'width'.* Received: 'widht'"):
            zoo.load("unet", widht=3)
        with pytest.raises(ValueError, match=r"nearest are 240 and 256.*Received: 250"):
            zoo.load("unet", weights=None, input_shape=(250, 250, 3))


class TestFreezing:
    @pytest.fixture
    def model(self, tiny: Path) -> keras.Model:
        return zoo.load("tiny", classes=3, input_shape=(16, 16, 3))

    def fit(self, model: keras.Model) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        before = values(model)
        rng = np.random.default_rng(0)
        model.compile("sgd", "sparse_categorical_crossentropy")
        pixels = rng.uniform(0, 255, (2, 16, 16, 3)).astype("float32")
        model.fit(pixels, rng.integers(0, 3, (2, 16, 16)), epochs=1, verbose=0)
        return before, values(model)

    def test_statistics_are_held(self, model: keras.Model) -> None:
        frozen = zoo.freeze(model, until="decoder_0_up")
        assert "encoder_0_0_norm" in frozen
        assert "decoder_0_up" not in frozen
        before, after = self.fit(model)
        for path, value in after.items():
            layer = path.split("/")[0]
            if layer in frozen:
                np.testing.assert_array_equal(value, before[path], err_msg=path)
        for path in ("decoder_0_0_norm/moving_mean", "decoder_0_0_norm/moving_variance"):
            assert (after[path] != before[path]).all(), path
        assert (after["head/kernel"] != before["head/kernel"]).any()

    def test_patterns(self, model: keras.Model) -> None:
        assert zoo.freeze(model, ["encoder_*_conv", "head"])[-1] == "head"
        assert not model.get_layer("encoder_0_1_conv").trainable
        assert model.get_layer("encoder_0_1_norm").trainable
        assert zoo.unfreeze(model, "head") == ("head",)
        assert model.get_layer("head").trainable
        assert not model.get_layer("encoder_0_1_conv").trainable

    def test_unfreezing_part_of_a_frozen_model(self, model: keras.Model) -> None:
        model.trainable = False
        zoo.unfreeze(model, "head")
        assert [v.path for v in model.trainable_weights] == ["head/kernel", "head/bias"]
        zoo.unfreeze(model)
        assert all(layer.trainable for layer in model.layers)

    def test_nothing_matches(self, model: keras.Model) -> None:
        with pytest.raises(ValueError, match=r"Did you mean .*'head'.*Received: 'haed'"):
            zoo.freeze(model, "haed")
        with pytest.raises(ValueError, match=r"no such layer.*'bottom.*Received: 'bottom'"):
            zoo.freeze(model, until="bottom")
