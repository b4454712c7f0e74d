"""EDM's augmentation of training images, which does not leak into samples (Karras et al. 2022, appendix F.2).

Each image is flipped, scaled, rotated, stretched along an axis and moved, each with a probability, and the
network is told what was done by LABELS numbers. Samples are drawn with zeros in their place, which say that
nothing was done: so the network learns from augmented images and draws none. The pipeline is that of Karras
et al. (2020, "Training generative adversarial networks with limited data", appendix B) without its changes of
colour, and with these numbers:

  number   what it tells
  0, 1     flipped in x, in y: 0 or 1
  2        w where scaled by 2^(0.2 w)
  3, 4     cos(angle) - 1 and sin(angle) of the rotation
  5, 6     w cos(r) and w sin(r) where stretched by 2^(0.2 w) along r and shrunk as much across it
  7, 8     w where moved by w / 8 of the sides, in x and y

Flips are exact. All else is one affine map, by which the image, continued by reflections, is read between its
pixels: it is doubled by the wavelet filter sym6, read linearly, and halved by the same filter, which gives an
image that moves by whole pixels back as it was.

The draws of an image depend on its key alone. Where the published code pads a batch by what its boldest
member needs, images here are always padded by their whole reflection; both read the same values.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from sde_lib import noise

LABELS = 9
SCALE_STD = 0.2  # of log2 of the scale, and of the stretch
MOVE_STD = 0.125  # in sides
TURNED_STRETCHES = 0.5  # part of the stretches that are not along x

# The low-pass filter sym6 of decomposition (Daubechies 1992, table 6.3), of norm 1 and sum sqrt(2).
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
# Pixels around the image in which the filter reaches beyond it.
MARGIN = len(SYM6) // 4


def _doubling(side):
    """[2 (3 side - 2), side]: reflects a row of pixels at its ends, puts zeros between them, and filters."""
    reflected = np.abs(np.arange(1 - side, 2 * side - 1))
    reflected = np.minimum(reflected, np.abs(2 * (side - 1) - reflected))
    matrix = np.zeros((2 * len(reflected), side))
    for place, pixel in enumerate(reflected):
        for tap, weight in enumerate(SYM6):
            row = 2 * place + tap - len(SYM6) // 2 + 1
            if 0 <= row < len(matrix):
                matrix[row, pixel] += weight
    return matrix


def _halving(side):
    """[side, 2 (side + 2 MARGIN)]: filters a row, and keeps every second number within the margin."""
    matrix = np.zeros((side, 2 * (side + 2 * MARGIN)))
    for pixel in range(side):
        first = 2 * (pixel + MARGIN) - len(SYM6) // 2 + 1
        matrix[pixel, first : first + len(SYM6)] = SYM6
    return matrix


def _along_both(rows, columns, images):
    """A matrix applied to the rows' axis of images [B, H, W, C] and another to the columns'."""
    rows, columns = jnp.asarray(rows, images.dtype), jnp.asarray(columns, images.dtype)
    return jnp.einsum("ih,bhwc,jw->bijc", rows, images, columns, precision="highest")


def _read(image, x, y):
    """Linear interpolation of image [H, W, C] at x and y in pixels; zero beyond it."""
    height, width, _ = image.shape
    left, top = jnp.floor(x), jnp.floor(y)
    total = 0.0
    for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
        for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            i = jnp.clip(row, 0, height - 1).astype(jnp.int32)
            j = jnp.clip(column, 0, width - 1).astype(jnp.int32)
            total += jnp.where(within, across * down, 0)[..., None] * image[i, j]
    return total


def warp(images, inverse):
    """Images [B, H, W, C], of which the pixel at u shows what was at the place `inverse` u.

    Args:
      inverse: [B, 3, 3] affine maps of (x, y, 1), in pixels from the image's centre, y downwards.
    """
    _, height, width, _ = images.shape
    doubled = _along_both(_doubling(height), _doubling(width), images)

    def from_centre(count):
        return jnp.arange(count, dtype=images.dtype) - (count - 1) / 2

    # The filter puts the doubled image half of its pixels to the right and below.
    x, y = jnp.meshgrid(
        from_centre(2 * (width + 2 * MARGIN)) + 0.5, from_centre(2 * (height + 2 * MARGIN)) + 0.5
    )

    def one(image, m):
        read_x = m[0, 0] * x + m[0, 1] * y + 2 * m[0, 2] - 0.5
        read_y = m[1, 0] * x + m[1, 1] * y + 2 * m[1, 2] - 0.5
        return _read(image, read_x + (image.shape[1] - 1) / 2, read_y + (image.shape[0] - 1) / 2)

    return _along_both(_halving(height), _halving(width), jax.vmap(one)(doubled, inverse))


def scaling(x, y):
    """[B, 3, 3] maps that scale by x and y, [B] each."""
    none = jnp.zeros_like(x)
    return _affine(((x, none, none), (none, y, none)))


def rotation(angle):
    """[B, 3, 3] maps that rotate x towards y by the angles [B]."""
    cos, sin, none = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle)
    return _affine(((cos, -sin, none), (sin, cos, none)))


def translation(x, y):
    """[B, 3, 3] maps that move by x and y, [B] each."""
    one, none = jnp.ones_like(x), jnp.zeros_like(x)
    return _affine(((one, none, x), (none, one, y)))


def _affine(rows):
    one, none = jnp.ones_like(rows[0][0]), jnp.zeros_like(rows[0][0])
    return jnp.stack([jnp.stack(row, axis=-1) for row in (*rows, (none, none, one))], axis=-2)


def _product(*maps):
    found = maps[0]
    for m in maps[1:]:
        found = jnp.matmul(found, m, precision="highest")
    return found


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The pipeline of one experiment.

        >>> keys = noise.example_keys(noise.root_key(0), jnp.arange(2))
        >>> images, labels = Augmentation(probability=0.12)(keys, jnp.zeros((2, 8, 8, 3)))
        >>> images.shape, labels.shape
        ((2, 8, 8, 3), (2, 9))

    Attributes:
      probability: of each change but the flip in x, which half of the images have as published; a flip in y
        is no flip in half of the cases.
    """

    probability: float

    def __call__(self, keys, images):
        """Augmented images [B, H, W, C], and what was done to them, [B, LABELS]; float32, keys [B]."""
        _, height, width, _ = images.shape
        flips, inverse, labels = self.draw(keys, height, width)
        flip_x, flip_y = flips[:, :, None, None, None]
        images = jnp.where(flip_x, images[:, :, ::-1], images)
        images = jnp.where(flip_y, images[:, ::-1], images)
        # An image that stays where it is keeps its pixels to the last bit.
        moved = jnp.any(labels[:, 2:] != 0, axis=-1)[:, None, None, None]
        return jnp.where(moved, warp(images, inverse), images), labels

    def draw(self, keys, height, width):
        """What is done to images of these sides: flips [2, B] in x and y, `inverse` of `warp`, and labels."""
        coins, angles, sizes = noise.split(keys, 3)
        coin_x, coin_y, turned, *gates = noise.uniform(coins, (8,), jnp.float32).T
        on_y, on_scale, on_angle, on_stretch, on_move = (gate < self.probability for gate in gates)
        flip_x, flip_y = coin_x < 0.5, (coin_y < 0.5) & on_y

        angle, along = (2 * noise.uniform(angles, (2,), jnp.float32).T - 1) * jnp.pi
        scale, stretch, *move = noise.normal(sizes, (4,), jnp.float32).T
        angle, scale = jnp.where(on_angle, angle, 0), jnp.where(on_scale, scale, 0)
        stretch, along = jnp.where(on_stretch, stretch, 0), jnp.where(turned < TURNED_STRETCHES, along, 0)
        move_x, move_y = (jnp.where(on_move, w, 0) for w in move)

        shrink, squeeze = 2 ** (-SCALE_STD * scale), 2 ** (-SCALE_STD * stretch)
        inverse = _product(
            scaling(shrink, shrink),
            rotation(angle),
            rotation(-along),
            scaling(squeeze, 1 / squeeze),
            rotation(along),
            translation(-MOVE_STD * width * move_x, -MOVE_STD * height * move_y),
        )
        told = (
            *(flip_x, flip_y, scale, jnp.cos(angle) - 1, jnp.sin(angle)),
            *(stretch * jnp.cos(along), stretch * jnp.sin(along), move_x, move_y),
        )
        labels = jnp.stack([number.astype(jnp.float32) for number in told], axis=-1)
        return jnp.stack([flip_x, flip_y]), inverse, labels
