"""Features of images: what metrics compare in the place of pixels.

`FEATURES` is the table; each is a frozen dataclass of the fields of the subtree `eval.features` that it has.
It is given images in bytes, 0..255, and says in `identity` what tells its numbers from another's; see
`metrics.features.feature.Feature`. Weights are read elsewhere (evaluation/features.py) and handed over.
"""

from metrics.features.dinov2 import DINOv2
from metrics.features.function import Function
from metrics.features.inception import Inception
from metrics.features.pixels import Pixels
from metrics.features.principal_components import PrincipalComponents

FEATURES = {
    "inception": Inception,
    "dinov2": DINOv2,
    "pixels": Pixels,
    "principal_components": PrincipalComponents,
    "function": Function,
}
