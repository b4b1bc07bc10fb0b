"""Training from a recipe: `run(read_recipe(path), data=..., out=...)`."""

from kerasdeconv.train.adversarial import Adversarial, TwoOptimizers
from kerasdeconv.train.recipe import Recipe, read_recipe
from kerasdeconv.train.run import run
from kerasdeconv.train.statistics import estimate_statistics

__all__ = [
    "Adversarial",
    "Recipe",
    "TwoOptimizers",
    "estimate_statistics",
    "read_recipe",
    "run",
]
