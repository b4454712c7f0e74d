"""The pixels themselves, in [0, 1]: for tiny images, where neighbours in pixels mean something."""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Features [B, H W C] of images, whose values are divided by 255.

    >>> import numpy as np
    >>> Pixels().apply(None, np.full((1, 1, 2, 1), 51, np.uint8))["features"].tolist()
    [[0.20000000298023224, 0.20000000298023224]]
    """

    on_device = True
    constants = None
    identity = {}

    def apply(self, constants, images):
        """See metrics.features.feature.Feature."""
        return {"features": flat(images)}

    def refusal(self, height, width, channels):
        """None: any images have pixels."""
        return None


def flat(images):
    """[B, H W C] float32 in [0, 1] of images [B, H, W, C] of 0..255."""
    return jnp.reshape(jnp.asarray(images, jnp.float32), (len(images), -1)) / 255
