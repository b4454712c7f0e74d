"""From the subtree `sampling` to a Sampler."""

import dataclasses
import functools

import jax
import numpy as np

from components import ConfigError, choose, closest
from configs import base
from denoisers import chain
from samplers import spread, time_grids
from samplers.correctors import CORRECTORS
from samplers.sampler import Sampler, TableSampler
from samplers.solvers import SOLVERS
from samplers.tape import Solver

MOST_STEPS = 100_000


# Up to so many calls: predictor's and corrector's order, prediction, variable, power of the grid vp_time.
# Chosen by `make bench-samplers`; docs/samplers.md says how, and how it fares on data it was not chosen on.
DEFAULTS = {
    5: (4, 0, "f", "measure", 3.25),
    7: (4, 0, "f", "vp_time", 3.0),
    9: (2, 4, "f", "measure", 3.0),
    12: (2, 4, "f", "measure", 2.5),
    17: (4, 0, "x0", "vp_time", 2.5),
    25: (3, 3, "f", "log_snr", 3.0),
    np.inf: (4, 4, "f", "log_snr", 3.0),
}


def default_fields(calls, final_denoise=True):
    """Fields of the default solver and grid for a number of calls.

    One choice serves every process, since all are the same ODE in y = x / alpha and r = sigma / alpha.
    """
    chosen = next(fields for most, fields in DEFAULTS.items() if calls <= most)
    names = ("order", "corrector_order", "prediction", "variable", "power")
    own = {"predictor": "adams", "grid": "vp_time", "toward_zero": final_denoise}
    return {**own, **dict(zip(names, chosen, strict=True))}


def _own_fields(table):
    """Config fields that some class of the table has and that are None unless set."""
    fields = {field.name for cls in table.values() for field in dataclasses.fields(cls) if field.init}
    return fields - {"steps", "final_denoise"}


def _create(table, config, family):
    """An object of the class that sampling.<family> names, from the subtree's fields that are its own."""
    name = config[family]
    cls = choose(table, name, f"sampling.{family}")
    own = {field.name for field in dataclasses.fields(cls) if field.init}
    given = {field: config[field] for field in sorted(_own_fields(table)) if config[field] is not None}
    for field in given:
        if field not in own:
            shown = ", ".join(sorted(own & _own_fields(table))) or "none"
            raise ConfigError(
                f'sampling.{field} is set, but sampling.{family}="{name}" has no such field.'
                f"{closest(field, own)} Its fields: {shown}."
            )
    supplied = {field: config[field] for field in ("steps", "final_denoise") if field in own}
    try:
        return cls(**given, **supplied)
    except ValueError as error:
        raise ConfigError(f'sampling.{family}="{name}": {error}') from error


def _table(config, solver, grid, sde, steps):
    if "steps" in {field.name for field in dataclasses.fields(solver)}:
        solver = dataclasses.replace(solver, steps=steps)
    try:
        times = grid(sde, solver.intervals(steps))
    except ValueError as error:
        raise ConfigError(f'sampling.grid="{config.grid}" {error}.') from error
    if len(times) < 2:
        raise ConfigError(f"sampling.steps={steps} is too few.")
    refusal = solver.refusal(sde, times)
    if refusal:
        raise ConfigError(f'sampling.predictor="{config.predictor}" {refusal}')
    with np.errstate(all="ignore"):  # what is not finite is refused below
        try:
            table = solver(sde, times, config.final_denoise)
        except (ValueError, ArithmeticError) as error:
            raise ConfigError(f'sampling.predictor="{config.predictor}" {error}.') from error
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(table))
    if not finite:
        raise ConfigError(
            f'sampling.predictor="{config.predictor}" has coefficients that are not finite on '
            f'{type(sde).__name__} with sampling.grid="{config.grid}". Use another of them, or "ancestral".'
        )
    return table


def _most_steps(config, build, calls_a_row):
    """The most steps whose calls stay within sampling.nfe.

    Numbers of steps that are refused are passed over: a grid of discrete levels refuses many, some
    solvers few.
    """

    @functools.cache
    def calls(steps):
        try:
            return build(steps).rows * calls_a_row
        except ConfigError:
            return None

    low, high = 0, config.nfe + 1  # low fits or is 0, high does not fit
    while high - low > 1:
        middle = (low + high) // 2
        # A refused number says nothing; the nearest larger one that is served does.
        found = next((n for n in range(middle, high) if calls(n) is not None), high)
        if found < high and calls(found) <= config.nfe:
            low = found
        else:
            high = middle
    return low


def resolve(config):
    """Writes the defaults into the subtree's fields `predictor` and `grid`, where they are not set."""
    if config.predictor == "default":
        config.predictor = "adams"
        if config.grid is None:
            calls = config.steps + config.final_denoise if config.nfe is None else config.nfe
            defaults = default_fields(calls, config.final_denoise)
            own = [name for name in defaults if name != "predictor" and config[name] is not None]
            if own:
                raise ConfigError(
                    f"sampling.{own[0]} is set, and sampling.predictor=default chooses it by the number of "
                    "calls. Name the predictor too, for example sampling.predictor=adams."
                )
            config.update(defaults)
    solver = choose(SOLVERS, config.predictor, "sampling.predictor")
    if config.grid is None and issubclass(solver, Solver):
        config.grid = solver.default_grid


def create(config, sde, data_range=None):
    """The sampler that the subtree `sampling` describes.

    Args:
      data_range: (low, high) of the model's data where it has one, for thresholds.

    Raises:
      ConfigError: unknown names, fields that do not belong together, numbers out of range, or a solver
        that cannot serve this SDE.
    """
    config = config.copy_and_resolve_references()
    resolve(config)
    for field in ("steps", "corrector_steps", "snr"):
        if not config[field] > 0:
            raise ConfigError(f"sampling.{field}={config[field]} must be positive.")
    for field in ("steps", "nfe"):
        if config[field] is not None and config[field] > MOST_STEPS:
            raise ConfigError(f"sampling.{field}={config[field]} must be at most {MOST_STEPS}.")
    solver = _create(SOLVERS, config, "predictor")
    try:
        around = chain.create(config, data_range)
    except ValueError as error:
        raise ConfigError(f"sampling.{error}.") from error
    make_corrector = choose(CORRECTORS, config.corrector, "sampling.corrector")
    if not isinstance(solver, Solver):
        if (config.corrector, config.variance, config.grid, config.nfe) != ("none", "small", None, None):
            raise ConfigError(
                f'sampling.predictor="{config.predictor}" chooses its own steps: it takes no '
                "sampling.corrector, sampling.grid, sampling.nfe or sampling.variance."
            )
        if solver.refusal(sde):
            raise ConfigError(f'sampling.predictor="{config.predictor}" {solver.refusal(sde)}')
        return Sampler(solver, around)

    if solver.default_grid is None and config.grid is not None:
        raise ConfigError(f'sampling.predictor="{config.predictor}" has its own times: set no sampling.grid.')
    grid = _create(time_grids.TIME_GRIDS, config, "grid") if config.grid else time_grids.Power()

    def build(steps):
        return _table(config, solver, grid, sde, steps)

    def corrector_of(rows):
        try:
            return make_corrector(config, sde, rows)
        except ValueError as error:
            raise ConfigError(f'sampling.corrector="{config.corrector}": {error}') from error

    steps = config.steps
    if config.nfe is not None:
        corrector = corrector_of(1)
        steps = _most_steps(config, build, 1 + (corrector.calls if corrector else 0))
        if steps == 0:
            build(config.nfe)  # where this is refused, its reason is the better one
            raise ConfigError(
                f'sampling.nfe={config.nfe} is too few for sampling.predictor="{config.predictor}".'
            )
    table = build(steps)
    corrector = corrector_of(table.rows)
    _require_states(config, table, corrector)
    end = grid(sde, solver.intervals(steps))[-1]
    table, inner = spread.apply(config, sde, table, end, data_range)
    return Sampler(TableSampler(table, corrector), (*inner, *around))


def _require_states(config, table, corrector):
    """Refuses a corrector where the network is not always called at the state of a new time."""
    unit = np.eye(1 + table.history)[0]
    if corrector is not None and not ((table.look == unit).all() and (np.diff(table.times) < 0).all()):
        raise ConfigError(
            f'sampling.corrector="{config.corrector}" acts on a state at the time of each call, and '
            f'sampling.predictor="{config.predictor}" calls the network in between. Use a predictor of one '
            "call a step, or sampling.corrector=none."
        )


def default_sampler(sde, calls):
    """The project's default sampler for a number of calls."""
    config = base.get_config().sampling
    config.nfe = calls
    return create(config, sde)
