"""An average of any width, at the step of any snapshot, from the snapshots of a run: post-hoc EMA.

Karras et al. (2024), section 3.2; the equations are in training/ema.py.
"""

import jax
import numpy as np

from components import ConfigError, pasteable
from experiment.create import create, resolved
from experiment.load import require_run
from modes import MODES
from training import ema
from workdir import averages
from workdir.records import Progress, say
from workdir.results import Results

# A profile that is further away is told of: EDM2's figures are of profiles met to below a percent.
FAR = 0.02


def refusals(config):
    """Lines about the fields of the subtree `ema` that say what is reconstructed."""
    std = config.ema.reconstruct_std
    if config.mixture.name:
        yield f'mixture.name="{config.mixture.name}" has no parameters to average.'
    if std is None:
        yield "ema.reconstruct_std says which average is made: --config.ema.reconstruct_std=0.075."
    elif not 1e-3 <= std < ema.LARGEST_STD:
        yield f"ema.reconstruct_std={std} must lie in [0.001, {ema.LARGEST_STD})."
    if not config.ema.power_stds:
        yield (
            "ema.power_stds=() keeps no averages of power functions, of which snapshots are made. Train with "
            "ema.power_stds=(0.05, 0.1) and ema.snapshot_every."
        )


def run(config, workdir, output=None):
    """--mode=ema: writes ema_<std>_<step>.npz, which `restore.file` takes in place of a checkpoint's average.

    Args:
      output: folder of the result; default the workdir.

    Raises:
      UserError: no run, no snapshots, or damaged ones.
    """
    std, last = config.ema.reconstruct_std, config.ema.reconstruct_step
    require_run(config, workdir)
    params = create(config, MODES["ema"].reads).params_template()
    paths = averages.snapshots(workdir)
    if not paths:
        raise ConfigError(
            f"There are no snapshots in {workdir}/{averages.FOLDER}. Train with ema.snapshot_every, "
            "some 20 of them in a run or more."
        )
    last = max(paths) if last is None else last
    if last not in paths:
        raise ConfigError(f"ema.reconstruct_step={last} is none of the snapshots' steps: {[*paths]}.")

    results = Results(workdir, output)
    steps = [step for step in paths if step <= last]
    stds = [float(std) for std in config.ema.power_stds]
    names = {s: ema.Power(s).name for s in stds}
    pairs = [(step, s) for step in steps for s in stds]
    coefficients, distance = ema.reconstruction(*zip(*pairs, strict=True), last, std)
    counts = dict(zip(pairs, coefficients, strict=True))
    say(f"sigma_rel={std:g} at step {last} from {len(steps)} snapshots: the profile is met to {distance:.2%}")
    if distance > FAR:
        say("warning: that is far; more snapshots (ema.snapshot_every) come nearer, or a larger sigma_rel")

    total = jax.tree.map(lambda leaf: np.zeros(leaf.shape), params)
    progress = Progress(len(steps), "snapshot", "ema")
    for step in steps:
        found, record = averages.read(paths[step], [*names.values()], params, resolved(config), "snapshot")
        for s, name in names.items():
            total = jax.tree.map(lambda a, b, c=counts[step, s]: a + c * b, total, found[name])
        progress.update(1)
    progress.close()
    single = {averages.SINGLE: jax.tree.map(np.float32, total)}
    record["average"] = {"sigma_rel": std, "step": last, "profile_distance": distance, "snapshots": steps}
    name = f"ema_{std:g}_{last:07d}.npz"
    results.write(name, averages.write, single, record)
    results.say_written()
    say(f"to use it: {pasteable('config.restore.file', results.folder / name)}")
