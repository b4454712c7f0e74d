"""From the subtree `sampling` to a Sampler: a table, what acts between its moves, the chain."""

import dataclasses
import functools
import math
import operator

import jax
import numpy as np

from components import ConfigError, Refusals, choose
from components import create as create_component
from denoisers import chain
from denoisers.temperature import Temperature
from denoisers.thresholds import THRESHOLDS
from denoisers.variance import CHOICES
from samplers import audit, time_grids
from samplers.correctors import CORRECTORS
from samplers.sampler import Sampler
from samplers.solvers import SOLVERS
from samplers.spread import with_variance
from samplers.tape import Solver

MOST_STEPS = 100_000


# Nearly uniform in log-SNR, a little denser at the noisy end.
RHO = 30.0
# By the largest count of numbers in a sample, then by the largest number of calls: orders of predictor and
# corrector, prediction, variable, grid, and its field (power of vp_time; end of log_snr and rho).
# docs/samplers.md says how they were chosen, and how they fare on data they were not chosen on.
DEFAULTS = {
    511: {
        9: (4, 0, "f", "measure", "vp_time", 3.25),
        17: (3, 4, "x0", "vp_time", "vp_time", 3.5),
        np.inf: (4, 4, "x0", "vp_time", "vp_time", 3.5),
    },
    np.inf: {
        7: (2, 0, "x0", "log_snr", "log_snr", 0.06),
        11: (3, 3, "x0", "log_snr", "log_snr", 0.02),
        16: (3, 3, "x0", "log_snr", "log_snr", 0.01),
        24: (3, 4, "x0", "log_snr", "rho", 0.005),
        np.inf: (4, 4, "x0", "log_snr", "rho", 0.0),
    },
}


# sigma / alpha between which the steps of images are counted: from where EDM begins to a grey level.
_COUNTED_FROM, _COUNTED_TO = 80.0, 2 / 255


def _as_on_edm(calls, sde):
    """The calls that make steps of the same size in log-SNR on EDM, or fewer than these."""
    start = math.exp(-time_grids.half_log_snr_ends(sde)[0])
    counted = (math.log(ratio / _COUNTED_TO) for ratio in (_COUNTED_FROM, start))
    return calls * min(1.0, operator.truediv(*counted))


def chosen(calls, shape=None, sde=None):
    """The entry of DEFAULTS for a number of calls, a sample's shape and a process.

    How high an order can be depends on the size of a step, and a process that begins at more noise has larger
    ones: of images, calls are counted as on EDM.

    Args:
      shape: None: as of one number; sde: None: as EDM.
    """
    numbers = 1 if shape is None else math.prod(shape)
    images = sde is not None and numbers > min(DEFAULTS)
    return _up_to(_up_to(DEFAULTS, numbers), _as_on_edm(calls, sde) if images else calls)


def _up_to(table, number):
    return next(value for most, value in table.items() if number <= most)


def grid_fields(name, value, final_denoise=True):
    """Fields of sampling.grid for an entry of DEFAULTS."""
    if name == "vp_time":
        return {"power": value, "toward_zero": final_denoise}
    own = {"rho": RHO} if name == "rho" else {}
    return {**own, "end": value if final_denoise else 0.0}


def default_fields(calls, shape=None, final_denoise=True, sde=None):
    """Fields of sampling.predictor and sampling.grid by default; arguments as of `chosen`.

    One choice serves every process, since all are the same ODE in y = x / alpha and r = sigma / alpha. Images
    have one of their own: the more numbers a sample has, the larger the noise at which its modes part.
    """
    *solver, grid, value = chosen(calls, shape, sde)
    names = ("order", "corrector_order", "prediction", "variable")
    return {
        "predictor": {"name": "adams", **dict(zip(names, solver, strict=True))},
        "grid": {"name": grid, **grid_fields(grid, value, final_denoise)},
    }


def _table(config, solver, grid, sde, steps):
    if "steps" in {field.name for field in dataclasses.fields(solver)}:
        solver = dataclasses.replace(solver, steps=steps)
    named = f'sampling.predictor.name="{config.predictor.name}"'
    try:
        times = grid(sde, solver.intervals(steps))
    except ValueError as error:
        raise ConfigError(f'sampling.grid.name="{config.grid.name}" {error}.') from error
    if len(times) < 2:
        raise ConfigError(f"sampling.steps={steps} is too few.")
    refusal = solver.refusal(sde, times)
    if refusal:
        raise ConfigError(f"{named} {refusal}")
    with np.errstate(all="ignore"):  # what is not finite is refused below
        try:
            table = solver(sde, times, config.final_denoise)
        except (ValueError, ArithmeticError) as error:
            raise ConfigError(f"{named} {error}.") from error
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(table))
    if not finite:
        raise ConfigError(
            f"{named} has coefficients that are not finite on {type(sde).__name__} with "
            f'sampling.grid.name="{config.grid.name}". Use another of them, or "ancestral".'
        )
    return table


def _most_steps(build, nfe, calls_a_row):
    """The most steps whose calls stay within `nfe`.

    build(steps) may refuse a number of steps (a grid of discrete levels refuses many, some solvers few):
    the next larger number that works is tried instead.
    """

    @functools.cache
    def calls(steps):
        try:
            return build(steps).rows * calls_a_row
        except ConfigError:
            return None

    low, high = 0, nfe + 1  # low fits or is 0, high does not fit
    while high - low > 1:
        middle = (low + high) // 2
        found = next((n for n in range(middle, high) if calls(n) is not None), high)
        if found < high and calls(found) <= nfe:
            low = found
        else:
            high = middle
    return low


def default_sampler(sde, calls, shape=None):
    """The project's default Sampler for a number of calls and a sample's shape, on any process."""
    fields = default_fields(calls, shape, sde=sde)
    solver, grid = (
        table[fields[family]["name"]](**{k: v for k, v in fields[family].items() if k != "name"})
        for family, table in (("predictor", SOLVERS), ("grid", time_grids.TIME_GRIDS))
    )
    return Sampler(solver(sde, grid(sde, calls - 1)))


def resolve(config, shape=None, sde=None):
    """Writes the chosen predictor, grid and their defaults into the subtree `sampling`.

    Args:
      shape, sde: of a sample, and the process, by which the default is chosen; see `chosen`.

    Raises:
      ConfigError: a field is set whose value `sampling.predictor=default` chooses.
    """
    predictor, grid = config.predictor, config.grid
    if predictor.name == "default":
        if grid.name is None:
            calls = config.steps + config.final_denoise if config.nfe is None else config.nfe
            defaults = default_fields(calls, shape, config.final_denoise, sde)
            for group, fields in defaults.items():
                for field in fields:
                    if field != "name" and config[group][field] is not None:
                        raise ConfigError(
                            f"sampling.{group}.{field} is set, and sampling.predictor=default chooses it by "
                            "the number of calls, the data's shape and the process. Name the predictor too, "
                            "for example sampling.predictor=adams."
                        )
                config[group].update(fields)
        else:
            predictor.name = "adams"
    solver = choose(SOLVERS, predictor.name, "sampling.predictor.name")
    if grid.name is None and issubclass(solver, Solver):
        grid.name = solver.default_grid


def wrappers(reader, config, data_range, variance=None):
    """The functions denoise -> denoise that a reader takes of what the subtree `sampling` describes.

    Args:
      reader: key of denoisers.chain.READERS.
      data_range: (low, high) of the model's data where it has one.
      variance: an entry of denoisers.variance.CHOICES as an object, for readers that take it.

    Raises:
      ConfigError: a threshold or temperature that cannot be.
    """
    try:
        tempered = () if config.temperature == 1 else (Temperature(config.temperature),)
    except ValueError as error:
        raise ConfigError(f"sampling.{error}.") from error
    threshold = create_component(THRESHOLDS, config.threshold, "sampling.threshold")
    try:
        thresholds = threshold.wrappers(data_range)
    except ValueError as error:
        raise ConfigError(f'sampling.threshold.name="{config.threshold.name}" {error}.') from error
    estimate = variance.wrappers(data_range) if variance else ()
    return chain.create(reader, variance=estimate, temperature=tempered, threshold=thresholds)


def create(config, sde, data_range=None, files=None, data_std=0.5, shape=None):
    """The sampler that the subtree `sampling` describes.

        >>> import samplers, sde_lib
        >>> from configs import base
        >>> sampler = samplers.create(base.get_config().sampling, sde_lib.VP())
        >>> sampler.nfe
        51

    Args:
      data_range: (low, high) of the model's data where it has one, for thresholds.
      files: Contents by config field, for the fields that name files.
      data_std: standard deviation of the data, at which the moment audit is asked; None: it is not asked.
      shape: of a sample, by which sampling.predictor=default is chosen; None: as for one of few numbers.

    Raises:
      ConfigError: unknown names, fields that do not belong together, numbers out of range, a solver
        that cannot serve this SDE, samples that vary too much (sampling.largest_bias), or a temperature that
        the solver does not reach.
    """
    return create_audited(config, sde, data_range, files, data_std, shape)[0]


def create_audited(config, sde, data_range=None, files=None, data_std=0.5, shape=None):
    """The sampler of `create`, and the variance of its samples over what it should be.

    Returns:
      (Sampler, ratio); the ratio is None where the audit (samplers/audit.py) does not know it.

    Raises:
      ConfigError: as `create`.
    """
    config = config.copy_and_resolve_references()

    def audited(config):
        described = _describe(config, sde, data_range, files, shape)
        ratio = audit.variance_ratio(described, sde, data_std)
        return described, ratio, audit.refusal(described, ratio, data_std)

    def accepted(config):
        try:
            return audited(config)[-1] is None
        except ConfigError:
            return False

    described, ratio, refusal = audited(config)
    if refusal:
        raise ConfigError(f"{refusal} Use {audit.advice(config, described, accepted)}.")
    return described.sampler, ratio


def _describe(config, sde, data_range, files, shape):
    """The audit.Described of the subtree `sampling`, whatever its samples' variance."""
    config = config.copy_and_resolve_references()
    refusals = Refusals()
    with refusals:
        resolve(config, shape, sde)
    largest = config.largest_bias
    if largest is not None and not largest >= 1:
        refusals.add([f"sampling.largest_bias={largest} must be at least 1, or None."])
    for field in ("steps", "nfe"):
        if config[field] is not None and not 0 < config[field] <= MOST_STEPS:
            refusals.add([f"sampling.{field}={config[field]} must lie in 1..{MOST_STEPS}."])
    refusals.raise_if_any()

    def component(table, family, **supplied):
        return create_component(table, config[family], f"sampling.{family}", files, **supplied)

    solver_class = SOLVERS[config.predictor.name]
    own = {field.name for field in dataclasses.fields(solver_class)}
    supplied = {field: config[field] for field in ("steps", "final_denoise") if field in own}
    with refusals:
        solver = component(SOLVERS, "predictor", **supplied)
    with refusals:
        variance = component(CHOICES, "variance")
        around = wrappers("sampler", config, data_range, variance)
    with refusals:
        corrector = component(CORRECTORS, "corrector")
    if issubclass(solver_class, Solver):
        with refusals:
            grid = _grid(config, solver_class, component)
    refusals.raise_if_any()
    if not isinstance(solver, Solver):
        _require_no_table(config, solver, sde)
        return audit.Described(config, Sampler(adaptive=solver, wrappers=around))

    def build(steps):
        return _table(config, solver, grid, sde, steps)

    def between(rows):
        try:
            return corrector.attach(sde, rows)
        except ValueError as error:
            raise ConfigError(f'sampling.corrector.name="{config.corrector.name}": {error}.') from error

    steps = config.steps
    if config.nfe is not None:
        calls_a_row = 1 + sum(acting.calls for acting in between(1))
        steps = _most_steps(build, config.nfe, calls_a_row)
        if steps == 0:
            build(config.nfe)  # where this is refused, its reason is the better one
            raise ConfigError(
                f'sampling.nfe={config.nfe} is too few for sampling.predictor.name="{config.predictor.name}".'
            )
    table = build(steps)
    acting = between(table.rows)
    _require_states(config, table, acting)
    end = grid(sde, solver.intervals(steps))[-1]
    varied = _varied(config, table, variance, sde, end, data_range)
    return audit.Described(config, Sampler(varied, acting, wrappers=around), end)


def _grid(config, solver_class, component):
    if solver_class.default_grid is None and config.grid.name is not None:
        raise ConfigError(
            f'sampling.predictor.name="{config.predictor.name}" has its own times: set no sampling.grid.'
        )
    return component(time_grids.TIME_GRIDS, "grid") if config.grid.name else time_grids.Power()


def _require_no_table(config, solver, sde):
    """Refuses what only a table can have, where a solver chooses its own steps."""
    chosen = (config.corrector.name, config.variance.name, config.grid.name, config.nfe)
    if chosen != ("none", "small", None, None):
        raise ConfigError(
            f'sampling.predictor.name="{config.predictor.name}" chooses its own steps: it takes no '
            "sampling.corrector, sampling.grid, sampling.nfe or sampling.variance."
        )
    if solver.refusal(sde):
        raise ConfigError(f'sampling.predictor.name="{config.predictor.name}" {solver.refusal(sde)}')


def _varied(config, table, variance, sde, end, data_range):
    """The table with the chosen variance of its moves."""
    reason = None
    if variance.choice != "small" and config.predictor.probability_flow:
        reason = "with probability_flow follows the flow by Euler's method, whose mean is none of DDIM's"
    try:
        if reason:
            raise ValueError(reason)
        return with_variance(table, variance, sde, end, data_range)
    except ValueError as error:
        raise ConfigError(
            f'sampling.variance.name="{config.variance.name}": '
            f'sampling.predictor.name="{config.predictor.name}" {error}. Use "ancestral", "ddim", '
            '"reverse_diffusion" or "euler_maruyama".'
        ) from error


def _require_states(config, table, acting):
    """Refuses a corrector where the network is not always called at the state of a new time."""
    unit = np.eye(1 + table.history)[0]
    if acting and not ((table.look == unit).all() and (np.diff(table.times) < 0).all()):
        raise ConfigError(
            f'sampling.corrector.name="{config.corrector.name}" acts on a state at the time of each call, '
            f'and sampling.predictor.name="{config.predictor.name}" calls the network in between. Use a '
            "predictor of one call a step, or sampling.corrector=none."
        )
