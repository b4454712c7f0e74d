"""Names of older versions and what they are called now, for the answers of the command line.

A field may have become several; a mode has one new name.
"""

MODES = {"trajectory": "optimal_grid"}

_PREDICTOR = [
    "order",
    "corrector_order",
    "start",
    "probability_flow",
    "eta",
    "churn",
    "churn_min",
    "churn_max",
    "churn_noise",
    "published",
    "variant",
    "unic",
    "variable",
    "prediction",
    "data_std",
    "file",
    "tau",
    "tau_min",
    "tau_max",
    "restart_min",
    "restart_max",
    "restarts",
    "restart_steps",
    "rows",
    "absolute_tolerance",
    "relative_tolerance",
    "redraw",
    "method",
    "tolerance",
]

FIELDS = {
    "data.levels": ("data.pixel_values",),
    "denoiser.conditioning": ("denoiser.noise_input",),
    "loss.min_snr_gamma": ("loss.weighting.gamma",),
    "loss.p2_k": ("loss.weighting.k",),
    "loss.p2_gamma": ("loss.weighting.gamma",),
    "loss.sigmoid_bias": ("loss.weighting.bias",),
    "loss.log_sigma_mean": ("loss.time_sampling.log_sigma_mean",),
    "loss.log_sigma_std": ("loss.time_sampling.log_sigma_std",),
    **{f"sampling.{field}": (f"sampling.predictor.{field}",) for field in _PREDICTOR},
    **{
        f"sampling.{field}": (f"sampling.grid.{field}",) for field in ("rho", "power", "toward_zero", "times")
    },
    "sampling.grid_file": ("sampling.grid.file",),
    "sampling.corrector_steps": ("sampling.corrector.steps",),
    "sampling.corrector_norm": ("sampling.corrector.norm",),
    "sampling.snr": ("sampling.corrector.snr",),
    "sampling.threshold_value": ("sampling.threshold.value",),
    "sampling.threshold_quantile": ("sampling.threshold.quantile",),
    "sampling.variance_file": ("sampling.variance.file", "eval.bound.variance.file"),
    "sampling.variance_probes": ("sampling.variance.probes", "eval.bound.variance.probes"),
    "sampling.variance_average": ("sampling.variance.average", "eval.bound.variance.average"),
    "sampling.variance_pixels": ("sampling.variance.pixels",),
    **{
        f"trajectory.{field}": (f"optimal_grid.{field}",)
        for field in ("levels", "examples", "batch_size", "steps")
    },
    "trajectory.grid": ("optimal_grid.spacing",),
    "eval.num_samples": ("eval.two_sample.num_samples",),
    "eval.neighbours": ("eval.two_sample.neighbours",),
    "eval.bits_per_dim": ("eval.evaluators",),
    "eval.dequantizations": ("eval.bits_per_dim.dequantizations",),
    "eval.solver": ("eval.bits_per_dim.solver", "encoding.solver"),
    "eval.tolerance": ("eval.bits_per_dim.tolerance",),
    "eval.probe": ("eval.bits_per_dim.probe",),
    "eval.probes": ("eval.bits_per_dim.probes",),
    "eval.discrete_bound": ("eval.evaluators",),
    "eval.continuous_bound": ("eval.evaluators",),
    "eval.bound_levels": ("eval.bound.levels",),
    "eval.bound_grid": ("eval.bound.grid",),
    "eval.bound_variance": ("eval.bound.variance",),
    "eval.bound_decoder": ("eval.bound.decoder",),
    "eval.bound_clip": ("eval.bound.clip",),
    "eval.bound_images": ("eval.bound.images",),
    "eval.diagnostics": ("eval.evaluators",),
    "eval.diagnostic_images": ("eval.diagnostics.images",),
}

# Flags of an evaluation: each is a name in `eval.evaluators` now.
EVALUATORS = {
    "eval.bits_per_dim.compute": "bits_per_dim",
    "eval.bound.discrete": "discrete_bound",
    "eval.bound.continuous": "continuous_bound",
    "eval.diagnostics.compute": "diagnostics",
}


def upgraded(fields):
    """The fields of a saved config, {dotted path: value}, as today's schema has them.

    >>> upgraded({"eval.bits_per_dim.compute": False, "eval.bound.discrete": True})
    {'eval.evaluators': ('loss', 'two_sample', 'discrete_bound')}
    """
    if not EVALUATORS.keys() & fields.keys():
        return fields
    flags = {path: fields.get(path, name == "bits_per_dim") for path, name in EVALUATORS.items()}
    chosen = ["loss", "two_sample", *(EVALUATORS[path] for path, value in flags.items() if value)]
    rest = {path: value for path, value in fields.items() if path not in flags}
    return {**rest, "eval.evaluators": tuple(chosen)}
