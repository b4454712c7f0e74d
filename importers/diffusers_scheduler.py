"""scheduler_config.json of diffusers: the process of a UNet2DModel, and how it is sampled; both ways.

DDPM's process stands in the configs of many solvers of diffusers (_SOLVERS), with the same keys. A class that
is none of them has another process, whatever keys it shares. What would change the process or the samples
and has no field here is refused by its key.
"""

from importers.refusal import shown

# diffusers' names of classes whose networks were trained on DDPM's process.
_SOLVERS = (
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "PNDMScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
)
# Of these alone clip_sample is a key, whose default is True.
_CLIPPING = _SOLVERS[:4]
_LARGEST = 1e30
_REFUSED = ("trained_betas", "rescale_betas_zero_snr", "thresholding", "use_flow_sigmas")
_PROCESSES = {"linear": "ddpm", "squaredcos_cap_v2": "iddpm"}
_PARAMETRIZATIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
# The logarithm of the same variance is what fixed_small_log has within.
_VARIANCES = {"fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large"}


def set_process(config, scheduler):
    """Sets process, parametrization, threshold and variance of a config to what a scheduler_config.json has.

    Args:
      config: ConfigDict of configs.base.
      scheduler: the dict; {} for diffusers' defaults, which are Ho et al.'s (2020) process.

    Raises:
      ValueError: a key whose value is none that is known here.
    """
    solver = _chosen(scheduler, "_class_name", _SOLVERS, _SOLVERS[0])
    for key in _REFUSED:
        if scheduler.get(key) not in (None, False):
            raise ValueError(
                f"{key}={shown(scheduler[key])} changes the process or its samples: unknown here"
            )
    levels = scheduler.get("num_train_timesteps", 1_000)
    if type(levels) is not int or levels < 2:
        raise ValueError(f"num_train_timesteps={shown(levels)} is no number of noise levels")
    betas = [_number(scheduler, key, usual) for key, usual in (("beta_start", 1e-4), ("beta_end", 0.02))]
    config.sde.name = _PROCESSES[_chosen(scheduler, "beta_schedule", _PROCESSES, "linear")]
    config.sde.noise_levels = levels
    if config.sde.name == "ddpm":
        config.sde.beta_min, config.sde.beta_max = (beta * levels for beta in betas)
    prediction = _chosen(scheduler, "prediction_type", _PARAMETRIZATIONS, "epsilon")
    config.denoiser.parametrization = _PARAMETRIZATIONS[prediction]
    config.denoiser.noise_input = "index"
    config.loss.time_grid = "discrete"
    config.loss.noise_levels = levels
    _set_threshold(config, scheduler, solver in _CLIPPING)
    _set_variance(config, scheduler)


def scheduler_of(config, denoiser):
    """(the scheduler_config.json, lines about what it cannot say) of a run; (None, ()) of another process.

    Args:
      config: of the run; denoiser: denoisers.network.Denoiser.
    """
    kinds = {ours: theirs for theirs, ours in _PROCESSES.items()}
    predictions = {ours: theirs for theirs, ours in _PARAMETRIZATIONS.items()}
    known = config.sde.name in kinds and denoiser.parametrization in predictions
    if not known or denoiser.noise_input != "index":
        return None, ()
    sde, levels, sampling = denoiser.sde, denoiser.sde.noise_levels, config.sampling
    scheduler = {
        "_class_name": _SOLVERS[0],
        "num_train_timesteps": levels,
        "beta_schedule": kinds[config.sde.name],
        "prediction_type": predictions[denoiser.parametrization],
        "clip_sample": sampling.threshold.name in ("data_range", "static"),
        "variance_type": "fixed_large" if sampling.variance.name == "large" else "fixed_small",
    }
    if config.sde.name == "ddpm":
        scheduler |= {"beta_start": sde.beta_min / levels, "beta_end": sde.beta_max / levels}
    if sampling.threshold.name == "static":
        scheduler["clip_sample_range"] = sampling.threshold.value
    choices = {"threshold": ("none", "data_range", "static"), "variance": ("small", "large")}
    unsaid = [
        f'sampling.{field}="{sampling[field].name}" is not in scheduler_config.json, which has no such choice'
        for field, names in choices.items()
        if sampling[field].name not in names
    ]
    return scheduler, unsaid


def _set_threshold(config, scheduler, by_default):
    clips, most = scheduler.get("clip_sample", by_default), _number(scheduler, "clip_sample_range", 1.0)
    if type(clips) is not bool or most <= 0:
        raise ValueError(
            f"clip_sample={shown(clips)}, clip_sample_range={most}: True or False, and above zero"
        )
    if clips and most == 1 and config.data.centered:
        config.sampling.threshold.name = "data_range"
    elif clips:
        config.sampling.threshold.name, config.sampling.threshold.value = "static", most


def _set_variance(config, scheduler):
    variance = "fixed_small"
    if scheduler.get("variance_type") is not None:
        variance = _chosen(scheduler, "variance_type", _VARIANCES, variance)
    if _VARIANCES[variance] == "large":
        # Only solvers with noise have a variance, and this one is for steps between all levels.
        config.sampling.predictor.name, config.sampling.variance.name = "ancestral", "large"
        config.sampling.steps = config.sde.noise_levels - 1


def _chosen(scheduler, key, known, usual):
    value = scheduler.get(key, usual)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{key}={shown(value)} is none of {', '.join(known)}")
    return value


def _number(scheduler, key, usual):
    value = scheduler.get(key, usual)
    # A whole number of JSON may be too large for a float.
    if type(value) not in (int, float) or not -_LARGEST < value < _LARGEST:
        raise ValueError(f"{key}={shown(value)} is no number")
    return float(value)
