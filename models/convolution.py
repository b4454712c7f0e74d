"""A convolution whose weights' gradient is taken piece by piece on CPUs.

XLA reads the gradient by the weights as a convolution whose window is the whole image, summed over the batch.
On CPUs, where a sum over some thousand pixels leaves the cache, it runs at a third of the speed of the other
two convolutions (docs/bench.md); as a sum over pieces of the batch it runs at theirs. Elsewhere nothing
changes.
"""

import functools

import jax
import jax.numpy as jnp

# Up to twice so many pixels the batch stays whole; more pieces than these would take long to compile.
PIECE_PIXELS = 1024
MOST_PIECES = 16


def convolution(x, kernel, strides, padding, precision=None, **options):
    """jax.lax.conv_general_dilated of x [B, H, W, C], for flax.linen.Conv.conv_general_dilated."""
    # Derivatives may be traced later, outside of the context that chose the precision.
    precision = precision or jax.config.jax_default_matmul_precision
    options |= {"window_strides": strides, "padding": padding, "precision": precision}
    convolve = functools.partial(jax.lax.conv_general_dilated, **options)
    batch, height, width, _ = x.shape
    piece = max(1, PIECE_PIXELS // (height * width), -(-batch // MOST_PIECES))
    if batch * height * width <= 2 * PIECE_PIXELS or piece >= batch:
        return convolve(x, kernel)

    def in_pieces(x, kernel):
        return jnp.concatenate([convolve(x[i : i + piece], kernel) for i in range(0, batch, piece)])

    def derivative(primals, tangents):
        (x, kernel), (x_dot, kernel_dot) = primals, tangents
        terms = []
        if not isinstance(x_dot, jax.custom_derivatives.SymbolicZero):
            terms.append(convolve(x_dot, kernel))
        if not isinstance(kernel_dot, jax.custom_derivatives.SymbolicZero):
            terms.append(jax.lax.platform_dependent(x, kernel_dot, cpu=in_pieces, default=convolve))
        return convolve(x, kernel), sum(terms)

    own = jax.custom_jvp(convolve)
    own.defjvp(derivative, symbolic_zeros=True)
    return own(x, kernel)
