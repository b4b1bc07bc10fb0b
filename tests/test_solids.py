"""Solid bodies: geometry by other ways, folders, and what is measured of them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from kerasdeconv import data
from kerasdeconv.data import solids
from kerasdeconv.data.solids import Solid, draw_solid, occupancy, render, surface_points
from kerasdeconv.errors import DataError
from kerasdeconv.train.kinds import make_datasets
from kerasdeconv.train.parts import solid_parts
from kerasdeconv.train.recipe import DataRecipe, read_recipe

ZOO = Path(__file__).parents[1] / "zoo"
EVERY = pytest.mark.parametrize("kind", solids.KINDS)


def drawn(kind: str, seed: int = 0) -> Solid:
    """A body of a kind, turned as any other."""
    rng = np.random.default_rng(seed)
    return Solid(solids.KINDS[kind](rng), draw_solid(rng).turn)


@EVERY
class TestGeometry:
    def test_inside_the_cube(self, kind):
        for seed in range(20):
            points = surface_points(np.random.default_rng(0), drawn(kind, seed), 200)
            assert np.linalg.norm(points, axis=-1).max() < 1

    def test_points_lie_on_the_surface(self, kind):
        """A little farther from the middle of a part is outside, and nearer inside, or beside."""
        body = drawn(kind)
        points = surface_points(np.random.default_rng(0), body, 500) @ body.turn
        values = [solids._values(part, points).max(axis=-1) for part in body.parts]
        np.testing.assert_allclose(np.min(values, axis=0), 0, atol=1e-9)

    def test_the_view_is_the_voxels_seen_from_in_front(self, kind):
        body = drawn(kind)
        seen = render(body, (64, 64)).max(axis=-1) > 0
        shadow = occupancy(body, 64).any(axis=0)
        # A ray meets what lies between the middles of two voxels, and edges are a pixel wide.
        assert (seen | ~shadow).all()
        assert (seen & ~shadow).sum() < 0.2 * seen.sum()

    def test_colours_are_directions(self, kind):
        """Red is lit from the left, green from the right, blue from below."""
        picture = render(drawn(kind), (48, 64))
        assert picture.shape == (48, 64, 3)
        lit = picture[picture.max(axis=-1) > 0]
        assert lit.min() >= round(255 * 0.15) and lit.max() > 150


def test_volumes():
    """Voxels fill what formulas say."""
    rng = np.random.default_rng(0)
    turn = draw_solid(rng).turn
    unit = np.array([[4, 4, 4, 0, -1]])  # a ball of radius 1/2
    ball = Solid((solids.Part(np.zeros(3), unit.astype(float)),), turn)
    box = Solid((solids._slabs(0.5, 0.4, 0.3),), turn)
    cone = drawn("cone")
    side, slab = cone.parts[0].rows
    radius, half = side[0] ** -0.5, slab[2] ** -0.5
    for body, volume in [
        (ball, 4 / 3 * math.pi * 0.5**3),
        (box, 0.5 * 0.4 * 0.3 * 8),
        (cone, math.pi * radius**2 * 2 * half / 3),
    ]:
        # A voxel's edge is a fiftieth of a body's.
        assert occupancy(body, 96).mean() * 8 == pytest.approx(volume, rel=0.02)


def test_points_are_spread_evenly():
    """Each pair of a box's sides has points by its area."""
    box = Solid((solids._slabs(0.5, 0.4, 0.3),), np.eye(3))
    points = surface_points(np.random.default_rng(0), box, 20_000)
    shares = np.isclose(np.abs(points), [0.5, 0.4, 0.3]).mean(axis=0)
    areas = np.array([0.4 * 0.3, 0.5 * 0.3, 0.5 * 0.4])
    # Of 20,000, three standard deviations are a hundredth.
    np.testing.assert_allclose(shares, areas / areas.sum(), atol=0.012)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return data.write_synthetic("solids", tmp_path_factory.mktemp("solids"), 5, seed=2)


class TestFolders:
    def test_round_trip(self, folder):
        views = data.read_solids(folder)
        body = draw_solid(np.random.default_rng([2, 3]))
        np.testing.assert_array_equal(views.view(3), render(body, (64, 64)))
        np.testing.assert_array_equal(views.target(3, "voxels")[..., 0], occupancy(body))
        points = views.target(3, "points") @ body.turn
        assert points.shape == (1024, 3)
        values = [solids._values(part, points).max(axis=-1) for part in body.parts]
        # Coordinates in two bytes, and quadrics as steep as 2 / radius.
        np.testing.assert_allclose(np.min(values, axis=0), 0, atol=0.02)
        picture = data.synthetic_samples("solids", 4, (64, 64), seed=2)[3]
        np.testing.assert_array_equal(views.pixels[3], picture)

    def test_batches(self, folder):
        views = data.read_solids(folder)
        training = data.SolidBatches(views, target="voxels", batch_size=3, seed=1)
        picture, voxels = training[0]
        assert picture.shape == (3, 64, 64, 3) and picture.max() > 100
        assert voxels.shape == (3, 32, 32, 32, 1) and set(np.unique(voxels)) == {0, 1}
        held = data.SolidBatches(views, target="points", batch_size=3, augment=False)
        np.testing.assert_array_equal(held[1][1][2], views.target(0, "points"))
        with pytest.raises(ValueError, match=r"'voxels', 'points'\)\. Received: 'mesh'$"):
            data.SolidBatches(views, target="mesh")

    def test_parts(self, folder):
        recipe = DataRecipe(kind="voxels", folders=(folder.name,), last=2)
        training, held = solid_parts(recipe, folder.parent)
        assert (len(training.pixels), len(held.points)) == (3, 2)
        np.testing.assert_array_equal(held.view(0), data.read_solids(folder).view(3))
        both = dataclasses.replace(recipe, validation_folders=(folder.name,))
        with pytest.raises(ValueError, match=r"last or validation_folders\. Received: 2 and "):
            solid_parts(both, folder.parent)
        training, held = solid_parts(dataclasses.replace(both, last=0), folder.parent)
        assert len(training.pixels) == len(held.pixels) == 5

    def test_a_recipes_batches(self, folder):
        """A committed recipe, on other folders: what is held is used whole, in its order."""
        recipe = read_recipe(ZOO / "voxelnet.shapes" / "recipe.toml")
        names = {"folders": (folder.name,), "validation_folders": (folder.name,)}
        small = dataclasses.replace(recipe.data, batch=2, **names)
        training, held = make_datasets(dataclasses.replace(recipe, data=small), folder.parent)
        assert (len(training), len(held)) == (recipe.data.steps, 2)
        views = data.read_solids(folder)
        np.testing.assert_array_equal(held[1][0][0], views.view(2))
        np.testing.assert_array_equal(held[1][1][1], views.target(3, "voxels"))

    def test_what_is_none(self, tmp_path):
        with pytest.raises(DataError, match=r"No such file\. Received: .*solids\.npz"):
            data.read_solids(tmp_path)
        np.savez(tmp_path / "solids.npz", x=np.zeros((2, 8, 8, 3)))
        with pytest.raises(DataError, match=r"x, voxels, points; voxels is missing\. Received: "):
            data.read_solids(tmp_path)
        parts = {"voxels": np.zeros((2, 4, 4, 1)), "points": np.zeros((3, 5, 3))}
        np.savez(tmp_path / "solids.npz", x=np.zeros((2, 8, 8, 3)), **parts)
        with pytest.raises(DataError, match=r"as many pictures, grids and clouds\. Received: "):
            data.read_solids(tmp_path)
