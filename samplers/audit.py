"""What creation asks of a sampler before a sample is drawn: the variance of its samples, on one Gaussian.

The moment audit (samplers/moments.py) knows that variance exactly, at the standard deviation of the data. A
sampler whose samples vary much more than the data is unstable, or overshoots, on its process and with its
steps: no network mends that, and no picture tells where it came from. So creation refuses such a sampler. A
variance that is too small is a matter of accuracy: it is said and not refused.

At another temperature than 1 the samples should have the variance of the sampler's own limit of many steps,
not that of the data. A sampler without noise has no such limit: along the probability flow a score that is
divided by a number below 1 does not sharpen the data, but makes each step unstable.

Thresholds, learned variances, correctors whose effect on a Gaussian is not known, and solvers that choose
their steps on the way are outside the audit: creation then says nothing.
"""

import functools
import math
from typing import Any, NamedTuple

from denoisers.variance import Bounded, Heuristic
from samplers.moments import limit_of_many_steps, moments
from samplers.sampler import Sampler
from samplers.tape import evaluate

# The relative bias above which a bias is said, and above which a temperature is not reached.
NOTABLE = 0.1
# A refusal looks for a number of steps that is enough up to this one, whose table is formed in a second.
MOST_STEPS_TRIED = 4_000


class Described(NamedTuple):
    """A sampler with what the audit has to know of it.

    Attributes:
      config: the subtree `sampling`, resolved.
      sampler: samplers.Sampler.
      end: time at which the last move ends, before the final denoising; None for solvers without a table.
    """

    config: Any
    sampler: Sampler
    end: float | None = None

    @property
    def deterministic(self):
        """Whether all of a sample's noise is that of its start."""
        table = self.sampler.table
        if table is None:
            return self.sampler.adaptive.deterministic
        noisy = table.noise.any() or table.closing_noise > 0
        depends = table.spread is not None or table.limits is not None
        return not (noisy or depends or self.sampler.between)

    @property
    def is_known(self):
        """Whether the audit knows the moments of the samples."""
        table, between = self.sampler.table, self.sampler.between
        return (
            table is not None
            and table.limits is None
            and self.config.threshold.name == "none"
            and all(hasattr(acting, "mean_size") for acting in between)
        )

    @property
    def estimate(self):
        """The mean of the estimate of Var[x_0 | x_t] where that is not right on Gaussian data, else None."""
        heuristics = [wrapper for wrapper in self.sampler.wrappers if isinstance(wrapper, Heuristic)]
        bounds = [wrapper.most for wrapper in self.sampler.wrappers if isinstance(wrapper, Bounded)]
        return functools.partial(heuristics[0].mean, most=min(bounds)) if heuristics else None

    @property
    def named(self):
        """The sampler as messages call it."""
        config = self.config
        corrector = f', sampling.corrector.name="{config.corrector.name}"' if self.sampler.between else ""
        count = f"sampling.steps={config.steps}" if config.nfe is None else f"sampling.nfe={config.nfe}"
        return f'sampling.predictor.name="{config.predictor.name}"{corrector} with {count}'


def variance_ratio(described, sde, data_std):
    """Variance of the samples of N(0, data_std^2) over what it should be, inf for an unstable table.

    What it should be is the data's variance; without the final denoising that of the process at the time
    where the samples stand; at another temperature than 1 that of the limit of many steps.

    Args:
      data_std: None where it is not known.

    Returns:
      None where the audit does not know it.
    """
    if data_std is None or not described.is_known:
        return None
    table, between = described.sampler.table, described.sampler.between
    temperature, variance = described.config.temperature, data_std**2
    given = {"temperature": temperature, "between": between, "estimate": described.estimate}
    found = moments(sde, table, 0.0, variance, **given)[1]
    alpha, sigma = (float(evaluate(method, [described.end])[0]) for method in (sde.alpha, sde.sigma))
    at_end = alpha**2 * variance + sigma**2
    if temperature != 1:
        ends = (table.times[0], described.end)
        expected = limit_of_many_steps(sde, *ends, variance, temperature, corrected=bool(between))
        if described.config.final_denoise:
            expected *= ((1 - sigma**2 / at_end / temperature) / alpha) ** 2
    else:
        expected = variance if described.config.final_denoise else at_end
    return found / expected if math.isfinite(found) else math.inf


def refusal(described, ratio, data_std):
    """Why creation refuses a sampler, without what to do about it; or None.

    Args:
      ratio: of `variance_ratio`.
    """
    config = described.config
    temperature, largest = config.temperature, config.largest_bias
    if temperature != 1 and described.deterministic:
        return (
            f"sampling.temperature={temperature} is for samplers of the reverse SDE, and {described.named} "
            "follows the probability flow without noise."
        )
    if ratio is None or largest is None:
        return None
    given = f"{described.named} gives samples whose variance is {ratio:.3g} times that of"
    on = f"Gaussian data of standard deviation {data_std:.3g}"
    if temperature != 1:
        if abs(ratio - 1) <= NOTABLE:
            return None
        return f"sampling.temperature={temperature}: {given} the limit of many steps, on {on}."
    if ratio <= largest:
        return None
    return f"{given} {on}, above sampling.largest_bias={largest:g}."


def remark(ratio):
    """What is said of a sampler when sampling starts: a bias beyond NOTABLE; or None."""
    if ratio is None or abs(ratio - 1) <= NOTABLE:
        return None
    return (
        "note: on Gaussian data with an exact denoiser the variance of this sampler's samples is "
        f"{abs(100 * (ratio - 1)):.0f}% {'larger' if ratio > 1 else 'smaller'} than it should be; more "
        "sampling.steps bring it nearer"
    )


def advice(config, described, accepted):
    """What to use in place of a sampler that is refused, tried before it is named.

    Args:
      config: the subtree `sampling`, as it was given; described: what came of it.
      accepted: function of such a subtree, whether its sampler is taken.
    """
    tempered, name = config.temperature != 1, config.predictor.name
    # Another number of steps, or another grid, gives a sampler no noise.
    changes = {} if tempered and described.deterministic else {"": {}}
    if changes and described.config.grid.name == "uniform":
        changes["sampling.grid=vp_time"] = {"grid": "vp_time"}
    if described.sampler.between:
        changes["sampling.corrector=none"] = {"corrector": "none"}
    other = "sde_dpm_solver++" if tempered else "default" if described.deterministic else "ancestral"
    if other != name:
        changes[f"sampling.predictor={other}"] = {"predictor": other, "grid": None}
    ways = []
    for change, groups in changes.items():
        if len(ways) == 2:
            break
        changed = _renamed(config, **groups)
        count = "" if accepted(changed) else _enough(changed, accepted)
        if count is not None:
            ways.append(" with ".join(filter(None, (change, count))))
    ways.append("sampling.temperature=1.0" if tempered else "sampling.largest_bias=None")
    return " or ".join(filter(None, (", ".join(ways[:-1]), ways[-1])))


def _enough(config, accepted):
    """Nearly the least number of steps or calls with which a sampler is taken, as text; None if none is."""
    # The field by which the length of a run is given.
    field = "steps" if config.nfe is None else "nfe"

    def accepted_with(count):
        return accepted(_changed(config, {field: count}))

    low, high = config[field], 2 * config[field]
    while high <= MOST_STEPS_TRIED and not accepted_with(high):
        low, high = high, 2 * high
    if high > MOST_STEPS_TRIED:
        return None
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if accepted_with(middle) else (middle, high)
    return f"sampling.{field}={high}"


def _changed(config, fields):
    """A copy of a subtree with fields, which may be None, by their paths."""
    config = config.copy_and_resolve_references()
    with config.ignore_type():
        config.update_from_flattened_dict(fields)
    return config


def _renamed(config, **names):
    """The subtree `sampling` with the names of some groups, whose other fields are left to the classes."""
    fields = {}
    for group, name in names.items():
        fields |= {f"{group}.{field}": None for field in config[group]} | {f"{group}.name": name}
    return _changed(config, fields)
