"""FID's Inception-v3: the network of 2015 (Szegedy et al. 2016) in the form that TTUR's FID uses.

It differs from torchvision's in three ways: 1,008 classes, average pooling that counts no padding, and a
maximum in the pooling branch of its last block. Each batch norm is folded into the convolution before it
(importers/inception.py), so that a layer is relu(conv(x) + bias).

Two identities save time and change rounding alone. An average over a window and a convolution of one pixel
are both linear and are exchanged, so that fewer channels are averaged; and convolutions of one pixel that
read the same map are one product of matrices.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Names of the taps by the channels of the map: torch-fidelity's.
LAYERS = (64, 192, 768, 2048)
# The smallest side that leaves one pixel for the last block.
LEAST_SIDE = 75


class Weights(nn.Module):
    """Kernel [rows, columns, inputs, outputs] and bias of one layer."""

    outputs: int
    window: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, inputs):
        kernel = self.param("kernel", nn.initializers.he_normal(), (*self.window, inputs, self.outputs))
        return kernel, self.param("bias", nn.initializers.zeros, (self.outputs,))


def convolve(x, kernel, stride=1, padding="SAME"):
    """The convolution of maps [B, H, W, C] in float32, whatever the accelerator would rather do."""
    rows, columns = kernel.shape[:2]
    if rows == columns == stride == 1:
        return jnp.matmul(x, kernel[0, 0], precision=jax.lax.Precision.HIGHEST)
    sides = slice(None), slice(None)
    if padding == "VALID":
        # On CPUs XLA convolves what is padded more than twice as fast as what is not: so a pixel is added at
        # the far sides, and what is computed of it cut off.
        sides = tuple(slice((side - rows) // stride + 1) for side in x.shape[1:3])
        padding = ((0, 1), (0, 1))
    y = jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    return y[:, *sides]


def max_pool(x, stride, padding="VALID"):
    """The maximum of each window of 3x3."""
    return nn.max_pool(x, (3, 3), (stride, stride), padding)


def average_pool(x):
    """The mean of each window of 3x3 around a pixel, over the pixels that the map has."""
    sums = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
    present = [3 - (np.arange(n) == 0) - (np.arange(n) == n - 1) for n in x.shape[1:3]]
    return sums / np.multiply.outer(*present).astype(np.float32)[:, :, None]


class Layer(nn.Module):
    """A convolution with its batch norm folded in, and ReLU."""

    outputs: int
    window: tuple[int, int] = (3, 3)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.he_normal(), (*self.window, x.shape[-1], self.outputs))
        bias = self.param("bias", nn.initializers.zeros, (self.outputs,))
        return nn.relu(convolve(x, kernel, self.stride, self.padding) + bias)


class Block(nn.Module):
    """What the blocks share: convolutions of one pixel, all at once."""

    def pointwise(self, x, pooled=None, **outputs):
        """Layers of one pixel on the same map, by name; of `pooled` the map is averaged first."""
        weights = {name: Weights(size, name=name)(x.shape[-1]) for name, size in outputs.items()}
        kernel = jnp.concatenate([kernel for kernel, _ in weights.values()], -1)
        parts = jnp.split(convolve(x, kernel), np.cumsum(list(outputs.values()))[:-1], -1)
        maps = dict(zip(outputs, parts, strict=True))
        if pooled:
            maps[pooled] = average_pool(maps[pooled])
        return [nn.relu(maps[name] + bias) for name, (_, bias) in weights.items()]


class InceptionA(Block):
    """Mixed_5b to Mixed_5d, 35x35."""

    pool_outputs: int

    @nn.compact
    def __call__(self, x):
        a, b, c, d = self.pointwise(
            x, "branch_pool", branch1x1=64, branch5x5_1=48, branch3x3dbl_1=64, branch_pool=self.pool_outputs
        )
        b = Layer(64, (5, 5), name="branch5x5_2")(b)
        c = Layer(96, name="branch3x3dbl_2")(c)
        c = Layer(96, name="branch3x3dbl_3")(c)
        return jnp.concatenate([a, b, c, d], -1)


class InceptionB(Block):
    """Mixed_6a, from 35x35 to 17x17."""

    @nn.compact
    def __call__(self, x):
        a = Layer(384, stride=2, padding="VALID", name="branch3x3")(x)
        (b,) = self.pointwise(x, branch3x3dbl_1=64)
        b = Layer(96, name="branch3x3dbl_2")(b)
        b = Layer(96, stride=2, padding="VALID", name="branch3x3dbl_3")(b)
        return jnp.concatenate([a, b, max_pool(x, 2)], -1)


class InceptionC(Block):
    """Mixed_6b to Mixed_6e, 17x17; returns the map, and its first branch."""

    width: int

    @nn.compact
    def __call__(self, x):
        width = self.width
        a, b, c, d = self.pointwise(
            x, "branch_pool", branch1x1=192, branch7x7_1=width, branch7x7dbl_1=width, branch_pool=192
        )
        b = Layer(width, (1, 7), name="branch7x7_2")(b)
        b = Layer(192, (7, 1), name="branch7x7_3")(b)
        c = Layer(width, (7, 1), name="branch7x7dbl_2")(c)
        c = Layer(width, (1, 7), name="branch7x7dbl_3")(c)
        c = Layer(width, (7, 1), name="branch7x7dbl_4")(c)
        c = Layer(192, (1, 7), name="branch7x7dbl_5")(c)
        return jnp.concatenate([a, b, c, d], -1), a


class InceptionD(Block):
    """Mixed_7a, from 17x17 to 8x8."""

    @nn.compact
    def __call__(self, x):
        a, b = self.pointwise(x, branch3x3_1=192, branch7x7x3_1=192)
        a = Layer(320, stride=2, padding="VALID", name="branch3x3_2")(a)
        b = Layer(192, (1, 7), name="branch7x7x3_2")(b)
        b = Layer(192, (7, 1), name="branch7x7x3_3")(b)
        b = Layer(192, stride=2, padding="VALID", name="branch7x7x3_4")(b)
        return jnp.concatenate([a, b, max_pool(x, 2)], -1)


class InceptionE(Block):
    """Mixed_7b, and Mixed_7c, where the pooling branch takes the maximum; 8x8."""

    maximum: bool = False

    @nn.compact
    def __call__(self, x):
        outputs = {"branch1x1": 320, "branch3x3_1": 384, "branch3x3dbl_1": 448}
        if self.maximum:
            a, b, c = self.pointwise(x, **outputs)
            (d,) = self.pointwise(max_pool(x, 1, "SAME"), branch_pool=192)
        else:
            a, b, c, d = self.pointwise(x, "branch_pool", **outputs, branch_pool=192)
        c = Layer(384, name="branch3x3dbl_2")(c)
        parts = [a]
        for y, name in ((b, "branch3x3_2"), (c, "branch3x3dbl_3")):
            parts += [Layer(384, (1, 3), name=f"{name}a")(y), Layer(384, (3, 1), name=f"{name}b")(y)]
        return jnp.concatenate([*parts, d], -1)


class InceptionV3(nn.Module):
    """Images [B, H, W, 3] in [-1, 1], of any side from 75 on, to what the metrics read.

    Attributes:
      classes: outputs of the last layer; 0: the weights have none (1,008 otherwise).

    Returns:
      dict of "64", "192", "768" and "2048", the means [B, channels] of four maps over their pixels, where
      "2048" is FID's pool3; "spatial" [B, 7 rows columns], the first 7 channels of the map mixed_6/conv,
      which sFID takes (Nash et al. 2021, as ADM's evaluator has it: 2,023 numbers at side 299); and with
      classes "logits" [B, classes] without the bias, which Inception Score takes.
    """

    classes: int = 0

    @nn.compact
    def __call__(self, x):
        taps = {}

        def tapped(x):
            taps[str(x.shape[-1])] = x.mean((1, 2))
            return x

        x = Layer(32, stride=2, padding="VALID", name="Conv2d_1a_3x3")(x)
        x = Layer(32, padding="VALID", name="Conv2d_2a_3x3")(x)
        x = Layer(64, name="Conv2d_2b_3x3")(x)
        x = tapped(max_pool(x, 2))
        x = Layer(80, (1, 1), name="Conv2d_3b_1x1")(x)
        x = Layer(192, padding="VALID", name="Conv2d_4a_3x3")(x)
        x = tapped(max_pool(x, 2))
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = InceptionA(pooled, name=name)(x)
        x = InceptionB(name="Mixed_6a")(x)
        for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            x, first = InceptionC(width, name=name)(x)
            if name == "Mixed_6d":
                spatial = first[..., :7].reshape(len(x), -1)
        x = InceptionD(name="Mixed_7a")(tapped(x))
        x = InceptionE(name="Mixed_7b")(x)
        x = tapped(InceptionE(maximum=True, name="Mixed_7c")(x))
        taps["spatial"] = spatial
        if self.classes:
            kernel, _ = Weights(self.classes, name="fc")(2048)
            taps["logits"] = jnp.matmul(taps["2048"], kernel[0, 0], precision=jax.lax.Precision.HIGHEST)
        return taps
