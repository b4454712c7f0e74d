"""Features of FID's Inception-v3, with the resizing of one of the tools."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from metrics.features.feature import three_channels
from metrics.features.inception_v3 import LAYERS, LEAST_SIDE, InceptionV3
from metrics.features.resizing import RESIZINGS


@dataclasses.dataclass(frozen=True, eq=False)
class Inception:
    """The means of one of Inception's maps, and what else the metrics take from it.

    Attributes:
      weights: path of the file, or None: that of the package; whoever reads it hands over `parameters`.
      resize: name of one of metrics.features.resizing.RESIZINGS.
      layer: channels of the map: 2048 is FID's.
      spatial: whether sFID's features are kept, too.
      parameters: of metrics.features.inception_v3.InceptionV3.
    """

    weights: str | None = None
    resize: str = "tf1"
    layer: int = 2048
    spatial: bool = False
    parameters: Any = None

    on_device = True

    def __post_init__(self):
        for field, known in (("resize", tuple(RESIZINGS)), ("layer", LAYERS)):
            if getattr(self, field) not in known:
                raise ValueError(f"{field}={getattr(self, field)!r} is none of {', '.join(map(str, known))}")

    @property
    def identity(self):
        """See metrics.features.feature.Feature."""
        return {"resize": self.resize, "layer": self.layer}

    @property
    def constants(self):
        """The network's parameters."""
        return self.parameters

    def apply(self, constants, images):
        """See metrics.features.feature.Feature; grey is repeated in three channels."""
        x = RESIZINGS[self.resize](images)
        if x.shape[-1] == 1:
            x = jnp.repeat(x, 3, -1)
        classes = constants["fc"]["kernel"].shape[-1] if "fc" in constants else 0
        taps = InceptionV3(classes).apply({"params": constants}, x)
        found = {"features": taps[str(self.layer)]}
        if classes and self.layer == 2048:
            found["logits"] = taps["logits"]
        if self.spatial:
            found["spatial"] = taps["spatial"]
        return found

    def refusal(self, height, width, channels):
        """See metrics.features.feature.Feature."""
        if self.resize == "none" and min(height, width) < LEAST_SIDE:
            return (
                f'images of {height}x{width} are too small for resize="none": {LEAST_SIDE} is the least side'
            )
        return three_channels(channels)
