"""How samples are drawn: a predictor on a time grid becomes a table, one loop runs it."""

import dataclasses

from creation import ConfigError, choose
from samplers import correctors, predictors, time_grids
from samplers.table import Samples, Table, sample

__all__ = ["Sampler", "Samples", "Table", "create", "sample"]


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A table and the corrector that acts between its rows.

    Attributes:
      table: float64 coefficients.
      corrector: object with `step` and `calls`, or None.
    """

    table: Table
    corrector: correctors.Langevin | None


def create(config, sde):
    """The sampler that the subtree `sampling` describes.

    Raises:
      ConfigError: unknown names, numbers out of range, or a predictor that cannot
        serve this SDE.
    """
    choose(predictors.PREDICTORS, config.predictor, "sampling.predictor")
    grid = choose(time_grids.TIME_GRIDS, config.grid, "sampling.grid")
    corrector = choose(correctors.CORRECTORS, config.corrector, "sampling.corrector")
    for field in ("steps", "corrector_steps", "snr"):
        if not config[field] > 0:
            raise ConfigError(f"sampling.{field}={config[field]} must be positive.")
    times = grid(sde, config.steps)
    refusal = predictors.refusal(config.predictor, sde, times)
    if refusal:
        raise ConfigError(f'sampling.predictor="{config.predictor}" {refusal}')
    table = predictors.table(config.predictor, sde, times, config.final_denoise)
    return Sampler(table, corrector(config))
