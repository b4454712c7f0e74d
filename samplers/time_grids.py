"""Where on [t_end, t_max] a sampler calls the network."""

import numpy as np


def uniform(sde, steps):
    """[steps + 1] equally spaced times from t_max down to the SDE's sampling_t_min."""
    return np.linspace(sde.t_max, sde.sampling_t_min, steps + 1)


TIME_GRIDS = {
    "uniform": uniform,
}
