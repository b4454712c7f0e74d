"""The moment audit: the variance bias of every sampler on Gaussian data, without Monte-Carlo error.

    python -m bench.moments [--quick] [--out docs]          (make bench-moments)

Data N(0.3, 0.25), exact denoiser, float64: samplers/moments.py follows mean and variance through each
table. In percent of the data's variance, after the final denoising; for the flow's solvers
also the prior's own mismatch is in it, which no solver removes.
"""

import argparse
from pathlib import Path

import jax.numpy as jnp

import samplers
import sde_lib
from components import ConfigError
from configs import base
from samplers.moments import moments
from samplers.tape import float64_on_host

MEAN, VARIANCE = 0.3, 0.25
STEPS = (25, 50, 125, 250, 500, 1000, 2000, 4000)
QUICK = (25, 125, 500)
# The released samplers stop at these times.
PROCESSES = {
    "vp": sde_lib.SDES["vp"](),
    "subvp": sde_lib.SDES["subvp"](),
    "ve": sde_lib.SDES["ve"](sampling_t_min=1e-5),
    "edm": sde_lib.SDES["edm"](),
}
# Fields of sampling.predictor.
SAMPLERS = [
    ("default", {}),
    ("ancestral", {"name": "ancestral"}),
    ("reverse_diffusion", {"name": "reverse_diffusion"}),
    ("reverse_diffusion, flow", {"name": "reverse_diffusion", "probability_flow": True}),
    ("euler_maruyama", {"name": "euler_maruyama"}),
    ("euler_maruyama, flow", {"name": "euler_maruyama", "probability_flow": True}),
    ("stochastic_heun", {"name": "stochastic_heun"}),
    ("ddim", {"name": "ddim"}),
    ("ddim, eta 0.5", {"name": "ddim", "eta": 0.5}),
    ("edm", {"name": "edm"}),
    (
        "edm, churn 40",
        {
            "name": "edm",
            "churn": 40.0,
            "churn_min": 0.05,
            "churn_max": 50.0,
        },
    ),
    ("dpm_solver, 3", {"name": "dpm_solver", "order": 3}),
    ("dpm_solver++, 2", {"name": "dpm_solver++", "order": 2}),
    ("dpm_solver++, 3", {"name": "dpm_solver++", "order": 3}),
    ("sde_dpm_solver++, 2", {"name": "sde_dpm_solver++", "order": 2}),
    ("sde_dpm_solver++, 3", {"name": "sde_dpm_solver++", "order": 3}),
    ("unipc, 3", {"name": "unipc", "order": 3}),
    ("pndm", {"name": "pndm"}),
    ("deis, 3", {"name": "deis", "order": 3}),
    ("sa_solver", {"name": "sa_solver"}),
    ("restart", {"name": "restart"}),
    ("legacy_ancestral", {"name": "legacy_ancestral"}),
    ("legacy_reverse_diffusion", {"name": "legacy_reverse_diffusion"}),
    (
        "legacy_reverse_diffusion, truncated",
        {"name": "legacy_reverse_diffusion", "rows": "truncated"},
    ),
    (
        "legacy_reverse_diffusion, flow",
        {"name": "legacy_reverse_diffusion", "probability_flow": True},
    ),
    ("legacy_euler_maruyama", {"name": "legacy_euler_maruyama"}),
    (
        "legacy_euler_maruyama, flow",
        {"name": "legacy_euler_maruyama", "probability_flow": True},
    ),
]


def bias(sde, predictor, steps):
    """Variance bias in percent, or None where the sampler does not serve the process."""
    config = base.get_config().sampling
    config.update({"predictor": predictor, "steps": steps, "largest_bias": None})
    try:
        table = samplers.create(config, sde).table
    except ConfigError:
        return None
    return 100 * (moments(sde, table, MEAN, VARIANCE)[1] / VARIANCE - 1)


def limit(sde):
    """The same of the exact flow from the prior to sampling_t_min, denoised: in percent."""
    with float64_on_host():
        t = jnp.array([sde.t_max, sde.sampling_t_min])
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        total = alpha**2 * VARIANCE + sigma**2
        gain = alpha[1] * VARIANCE / total[1]
        return 100 * float(gain**2 * total[1] / total[0] * sde.prior_std**2 / VARIANCE - 1)


def main():
    """Prints and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three numbers of steps")
    parser.add_argument("--out", default="docs", help="folder of moments.md")
    arguments = parser.parse_args()
    counts = QUICK if arguments.quick else STEPS
    lines = [
        "# The moment audit",
        "",
        "Bias of the samples' variance in percent, on data N(0.3, 0.25) with its exact denoiser, in float64",
        "and without Monte-Carlo error (`make bench-moments`). Steps across; a dash where a sampler refuses.",
    ]
    for name, sde in PROCESSES.items():
        lines += [
            "",
            f"## {name}",
            "",
            f"The exact flow from the prior, denoised at t = {sde.sampling_t_min:g}: {limit(sde):+.4f}.",
            "",
            "| sampler | " + " | ".join(map(str, counts)) + " |",
            "|---|" + "---:|" * len(counts),
        ]
        for label, predictor in SAMPLERS:
            values = [bias(sde, predictor, steps) for steps in counts]
            if any(value is not None for value in values):
                shown = ["-" if value is None else f"{value:+.4g}" for value in values]
                lines.append(f"| {label} | " + " | ".join(shown) + " |")
                print(f"{name:6} {label:38}" + "".join(f"{value:>12}" for value in shown), flush=True)
    path = Path(arguments.out) / ("moments_quick.md" if arguments.quick else "moments.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
