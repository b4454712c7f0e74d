"""What the sampling loop costs beside the network.

    python -m bench.sampling_loop          (make bench)

For every solver with a table, on the U-Net of configs/digits.py at batch 20 (about 10 ms a call on two
cores): wall time of a run over that of its NFE single jitted calls, plus as many single draws of noise as it
makes; both measured in turn, median over rounds. Then the time to compile tables of 10 and of 1000 rows.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

import data
import samplers
from configs import digits
from experiment import create
from samplers.tape import Solver
from sde_lib.noise import normal, root_key

BATCH, CALLS, ROUNDS = 20, 24, 9


# Fields of sampling.
FIELDS = {
    "reverse_diffusion + langevin": {
        "predictor": {"name": "reverse_diffusion"},
        "corrector": {"name": "langevin"},
    },
    "edm, churn 40": {"predictor": {"name": "edm", "churn": 40.0, "churn_min": 0.05, "churn_max": 50.0}},
    **{
        name: {"predictor": {"name": name}}
        for name, solver in samplers.SOLVERS.items()
        if issubclass(solver, Solver) and name not in ("fitted", "none")
    },
    "restart": {"predictor": {"name": "restart", "restarts": 1, "restart_steps": 2}},
}


def seconds(function, *arguments):
    """Wall time of one finished call."""
    begin = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - begin


def main():
    """Prints the tables; the bars are a ratio of 1.05, and equal compile times."""
    config = digits.get_config()
    data.resolve(config.data, data.create(config.data, "train", decoded=False))
    experiment = create(config)
    denoise = experiment.denoiser.bind(experiment.create_params())
    keys = jax.random.split(root_key(0), BATCH)

    @jax.jit
    def run(keys, sampler):
        return sampler.draw(keys, experiment.sde, denoise, experiment.shape).x

    def sampler_of(fields):
        own = digits.get_config().sampling
        own.update({"corrector": {"name": "none"}, "largest_bias": None, **fields})
        return samplers.create(own, experiment.sde).astype(np.float32)

    call = jax.jit(lambda x, t: denoise(x, t).x0)
    draw = jax.jit(lambda keys: normal(keys, experiment.shape))
    x, t = jnp.zeros((BATCH, *experiment.shape)), jnp.full(BATCH, 0.5)
    jax.block_until_ready((call(x, t), draw(keys)))

    print(
        "| sampler | calls | one call, ms | one draw, ms | ratio | of the rounds |\n|---|--:|--:|--:|--:|--:|"
    )
    for name, fields in FIELDS.items():
        sampler = sampler_of({**fields, "nfe": CALLS})
        calls, table = sampler.nfe, sampler.table
        draws = int((table.noise > 0).sum()) + (calls - table.rows) + 1  # one a correction, one for the prior
        jax.block_until_ready(run(keys, sampler))
        rounds = []
        for _ in range(ROUNDS):
            one = sum(seconds(call, x, t) for _ in range(calls))
            noise = sum(seconds(draw, keys) for _ in range(draws))
            rounds.append((one, noise, seconds(run, keys, sampler)))
        one, noise, whole = np.array(rounds).T
        ratios = whole / (one + noise)
        each = f"{1e3 * np.median(one) / calls:.1f} | {1e3 * np.median(noise) / draws:.2f}"
        spread = f"{np.median(ratios):.3f} | {ratios.min():.2f} to {ratios.max():.2f}"
        print(f"| {name} | {calls} | {each} | {spread} |", flush=True)

    print("\n| rows | seconds to compile, three times |\n|--:|---|")
    found = {10: [], 1000: []}
    for _ in range(3):
        for rows, times in found.items():
            chosen = {"predictor": {"name": "reverse_diffusion"}, "grid": {"name": "uniform"}}
            sampler = sampler_of({**chosen, "steps": rows - 1})
            jax.clear_caches()
            begin = time.perf_counter()
            run.lower(keys, sampler).compile()
            times.append(time.perf_counter() - begin)
    for rows, times in found.items():
        print(f"| {rows} | {', '.join(f'{value:.2f}' for value in times)} |")


if __name__ == "__main__":
    main()
