"""Weights files: round trips, what does not fit, and what is damaged."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdeconv import models, zoo
from kerasdeconv.errors import WeightsError


def values(model: keras.Model) -> dict[str, np.ndarray]:
    return {v.path: v.numpy() for v in model.weights}


def shuffle(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight a value that no initializer gives."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype("float32"))
    return model


@pytest.fixture
def model() -> keras.Model:
    return shuffle(models.UNet((None, None, 1), width=2, depth=1, norm="batch", name="a"))


def other_model(**arguments: object) -> keras.Model:
    return models.UNet(
        **({"input_shape": (None, None, 1), "width": 2, "depth": 1, "norm": "batch"} | arguments)
    )


def test_round_trip(model: keras.Model, tmp_path: Path) -> None:
    path = zoo.save_weights(model, tmp_path / "new" / "w.npz")
    assert list(path.parent.iterdir()) == [path]
    other = other_model()
    assert zoo.load_weights(other, path) == ()
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == {v.path for v in other.weights}
        for variable in model.weights:
            stored, value = archive[variable.path], variable.numpy()
            assert stored.dtype == ("float16" if value.ndim > 1 else "float32"), variable.path
            np.testing.assert_array_equal(
                values(other)[variable.path], value.astype(stored.dtype).astype("float32")
            )


def test_same_weights_same_bytes(model: keras.Model, tmp_path: Path) -> None:
    first, second = (zoo.save_weights(model, tmp_path / f"{i}.npz") for i in "ab")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("factor", [1e6, 1e-7])
def test_float16_only_where_it_is_harmless(
    model: keras.Model, tmp_path: Path, factor: float
) -> None:
    kernel = model.get_layer("head").kernel
    kernel.assign(kernel * factor)
    path = zoo.save_weights(model, tmp_path / "w.npz")
    other = other_model()
    zoo.load_weights(other, path)
    np.testing.assert_array_equal(values(other)["head/kernel"], kernel.numpy())


def test_bfloat16_survives(tmp_path: Path) -> None:
    layer = keras.layers.Dense(2, dtype="bfloat16", name="dense")
    model = keras.Sequential([keras.Input((3,)), layer], name="s")
    path = zoo.save_weights(model, tmp_path / "w.npz")
    before = {k: v.astype("float32") for k, v in values(model).items()}
    shuffle(model)
    zoo.load_weights(model, path)
    for key, value in values(model).items():
        np.testing.assert_array_equal(value.astype("float32"), before[key])


def test_strict(model: keras.Model, tmp_path: Path) -> None:
    path = zoo.save_weights(model, tmp_path / "w.npz")
    other = other_model(classes=3)
    before = values(other)
    with pytest.raises(WeightsError) as caught:
        zoo.load_weights(other, path)
    message = str(caught.value)
    assert "head/kernel is (1, 1, 2, 2) in the file and (1, 1, 2, 3) in the model" in message
    assert "head/bias is (2,)" in message
    assert "more" not in message
    assert message.endswith(f"Received: {str(path)!r}")
    for key, value in values(other).items():
        np.testing.assert_array_equal(value, before[key])


def test_strict_about_surplus_and_lack(model: keras.Model, tmp_path: Path) -> None:
    large = other_model(block="residual", padding="same")
    path = zoo.save_weights(model, tmp_path / "w.npz")
    with pytest.raises(WeightsError, match=r"shortcut_conv/kernel is not in the file.*more\)"):
        zoo.load_weights(large, path)
    zoo.save_weights(large, path)
    with pytest.raises(WeightsError, match=r"shortcut_conv/kernel is not in the model"):
        zoo.load_weights(model, path)


def test_partial(model: keras.Model, tmp_path: Path) -> None:
    path = zoo.save_weights(model, tmp_path / "w.npz")
    other = other_model(classes=3)
    before = values(other)
    assert zoo.load_weights(other, path, partial=True) == ("head",)
    for key, value in values(other).items():
        same = np.array_equal(value, before[key])
        assert same == key.startswith("head/"), key


@pytest.mark.parametrize("partial", [False, True])
def test_nothing_fits(model: keras.Model, tmp_path: Path, partial: bool) -> None:
    path = zoo.save_weights(models.ESPCN(), tmp_path / "w.npz")
    with pytest.raises(WeightsError, match="of another network"):
        zoo.load_weights(model, path, partial=partial)


@pytest.mark.parametrize("damage", ["truncated", "random", "empty", "npy", "pickle", "bits"])
def test_damaged_files(model: keras.Model, tmp_path: Path, damage: str) -> None:
    path = zoo.save_weights(model, tmp_path / "w.npz")
    content = path.read_bytes()
    if damage == "npy":
        np.save(path.with_suffix(".npy"), np.zeros(3))
        path.with_suffix(".npy").rename(path)
    elif damage == "pickle":
        np.savez(path, **{v.path: np.array([{}], dtype=object) for v in model.weights})
    else:
        middle = content[len(content) // 3 :]
        flipped = content[: len(content) // 3] + bytes(255 - b for b in middle[:40])
        path.write_bytes(
            {
                "truncated": content[: len(content) // 2],
                "random": np.random.default_rng(0).bytes(1000),
                "empty": b"",
                "bits": flipped + middle[40:],
            }[damage]
        )
    with pytest.raises(WeightsError, match=r"^Not a readable .*Received: '.*w\.npz'$"):
        zoo.load_weights(model, path)


def test_missing_file(model: keras.Model, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No such weights file"):
        zoo.load_weights(model, tmp_path / "w.npz")


def test_unwritable(model: keras.Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="Cannot write"):
        zoo.save_weights(model, tmp_path / "file" / "w.npz")
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        zoo.save_weights(model, tmp_path / "w.h5")
