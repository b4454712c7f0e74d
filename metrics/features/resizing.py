"""How each tool for FID brings images to Inception's side 299, and to the range of its input.

Every one of these resizings is a matrix for each of the two axes, made here in float64: row i of the matrix
has the weights with which the pixels of the image make pixel i of the result. So images go to the device as
they are, in bytes. The tools differ, and so do the figures that they give for the same images: a name here is
part of a feature's identity, and features of two names are never compared.

name         filter                             range            tool
tf1          bilinear, corners at pixel 0       (x - 128) / 128  TTUR, torch-fidelity, StyleGAN, EDM
pytorch_fid  bilinear, centres at half pixels   2 x / 255 - 1    pytorch-fid
clean_fid    Pillow's bicubic, clipped          (x - 128) / 128  clean-fid (Parmar et al. 2022)
none         images keep their side             2 x / 255 - 1    pytorch-fid without resize_input
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

SIDE = 299


def _bilinear(source, pixels):
    """Weights [n, pixels] of linear interpolation at the places `source` [n], clipped to the image."""
    source = np.clip(source, 0, pixels - 1)
    return np.maximum(1 - np.abs(source[:, None] - np.arange(pixels)), 0)


def tf1(pixels, side=SIDE):
    """TensorFlow 1's bilinear resizing: pixel i of the result lies at pixel i pixels / side."""
    return _bilinear(np.arange(side) * pixels / side, pixels)


def half_pixel(pixels, side=SIDE):
    """Bilinear resizing of torch without antialiasing: centres of pixels lie at halves."""
    return _bilinear((np.arange(side) + 0.5) * pixels / side - 0.5, pixels)


def pil_bicubic(pixels, side=SIDE):
    """Pillow's bicubic resizing: Keys' cubic with a = -1/2, as wide as the pixels of the result are."""
    scale = pixels / side
    width = max(scale, 1.0)
    centres = (np.arange(side) + 0.5) * scale
    lowest = np.maximum(np.floor(centres - 2 * width + 0.5), 0)
    highest = np.minimum(np.floor(centres + 2 * width + 0.5), pixels)
    index = np.arange(pixels)
    distance = np.abs(index + 0.5 - centres[:, None]) / width
    near, far = (
        (1.5 * distance - 2.5) * distance**2 + 1,
        ((-0.5 * distance + 2.5) * distance - 4) * distance + 2,
    )
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    weights *= (index >= lowest[:, None]) & (index < highest[:, None])
    return weights / weights.sum(1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Resizing:
    """One tool's way.

    Attributes:
      matrix: pixels of an axis -> [299, pixels]; None keeps the image's side.
      offset, divisor: the input is (x - offset) / divisor, of x in 0..255.
      clipped: to 0..255, since bicubic weights may be negative.
    """

    matrix: object
    offset: float
    divisor: float
    clipped: bool = False

    def __call__(self, images):
        """Images [B, H, W, C] of 0..255 -> [B, 299, 299, C] float32 in the range of the input."""
        x = jnp.asarray(images, jnp.float32)
        if self.matrix:
            product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
            rows, columns = (np.float32(self.matrix(side)) for side in x.shape[1:3])
            x = product("jw,bhwc->bhjc", columns, x)
            x = product("ih,bhjc->bijc", rows, x)
        if self.clipped:
            x = jnp.clip(x, 0, 255)
        return (x - self.offset) / self.divisor


RESIZINGS = {
    "tf1": Resizing(tf1, 128.0, 128.0),
    "pytorch_fid": Resizing(half_pixel, 127.5, 127.5),
    "clean_fid": Resizing(pil_bicubic, 128.0, 128.0, clipped=True),
    "none": Resizing(None, 127.5, 127.5),
}
