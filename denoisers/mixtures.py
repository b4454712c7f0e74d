"""Ready-made mixtures: data of known score, from a single Gaussian to images.

Each is a small frozen dataclass whose fields are config fields and whose `build` returns
the GaussianMixture, in float64 where that is enabled. All stay within about [-1, 1].
"""

import dataclasses
import math
from typing import ClassVar

import numpy as np

from denoisers.gaussian_mixture import GaussianMixture


def _require_positive(case):
    for field in dataclasses.fields(case):
        value = getattr(case, field.name)
        # The squares of smaller numbers vanish in float32 beside 1.
        if not 1e-4 <= value < math.inf:
            raise ValueError(f"{field.name}={value} must be a number of at least 1e-4")


@dataclasses.dataclass(frozen=True)
class OneGaussian:
    """One Gaussian with variances falling geometrically from 0.5 to 0.005 along random axes.

    Attributes:
      dimension: of the data.
    """

    dimension: int = 2
    pixel_values: ClassVar[int | None] = None

    def __post_init__(self):
        _require_positive(self)

    @property
    def shape(self):
        """Of one data point."""
        return (self.dimension,)

    @property
    def numbers(self):
        """How many numbers the mixture takes."""
        return 3 * self.dimension**2

    def build(self):
        """The mixture."""
        rng = np.random.default_rng(0)
        axes = np.linalg.qr(rng.standard_normal((self.dimension, self.dimension)))[0]
        covariance = axes * np.geomspace(0.5, 0.005, self.dimension) @ axes.T
        return GaussianMixture.full([1.0], np.full((1, self.dimension), 0.1), covariance[None])


@dataclasses.dataclass(frozen=True)
class Ring:
    """Equal round Gaussians on a circle in two dimensions.

    Attributes:
      components: number of Gaussians.
      spread: standard deviation of each.
    """

    components: int = 8
    spread: float = 0.1
    pixel_values: ClassVar[int | None] = None
    shape: ClassVar[tuple] = (2,)

    def __post_init__(self):
        _require_positive(self)

    @property
    def numbers(self):
        """How many numbers the mixture takes."""
        return 5 * self.components

    def build(self):
        """The mixture."""
        angles = 2 * np.pi * np.arange(self.components) / self.components
        means = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        weights = np.full(self.components, 1 / self.components)
        return GaussianMixture.diagonal(weights, means, np.full_like(means, self.spread**2))


@dataclasses.dataclass(frozen=True)
class TwoMoons:
    """Two interlocking half circles of Gaussians stretched along the circles, in two dimensions.

    Attributes:
      components: number of Gaussians in both moons together, even.
      spread: standard deviation across the moons.
    """

    components: int = 16
    spread: float = 0.06
    pixel_values: ClassVar[int | None] = None
    shape: ClassVar[tuple] = (2,)

    def __post_init__(self):
        _require_positive(self)
        if self.components % 2:
            raise ValueError(f"components={self.components} must be even")

    @property
    def numbers(self):
        """How many numbers the mixture takes."""
        return 9 * self.components

    def build(self):
        """The mixture."""
        count = self.components // 2
        angles = np.pi * (np.arange(count) + 0.5) / count
        upper = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        tangents = np.stack([-np.sin(angles), np.cos(angles)], axis=1)
        means = 0.65 * np.concatenate([upper - [0.5, 0.25], [0.5, 0.25] - upper])
        tangents = np.concatenate([tangents, tangents])
        along = (0.65 * np.pi / count / 2) ** 2
        outer = tangents[:, :, None] * tangents[:, None, :]
        covariances = self.spread**2 * np.eye(2) + along * outer
        return GaussianMixture.full(np.full(2 * count, 0.5 / count), means, covariances)


@dataclasses.dataclass(frozen=True)
class Digits:
    """Full covariances fitted to scikit-learn's 8x8 digit scans, dequantized, in [-1, 1].

    Attributes:
      components: number of Gaussians.
    """

    components: int = 10
    pixel_values: ClassVar[int | None] = 17
    side: ClassVar[int] = 8
    shape: ClassVar[tuple] = (8, 8, 1)

    def __post_init__(self):
        _require_positive(self)
        if self.components > 100:
            raise ValueError(
                f"components={self.components} are more than 1,797 scans can be fitted by: at most 100"
            )

    @property
    def numbers(self):
        """How many numbers the mixture takes."""
        return self.components * (self.side**4 + self.side**2)

    def build(self):
        """The mixture; the fit takes a second."""
        from sklearn.datasets import load_digits

        images = load_digits().images[..., None]
        spacing = 2 / self.pixel_values
        scaled = (images + 0.5) * spacing - 1
        return GaussianMixture.fit(scaled, self.components, noise_variance=spacing**2 / 12)


@dataclasses.dataclass(frozen=True)
class Images:
    """Smooth random colour images of any side: low-rank covariances of low-frequency cosines.

    Attributes:
      components: number of Gaussians.
      side: of the images.
      rank: of each covariance beside its diagonal.
      spread: standard deviation of each pixel's own noise, largest in the middle of the image.
    """

    components: int = 4
    side: int = 32
    rank: int = 12
    spread: float = 0.05
    pixel_values: ClassVar[int | None] = 256

    def __post_init__(self):
        _require_positive(self)

    @property
    def shape(self):
        """Of one image."""
        return (self.side, self.side, 3)

    @property
    def numbers(self):
        """How many numbers the mixture takes."""
        return (self.components * (self.rank + 1) + 25) * 3 * self.side**2

    def build(self):
        """The mixture."""
        rng = np.random.default_rng(0)
        u = (np.arange(self.side) + 0.5) / self.side
        waves = np.stack([np.cos(np.pi * k * u) for k in range(5)])
        basis = np.einsum("ax,by->abxy", waves, waves).reshape(-1, self.side, self.side, 1)
        frequency = np.add.outer(np.arange(5) ** 2, np.arange(5) ** 2).reshape(-1)
        amplitude = 0.2 / (1 + frequency)[:, None]

        def fields(*shape):
            weights = rng.standard_normal((*shape, len(basis), 3)) * amplitude
            return np.einsum("...fc,fxyz->...xyc", weights, basis).reshape(*shape, -1)

        middle = np.exp(-4 * np.add.outer((u - 0.5) ** 2, (u - 0.5) ** 2))[..., None]
        diagonal = np.broadcast_to((self.spread * (0.5 + 0.5 * middle)) ** 2, (self.side, self.side, 3))
        factors = np.moveaxis(fields(self.components, self.rank), 1, 2) / np.sqrt(self.rank)
        return GaussianMixture.low_rank(
            np.full(self.components, 1 / self.components),
            fields(self.components),
            factors,
            diagonal.reshape(1, -1),
            (self.side, self.side, 3),
        )


MIXTURES = {
    "gaussian": OneGaussian,
    "two_moons": TwoMoons,
    "ring": Ring,
    "digits": Digits,
    "images": Images,
}
