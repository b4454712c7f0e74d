"""The schedulers of the public library diffusers, as numbers that run on our exact denoiser.

An optional peer for bench/error_by_calls.py: `pip install diffusers torch`. Every process is y = x / alpha
and r = sigma / alpha to a scheduler, so that one table of betas with the same r carries any of ours; the
denoiser is called at the scheduler's own sigma, not at its rounded timestep. float64 throughout.

All of them are linear in the start and in the predictions: run once on symbols, a scheduler gives the
bench.cases.Calls that serve every mixture.
"""

import itertools
import warnings

import numpy as np

from bench.cases import Calls
from samplers.tape import evaluate

LEVELS = 1000
TWO_CALLS_A_STEP = ("HeunDiscreteScheduler", "KDPM2DiscreteScheduler")


def available():
    """The version of diffusers, or None."""
    try:
        import diffusers
        import torch
    except ImportError:
        return None
    return f"diffusers {diffusers.__version__}, torch {torch.__version__}"


def settings():
    """A dict from name to (class name, keyword arguments): what is tried."""
    found = {}
    spacings = ("linspace", "leading", "trailing")
    sigmas = {
        "": {},
        " karras": {"use_karras_sigmas": True},
        " exponential": {"use_exponential_sigmas": True},
    }
    more = {**sigmas, " beta": {"use_beta_sigmas": True}}
    lu = {" lu": {"use_lu_lambdas": True}}

    def add(name, cls, grids, **kwargs):
        for spacing, (label, grid) in itertools.product(spacings, grids.items()):
            if label and spacing != "linspace":
                continue  # these grids replace the spacing
            shown = label or f" {spacing}"
            found[f"{name}{shown}"] = (cls, {"timestep_spacing": spacing, **grid, **kwargs})

    add("DDIM", "DDIMScheduler", {"": {}}, clip_sample=False)
    add("PNDM", "PNDMScheduler", {"": {}}, skip_prk_steps=True)
    add("Euler", "EulerDiscreteScheduler", more)
    add("Heun", "HeunDiscreteScheduler", more)
    add("LMS", "LMSDiscreteScheduler", more)
    add("KDPM2", "KDPM2DiscreteScheduler", more)
    for order in (2, 3):
        add(f"DPM++ {order}M", "DPMSolverMultistepScheduler", {**more, **lu}, solver_order=order)
        add(f"DPM++ {order}S", "DPMSolverSinglestepScheduler", more, solver_order=order)
        add(f"DEIS {order}", "DEISMultistepScheduler", more, solver_order=order)
    add("DPM++ 2M heun", "DPMSolverMultistepScheduler", {**more, **lu}, solver_order=2, solver_type="heun")
    add(
        "DPM-Solver 2M",
        "DPMSolverMultistepScheduler",
        sigmas,
        algorithm_type="dpmsolver",
        final_sigmas_type="sigma_min",  # this form cannot step to 0: one call more denoises
    )
    for order, kind in itertools.product((1, 2, 3), ("bh1", "bh2")):
        if order == 3 or kind == "bh2":
            add(
                f"UniPC {order} {kind}", "UniPCMultistepScheduler", more, solver_order=order, solver_type=kind
            )
    return found


def _scheduler(name, kwargs, r):
    import diffusers

    alpha2 = 1 / (1 + r**2)
    betas = 1 - alpha2 / np.concatenate([[1.0], alpha2[:-1]])
    return getattr(diffusers, name)(
        num_train_timesteps=len(r), trained_betas=betas.tolist(), prediction_type="epsilon", **kwargs
    )


def run(setting, steps, r, y, denoise, most):
    """Runs one scheduler.

    Args:
      setting: value of `settings()`.
      steps: num_inference_steps.
      r: [LEVELS] increasing sigma / alpha of the levels.
      y: [B, ...] float64 start at r[-1], in units of x / alpha.
      denoise: (y [B, ...], r) -> E[x_0], NumPy.
      most: calls after which the run is given up.

    Returns:
      (result [B, ...] or None if given up, calls).
    """
    import torch

    name, kwargs = setting
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        scheduler = _scheduler(name, kwargs, r)
        scheduler.set_timesteps(steps)
        by_sigma = hasattr(scheduler, "sigmas")
        scaled_by_sigma = name in (
            "EulerDiscreteScheduler",
            "HeunDiscreteScheduler",
            "LMSDiscreteScheduler",
            "KDPM2DiscreteScheduler",
        )
        alphas = np.asarray(scheduler.alphas_cumprod, np.float64)
        table = np.sqrt((1 - alphas) / alphas)
        if by_sigma:
            scheduler.sigmas = scheduler.sigmas.to(torch.float64)
        first = float(scheduler.sigmas[0]) if by_sigma else table[int(scheduler.timesteps[0])]
        start = y * (first / r[-1])
        x = torch.from_numpy(start if scaled_by_sigma else start / np.sqrt(1 + first**2))
        calls = 0
        if len(scheduler.timesteps) > most:
            return None, len(scheduler.timesteps)
        for t in scheduler.timesteps:
            if scaled_by_sigma:
                scheduler.scale_model_input(x, t)
            level = table[int(t)]
            if by_sigma:
                if scheduler.step_index is None:
                    scheduler._init_step_index(t)
                sigmas = scheduler.sigmas
                if name == "KDPM2DiscreteScheduler" and not scheduler.state_in_first_order:
                    sigmas = scheduler.sigmas_interpol
                level = float(sigmas[scheduler.step_index])
            scale = 1.0 if scaled_by_sigma else np.sqrt(1 + level**2)
            here = x.numpy() * scale
            eps = (here - denoise(here, level)) / level
            calls += 1
            x = scheduler.step(torch.from_numpy(eps), t, x).prev_sample.to(torch.float64)
    return x.numpy(), calls


def best_within(setting, nfe, r, y, denoise):
    """The denoised result of the scheduler with the most steps whose calls stay within nfe, or None."""
    to_sigma_min = setting[1].get("final_sigmas_type") == "sigma_min"
    most = nfe // 2 + 1 if setting[0] in TWO_CALLS_A_STEP else nfe - to_sigma_min
    for steps in range(most, 0, -1):
        try:
            result, calls = run(setting, steps, r, y, denoise, most=nfe - to_sigma_min)
            if to_sigma_min and result is not None:
                result, calls = denoise(result * np.sqrt(1 + r[0] ** 2), r[0]), calls + 1
        except (IndexError, ValueError, RuntimeError, AssertionError, TypeError):
            return None
        if result is not None and calls <= nfe:
            return result if np.isfinite(result).all() else None
    return None


class Recorder:
    """A denoiser of symbols: its n-th answer is the n-th unit vector, and it notes where it was asked.

    Args:
      most: calls that may be made.

    Attributes:
      start: [1, 1 + most] the symbol to begin with.
    """

    def __init__(self, most):
        self.start = np.eye(1, 1 + most)
        self._looks, self._levels = [], []

    def __call__(self, y, r):
        if not y[0, 1:].any():  # a run begins, perhaps after another that was given up
            self._looks, self._levels = [], []
        self._looks.append(np.array(y[0]))
        self._levels.append(float(r))
        return np.eye(self.start.shape[1])[len(self._looks)][None]

    def calls(self, end, sde):
        """The Calls of the run that gave `end` [1, 1 + most], in units of x / alpha, for a process."""
        count = len(self._looks)
        times = evaluate(sde.time_of_log_snr, -2 * np.log(self._levels))
        looks, end = np.stack(self._looks)[:, : 1 + count], np.array(end[0, : 1 + count])
        looks *= evaluate(sde.alpha, times)[:, None]
        first = evaluate(sde.alpha, [sde.t_max])[0]
        looks[:, 0] /= first
        end[0] /= first
        return Calls(times, looks, end)


def recorded(setting, nfe, r, sde):
    """The Calls of `best_within` for a process whose levels are r, or None."""
    denoise = Recorder(2 * nfe + 8)
    end = best_within(setting, nfe, r, denoise.start, denoise)
    return None if end is None else denoise.calls(end, sde)
