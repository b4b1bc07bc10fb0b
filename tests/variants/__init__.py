"""Variants of every builder, one module a family.

A new builder has its entries in a module here: `VARIANTS`, and `MISTAKES` with what their messages
say (builder, arguments, pattern).
"""

import importlib
import pkgutil

from contract import Mistakes, Variant

VARIANTS: dict[str, Variant] = {}
MISTAKES: Mistakes = []

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    _family = importlib.import_module(_module.name)
    VARIANTS |= _family.VARIANTS
    MISTAKES += _family.MISTAKES
