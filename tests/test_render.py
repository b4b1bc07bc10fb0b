import numpy as np
import pytest

from kerasdeconv.convention import Convention
from kerasdeconv.runtime import label_map, render

BINARY = Convention(
    task="segmentation", color="rgb", output="probabilities", labels=("background", "nucleus")
)
# Ground as in fluorescence, in stained tissue, and white.
GROUNDS = {
    "dark": (8, 8, 8),
    "pink": (225, 170, 200),
    "violet": (120, 80, 150),
    "white": (255,) * 3,
}


def disc(side=64, radius=20):
    rows, columns = np.mgrid[:side, :side]
    return (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < radius**2


def ground(color, side=64):
    return np.broadcast_to(np.array(color, np.uint8), (side, side, 3))


@pytest.mark.parametrize("color", GROUNDS.values(), ids=list(GROUNDS))
def test_an_outline_stands_out_on_any_ground(color):
    inside = disc()
    picture = ground(color)
    result = render(BINARY, picture, inside[..., None].astype(np.float32)).astype(int)
    assert result.shape == (64, 64, 3)
    changed = np.abs(result - picture).max(axis=-1)
    assert (changed[inside] >= 20).all()  # the whole region is tinted
    edge = inside & ~np.roll(inside, 1, axis=0)
    assert (changed[edge] >= 100).all()  # and its outline is another colour
    around = ~inside & np.roll(inside, 1, axis=0)
    assert (result[around] < 0.6 * picture[around]).all()  # set off by a dark line
    far = ~disc(radius=23)
    assert (changed[far] == 0).all()  # the rest is the picture itself


def test_each_class_has_a_colour_of_its_own():
    labels = np.repeat(np.arange(6), 8)[:, None].repeat(48, axis=1)
    names = ("background", "a", "b", "c", "d", "e")
    convention = Convention(task="segmentation", color="rgb", output="labels", labels=names)
    result = render(convention, np.full((48, 48), 90, np.uint8), labels)
    middles = result[4::8, 24].astype(int)
    np.testing.assert_array_equal(middles[0], (90, 90, 90))
    for i in range(6):
        for j in range(i):
            assert np.abs(middles[i] - middles[j]).max() >= 15


def test_label_0_is_tinted_where_it_is_no_background():
    convention = Convention(
        task="segmentation", color="rgb", output="labels", labels=("road", "sky", "tree")
    )
    result = render(convention, np.full((16, 16, 3), 90), np.zeros((16, 16), int))
    assert (result != 90).any(axis=-1).all()


@pytest.mark.parametrize(
    ("output", "answer", "expected"),
    [
        ("probabilities", [[[0.49], [0.5]]], [[0, 1]]),
        ("logits", [[[-0.1], [0.0]]], [[0, 1]]),
        ("probabilities", [[[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]], [[1, 2]]),
        ("labels", [[3, 0]], [[3, 0]]),
    ],
)
def test_label_map(output, answer, expected):
    convention = Convention(task="segmentation", output=output)
    np.testing.assert_array_equal(label_map(convention, np.array(answer)), expected)


def test_super_resolution_is_the_picture_itself():
    convention = Convention(task="super-resolution", color="y", output="pixels", scale=2)
    answer = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    np.testing.assert_array_equal(render(convention, answer[::2, ::2], answer), answer)
    gray = render(convention, answer[::2, ::2, 0], answer[..., 0])
    np.testing.assert_array_equal(gray, answer[..., :1].repeat(3, axis=-1))


def drawn(task, answer):
    answer = np.array(answer, np.float32)
    picture = np.zeros((*answer.shape[:2], 3), np.uint8)
    return render(Convention(task=task), picture, answer).tolist()


def test_the_nearest_is_white_and_the_farthest_black():
    # In nearness, 1 over the distance, 4 / 3 m lies halfway between 1 m and 2 m.
    assert drawn("depth", [[[1], [4 / 3], [2]]]) == [[[255] * 3, [128] * 3, [0] * 3]]
    assert drawn("disparity", [[[8], [6], [4]]]) == [[[255] * 3, [128] * 3, [0] * 3]]
    assert drawn("depth", [[[3], [3]]]) == [[[0] * 3] * 2]  # no division by the range of 0


def test_normals_are_colors():
    assert drawn("normals", [[[1, 0, 0], [0, 0, -1]]]) == [[[255, 128, 128], [128, 128, 0]]]


def test_flow_is_hue_by_direction_and_saturation_by_length():
    right, half, still, left = drawn("flow", [[[2, 0], [1, 0], [0, 0], [-2, 0]]])[0]
    assert (right, still) == ([255, 0, 0], [255, 255, 255])
    assert half[0] == 255
    np.testing.assert_allclose(half[1:], 127.5, atol=1)
    np.testing.assert_allclose(left, [0, 255, 255], atol=3)  # 8 bits of hue
    assert drawn("flow", [[[0, 0]]]) == [[[255, 255, 255]]]


def test_wrong_arguments():
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="as large as the picture"):
        render(BINARY, picture, np.zeros((8, 9, 1)))
    with pytest.raises(ValueError, match="Received: task 'tensor'"):
        render(Convention(), picture, np.zeros((8, 8, 1)))
    with pytest.raises(ValueError, match="must be"):
        render(BINARY, np.zeros((8, 8, 2)), np.zeros((8, 8, 1)))
