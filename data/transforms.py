"""From pixels to the model's range and back.

A pixel with `pixel_values` values sits at the centre of its bin: v -> (v + 1/2) / levels in
(0, 1), and on to (-1, 1) if the data is centered. Uniform dequantization replaces the
1/2 by u ~ U[0, 1), so both live in the same range and `to_pixels` inverts both.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from data.augmentation import Augmentation
from sde_lib.noise import split, uniform


@dataclasses.dataclass(frozen=True)
class Transform:
    """The scaling of one experiment's images.

        >>> pixels = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
        >>> Transform(pixel_values=4).to_model(pixels).ravel().tolist()
        [-0.75, -0.25, 0.25, 0.75]

    Attributes:
      pixel_values: number of pixel values, at most 256.
      centered: data in [-1, 1] rather than [0, 1].
      random_flip: mirror half of the training images.
      dequantize: add uniform noise of one level in training.
      augmentation: probability of the changes of data/augmentation.py in training; 0: none.
    """

    pixel_values: int
    centered: bool = True
    random_flip: bool = False
    dequantize: bool = False
    augmentation: float = 0.0

    @property
    def range(self):
        """(low, high) of the model's data."""
        return (-1.0, 1.0) if self.centered else (0.0, 1.0)

    def _scale(self, bins):
        unit = bins / self.pixel_values
        return 2 * unit - 1 if self.centered else unit

    def to_model(self, images):
        """uint8 [B, H, W, C] -> float32 in the model's range, at the centres of the bins."""
        return self._scale(jnp.asarray(images, jnp.float32) + 0.5)

    def dequantized(self, keys, images):
        """uint8 [B, H, W, C] -> float32, uniform over each pixel's bin; keys [B]."""
        return self._scale(jnp.asarray(images, jnp.float32) + uniform(keys, images.shape[1:]))

    def training(self, keys, images):
        """What the network is trained on, with the config's augmentation; keys [B]."""
        flip_keys, noise_keys = split(keys)
        if self.random_flip:
            flip = uniform(flip_keys) < 0.5
            images = jnp.where(flip[:, None, None, None], images[:, :, ::-1], images)
        return self.dequantized(noise_keys, images) if self.dequantize else self.to_model(images)

    def augmented(self, keys, x):
        """Images [B, H, W, C] of `training`, augmented, and [B, 9] what was done to them, or None.

        Args:
          keys: [B], those that `training` was given.
        """
        if not self.augmentation:
            return x, None
        # `training` uses the first two.
        return Augmentation(self.augmentation)(split(keys, 3)[2], x)

    def to_pixels(self, x):
        """Float [B, H, W, C] in the model's range -> uint8, out-of-range values to the nearest level."""
        unit = (np.asarray(x) + 1) / 2 if self.centered else np.asarray(x)
        return np.clip(np.floor(unit * self.pixel_values), 0, self.pixel_values - 1).astype(np.uint8)
