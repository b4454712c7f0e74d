"""From a workdir to the objects of its run."""

from experiment.create import OF_A_RUN, create
from training import frozen_network
from workdir.checkpoints import Checkpoints
from workdir.files import checksum
from workdir.provenance import collect
from workdir.records import say


def require_run(config, workdir):
    """Takes from the run's record what the config leaves to the data, and refuses a run of another config.

    Raises:
      UserError: no checkpoint, one of another config, or `restore.step` that is not there.
    """
    if not config.mixture.name:
        checkpoints = Checkpoints(workdir, config, read_only=True)
        try:
            checkpoints.resolve_data(config.data)
        finally:
            checkpoints.close()


def load(config, workdir, reads=OF_A_RUN, field=None):
    """The experiment of a workdir and averaged parameters of its newest good checkpoint.

    What the data source alone knows (side, channels, pixel values) comes from the checkpoint,
    so that no data set is needed to sample. A mixture needs no checkpoint: it is the parameters.
    `restore.step` and `restore.average` choose another checkpoint or average.

    Args:
      reads: subtrees beside those that make the model; see experiment.create.
      field: the config field that names the workdir, where it is not --workdir; for messages.

    Returns:
      (Experiment, parameters, record of the checkpoint).

    Raises:
      UserError: no checkpoint, or one of another config.
    """
    if config.mixture.name:
        loaded = create(config, reads)
        return loaded, loaded.denoiser.init(), {"step": 0, "provenance": collect()}
    checkpoints = Checkpoints(workdir, config, read_only=True, field=field)
    try:
        checkpoints.resolve_data(config.data)
        loaded = create(config, reads)
        params, record = checkpoints.restore_ema(loaded.params_template())
    finally:
        checkpoints.close()
    return loaded, params, record


def warn_of_other_parameters(config, loaded, params):
    """Says where a measured file belongs to another model than the one that is loaded.

    Args:
      config: the whole config; loaded: its Experiment; params: what the denoiser has.
    """
    # A head that is trained alone leaves the network below it as it was.
    known = {None, checksum(params), checksum(frozen_network.below(params))} if loaded.files else {None}
    for field, file in loaded.files.items():
        if file.origin.get("parameters") not in known:
            say(
                f"warning: {field}={file.path} was fitted to other parameters, of step "
                f"{file.origin.get('step')}; measure it anew for these"
            )
    grid, variance_name = loaded.files.get("sampling.grid.file"), config.sampling.variance.name
    if grid and config.sampling.grid.name == "optimal" and grid.origin["variance"] != variance_name:
        say(
            f"note: the levels of {grid.path} are the best for the variance {grid.origin['variance']}, and "
            f"sampling.variance.name={variance_name}"
        )
