"""Fields of a config that nothing reads, because of what is chosen beside them.

Set, they are refused where a config is made into an experiment. In the config of an older run, which wrote
down a default whether or not it was read, they say nothing.
"""

# Field to (whether it is read, what reads it).
_READ_WITH = {
    "optim.momentum": (lambda config: config.optim.name == "muon", 'optim.name="muon"'),
    "ema.ramp": (lambda config: bool(config.ema.decays), "ema.decays"),
    "ema.half_life_ramp": (lambda config: config.ema.half_life_images is not None, "ema.half_life_images"),
    "loss.noise_levels": (
        lambda config: (
            config.loss.time_grid == "discrete"
            or config.loss.time_sampling.name == "loss_history"
            or config.loss.error == "bound"
        ),
        'loss.time_grid="discrete" or loss.time_sampling="loss_history"',
    ),
    "loss.variance_relative": (
        lambda config: config.denoiser.variance_head in ("residual", "covariance"),
        'denoiser.variance_head="residual" or "covariance"',
    ),
}


def unread(config):
    """{field: what would read it} of the fields that nothing reads in a config of the schema.

    >>> from configs import base
    >>> unread(base.get_config())["optim.momentum"]
    'optim.name="muon"'
    """
    return {field: reader for field, (is_read, reader) in _READ_WITH.items() if not is_read(config)}
