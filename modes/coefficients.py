"""--mode=coefficients: what a sampler does, as numbers."""

import experiment
import samplers
import sde_lib
from components import ConfigError
from samplers import audit
from workdir.records import say


def run(config, workdir):
    """Prints the sampler's table, one line a network call; nothing is drawn.

    Raises:
      ConfigError: a sampler that chooses its steps on the way.
    """
    sde, data_range = sde_lib.create(config.sde), experiment.data_range(config)
    files = experiment.read_files(config, ("sampling",))
    config.sampling.largest_bias = None
    sampler, ratio = samplers.create_audited(
        config.sampling, sde, data_range, files, experiment.data_std(config), experiment.data_shape(config)
    )
    name = experiment.resolved(config).sampling.predictor.name
    if sampler.table is None:
        raise ConfigError(f'sampling.predictor.name="{name}" chooses its steps on the way: it has no table.')
    print(f"{name} on {sde}")
    print(sampler.table)
    print(", ".join([f"NFE {sampler.nfe}", *map(str, sampler.between)]))
    remark = audit.remark(ratio)
    if remark:
        say(remark)
