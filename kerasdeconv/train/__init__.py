"""Training from a recipe: `run(read_recipe(path), data=..., out=...)`."""

from kerasdeconv.train.recipe import Recipe, read_recipe
from kerasdeconv.train.run import run

__all__ = ["Recipe", "read_recipe", "run"]
