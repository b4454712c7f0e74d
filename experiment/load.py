"""From a workdir to the objects of its run."""

from denoisers import variance
from experiment import checks
from experiment.create import create
from samplers import fitted_grid, optimal_grid
from samplers.solvers import fitted
from training import frozen_network
from workdir.checkpoints import Checkpoints, checksum
from workdir.provenance import collect
from workdir.records import say


def load(config, workdir, field=None):
    """The experiment of a workdir and the averaged parameters of its newest good checkpoint.

    What the data source alone knows (side, channels, levels) comes from the checkpoint,
    so that no data set is needed to sample. A mixture needs no checkpoint: it is the parameters.

    Args:
      field: the config field that names the workdir, where it is not --workdir; for messages.

    Returns:
      (Experiment, parameters, record of the checkpoint).

    Raises:
      UserError: no checkpoint, or one of another config.
    """
    if config.mixture.name:
        setup = create(config)
        return setup, setup.denoiser.init(), {"step": 0, "provenance": collect()}
    checkpoints = Checkpoints(workdir, config, read_only=True, field=field)
    checkpoints.resolve_data(config.data)
    checks.require(config)
    setup = create(config)
    params, record = checkpoints.restore_ema(setup.state_template())
    checkpoints.close()
    return setup, params, record


def warn_of_other_parameters(config, params):
    """Says where a fitted solver or grid belongs to another model than the one that is sampled."""
    readers = {
        "file": ("calibrate", lambda path: fitted.load(path)[-1]),
        "grid_file": (
            ("trajectory", lambda path: optimal_grid.load(path).about)
            if config.sampling.grid == "optimal"
            else ("calibrate", lambda path: fitted_grid.load(path)[-1])
        ),
        "variance_file": ("variance", lambda path: variance.load(path).about),
    }
    files = {field: config.sampling[field] for field in readers if config.sampling[field] is not None}
    # A head that is trained alone leaves the network below it as it was.
    known = {None, checksum(params), checksum(frozen_network.below(params))} if files else {None}
    for field, path in files.items():
        mode, about_of = readers[field]
        about = about_of(path)
        if about.get("parameters") not in known:
            say(
                f"warning: sampling.{field}={path} was fitted to other parameters, of step "
                f"{about.get('step')}; --mode={mode} fits to these"
            )
        if mode == "trajectory" and about["variance"] != config.sampling.variance:
            say(
                f"note: the levels of {path} are the best for the variance {about['variance']}, and "
                f"sampling.variance={config.sampling.variance}"
            )
