"""--mode=table: what a sampler does, as numbers."""

import samplers
import sde_lib
from components import ConfigError


def run(config, workdir):
    """Prints the sampler's table, one line a network call; nothing is drawn.

    Raises:
      ConfigError: a sampler that chooses its steps on the way.
    """
    sde = sde_lib.create(config.sde)
    sampler = samplers.create(config.sampling, sde, (-1.0, 1.0) if config.data.centered else (0.0, 1.0))
    if sampler.table is None:
        raise ConfigError(
            f'sampling.predictor="{config.sampling.predictor}" chooses its steps on the way: it has no table.'
        )
    print(f"{config.sampling.predictor} on {sde}")
    print(sampler.table)
    if config.sampling.variance in ("large", "learned"):
        print(f"std(x0) is such that each move has the variance {config.sampling.variance}")
    print(f"NFE {sampler.nfe}" + (f", {sampler.method.corrector}" if sampler.method.corrector else ""))
