"""Training from a recipe: `run(read_recipe(path), data=..., out=...)`."""

from kerasdeconv.train.recipe import Recipe, read_recipe
from kerasdeconv.train.run import run
from kerasdeconv.train.statistics import estimate_statistics

__all__ = ["Recipe", "estimate_statistics", "read_recipe", "run"]
