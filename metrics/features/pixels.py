"""The pixels themselves, in [0, 1]: for tiny images, where neighbours in pixels mean something."""

import dataclasses
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Features [B, H W C] of images, whose values are divided by 255.

    >>> Pixels().apply(None, np.array([[[[0], [255]]]], np.uint8))["features"].tolist()
    [[0.0, 1.0]]
    """

    on_device = True
    constants = None
    identity = MappingProxyType({})

    def apply(self, constants, images):
        """See metrics.features.feature.Feature."""
        return {"features": flat(images)}

    def refusal(self, height, width, channels):
        """None: any images have pixels."""
        return None


def flat(images):
    """[B, H W C] float32 in [0, 1] of images [B, H, W, C] of 0..255."""
    return jnp.reshape(jnp.asarray(images, jnp.float32), (np.shape(images)[0], -1)) / 255
