"""What the sampling loop costs beside the network: wall time over NFE times one jitted call.

    python -m bench.sampler          (make bench)

A predictor-corrector run of 1000 steps (NFE 2002) on the U-Net of configs/digits.py at
batch 64, against as many calls of the jitted network alone; both measured in turn.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

import data
import experiment
import samplers
from configs import digits

BATCH, STEPS, ROUNDS, CALLS = 64, 1000, 2, 200


def main():
    """Prints the times and their ratio, of which the bar is 1.05."""
    config = digits.get_config()
    data.resolve(config.data, data.create(config.data, "train"))
    config.sampling.steps = STEPS
    setup = experiment.create(config)
    params = setup.create_state().params
    sampler = samplers.create(config.sampling, setup.sde)
    table = sampler.table.astype(np.float32)
    keys = jax.random.split(jax.random.key(0), BATCH)
    nfe = sampler.table.rows * (1 + sampler.corrector.calls)

    run = jax.jit(
        lambda params, keys, table: (
            samplers.sample(
                keys, setup.sde, setup.denoiser.bind(params), setup.shape, table, sampler.corrector
            ).x
        )
    )
    call = jax.jit(lambda params, x, t: setup.denoiser(params, x, t).x0)
    x, t = jnp.zeros((BATCH, *setup.shape)), jnp.full(BATCH, 0.5)
    jax.block_until_ready((run(params, keys, table), call(params, x, t)))

    ratios = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            result = jax.block_until_ready(call(params, x, t))
        one = (time.perf_counter() - start) / CALLS
        start = time.perf_counter()
        result = jax.block_until_ready(run(params, keys, table))
        whole = time.perf_counter() - start
        ratios.append(whole / (nfe * one))
        print(f"one call {1e3 * one:7.2f} ms   {nfe} calls in a run {whole:7.2f} s   ratio {ratios[-1]:.3f}")
    del result
    print(f"median ratio {np.median(ratios):.3f}")


if __name__ == "__main__":
    main()
