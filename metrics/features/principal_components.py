"""Coordinates along the directions in which the reference varies most: for tiny images.

With N examples in D dimensions a covariance has rank N - 1 at most; a Frechet distance of few coordinates
needs fewer examples than one of all pixels. The directions are those of the reference, so both sets are seen
in the same coordinates, and what generated images have beside these directions is not seen at all.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from metrics.features.pixels import flat

# A covariance of more pixels takes minutes to decompose, and gigabytes.
MOST_PIXELS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Features [B, dimensions]: pixels minus the reference's mean along its leading principal directions.

    Attributes:
      dimensions: how many of them.
      mean: [D]; directions: [D, dimensions], orthonormal; of `fitted`, None before.
    """

    dimensions: int = 64
    mean: np.ndarray | None = None
    directions: np.ndarray | None = None

    on_device = True

    def __post_init__(self):
        if self.dimensions < 1:
            raise ValueError(f"dimensions={self.dimensions} must be positive")

    @property
    def identity(self):
        """See metrics.features.feature.Feature; what it was fitted on is added where that is known."""
        return {"dimensions": self.dimensions}

    @property
    def constants(self):
        """The mean and directions, once it is fitted."""
        return None if self.mean is None else {"mean": self.mean, "directions": self.directions}

    def fitted(self, images):
        """The features whose directions are those of reference images [N, H, W, C] of 0..255.

            >>> images = np.random.default_rng(0).integers(0, 256, (50, 2, 2, 1), dtype=np.uint8)
            >>> PrincipalComponents(2).fitted(images).directions.shape
            (4, 2)

        Raises:
          ValueError: the images span fewer dimensions.
        """
        pixels = np.asarray(images, np.float64).reshape(len(images), -1) / 255
        most = min(pixels.shape[1], len(pixels) - 1)
        if self.dimensions > most:
            raise ValueError(
                f"dimensions={self.dimensions} is more than the {most} that {len(pixels)} images of "
                f"{pixels.shape[1]} pixels span"
            )
        mean = pixels.mean(0)
        deviations = pixels - mean
        directions = np.linalg.eigh(deviations.T @ deviations)[1][:, ::-1][:, : self.dimensions]
        # A direction has no sign of its own: the largest number of each is positive.
        largest = np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0)
        return self.with_constants(mean, directions * np.sign(largest))

    def with_constants(self, mean, directions):
        """The features of these directions, as `constants` has them."""
        return dataclasses.replace(
            self, mean=np.asarray(mean, np.float32), directions=np.asarray(directions, np.float32)
        )

    def apply(self, constants, images):
        """See metrics.features.feature.Feature."""
        deviations = flat(images) - constants["mean"]
        product = jnp.matmul(deviations, constants["directions"], precision=jax.lax.Precision.HIGHEST)
        return {"features": product}

    def refusal(self, height, width, channels):
        """See metrics.features.feature.Feature."""
        pixels = height * width * channels
        if pixels > MOST_PIXELS:
            return f"images of {pixels} numbers are too large for it: {MOST_PIXELS} is the most"
        if self.dimensions > pixels:
            return f"dimensions={self.dimensions} is more than the {pixels} pixels and channels of an image"
        return None
