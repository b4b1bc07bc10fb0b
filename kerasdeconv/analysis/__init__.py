"""What a network costs, how far it sees, and whether its upsampling leaves a pattern.

`costs` counts parameters, multiply-accumulates and the memory of the maps; `receptive_field` says
which pixels an answer depends on, and by how much tiles must overlap; `checkerboard` finds
upsampling layers that treat neighbouring pixels unequally. All three take any functional or
Sequential Keras model, in 1D, 2D and 3D.
"""

from kerasdeconv.analysis.checkerboard import Checkerboard, Pattern, UpsamplingLayer, checkerboard
from kerasdeconv.analysis.costs import Costs, LayerCosts, costs
from kerasdeconv.analysis.receptive_field import Field, ReceptiveField, receptive_field

__all__ = [
    "Checkerboard",
    "Costs",
    "Field",
    "LayerCosts",
    "Pattern",
    "ReceptiveField",
    "UpsamplingLayer",
    "checkerboard",
    "costs",
    "receptive_field",
]
