"""What neither environment nor accelerator may change: how keys become draws, and how exact products are."""

import jax


def fix_numerics():
    """Makes every draw the same however it is sharded, and every product of matrices as exact as float32 is.

    GPUs multiply float32 in TF32 unless told otherwise, TPUs in bfloat16: two or three digits, which networks
    can spare (`denoiser.precision`) and mixtures, likelihoods, bounds and metrics cannot. Draws in float64,
    which JAX_ENABLE_X64 would make, are others than those in float32.
    """
    jax.config.update("jax_enable_x64", False)
    jax.config.update("jax_threefry_partitionable", True)
    jax.config.update("jax_default_matmul_precision", "highest")
