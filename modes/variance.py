"""How much of the noise a model leaves unexplained at every noise level, measured on data: variance.npz."""

import jax
import jax.numpy as jnp
import numpy as np

from denoisers.variance import MOMENTS_FILE, Measured
from evaluation.held_out import HeldOut
from evaluation.noise_levels import identity_of, measure, training_examples
from experiment.load import load
from likelihood.bounds import log_snr_levels
from modes import MODES
from parallel import devices
from parallel.batches import BatchMap
from reports import figures
from workdir.files import write_measured
from workdir.partial import Partial
from workdir.records import say
from workdir.results import Results


class Moments:
    """E|eps_hat|^2 / d and E|eps - eps_hat|^2 / d on data, one noise for each example and level.

    Args:
      experiment: Experiment; held_out: HeldOut with the data; batch_size: over all devices.
    """

    def __init__(self, experiment, held_out, batch_size):
        def squares(constants, examples):
            params, t, key = constants
            keys, x0, label = held_out.draw(key, examples)
            times = jnp.full(len(x0), t)
            xt, eps = experiment.sde.perturb(keys, x0, times)
            predicted = experiment.denoiser(params, xt, times, label).eps
            return [jnp.mean(a.reshape(len(a), -1) ** 2, axis=1) for a in (predicted, eps - predicted)]

        self._map = BatchMap(squares, batch_size)
        self._examples, self._key = held_out.numbered(), experiment.key("variance")

    def __call__(self, params, level, t):
        """[2, N] both moments of every example at one level."""
        key = jax.random.fold_in(self._key, level)
        return np.stack(self._map((params, np.float32(t), key), self._examples))


def refusals(config):
    """Lines about the subtree `variance`."""
    settings = config.variance
    yield from devices.uneven("variance.batch_size", settings.batch_size)
    for field in ("levels", "examples"):
        if settings[field] < 2:
            yield f"variance.{field}={settings[field]} must be at least 2."


def run(config, workdir, output=None):
    """--mode=variance: writes variance.npz and variance.png; goes on where it was stopped.

    Args:
      output: folder of the results; default the workdir.

    Raises:
      UserError: no checkpoint, or a model that is not finite.
    """
    settings = config.variance
    loaded = load(workdir, config, MODES["variance"].reads)
    experiment, params, checkpoint = loaded.experiment, loaded.params, loaded.checkpoint
    results = Results(workdir, output)
    examples = training_examples(loaded, settings.examples, "variance data", least=2)
    held_out = HeldOut.from_experiment(experiment, examples)
    times = log_snr_levels(experiment.sde, settings.levels)
    origin = identity_of(experiment, checkpoint, params, config, examples)
    say(f"unexplained noise at {settings.levels} levels on {len(held_out)} examples")
    moments = Moments(experiment, held_out, settings.batch_size)

    def of_level(level):
        values = moments(params, level, times[level]).astype(np.float64)
        error = values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
        return {"moments": values.mean(axis=1), "errors": error}

    partial = Partial(results.folder / "variance", origin)
    measured = measure(partial, settings.levels, of_level, "variance")
    log_snr = np.asarray(experiment.sde.log_snr(jnp.asarray(times)))
    table = Measured(log_snr[::-1], measured["moments"][::-1], measured["errors"][::-1])
    results.write("variance.npz", write_measured, MOMENTS_FILE, vars(table), origin)
    results.write("variance.png", figures.variance_figure, table)
    partial.finish()
    results.say_written()
