"""The training loop, read top to bottom: restore, step, log, evaluate, save."""

import shlex
import sys
import time
from pathlib import Path

import jax
import numpy as np

import data
import experiment
from data.pipeline import Pipeline
from evaluation.held_out import HeldOut, HeldOutLoss
from experiment import checks
from experiment.draw import Drawer
from experiment.load import load
from parallel import devices
from parallel.processes import StopRequest
from reports import figures, pictures
from training import frozen_network
from training.step import TrainStep
from training.watch import MetricsWatch
from workdir.checkpoints import Checkpoints
from workdir.files import prepare_workdir, write_json
from workdir.provenance import collect
from workdir.records import Progress, Records, read_metrics, say


def run(config, workdir):
    """--mode=train: trains to `training.steps`, from the newest checkpoint in the workdir if there is one.

    Returns:
      whether it got there, rather than being stopped by a signal.

    Raises:
      UserError: see the message; what was saved before stays as it was.
    """
    source = data.create(config.data, "train")
    data.resolve(config.data, source)
    held_out = data.create(config.data, "test")
    checks.require(config)
    prepare_workdir(workdir)
    setup = experiment.create(config)
    checkpoints = Checkpoints(workdir, config)
    try:
        with StopRequest() as stop:
            return _train(config, Path(workdir), setup, source, held_out, checkpoints, stop)
    finally:
        checkpoints.finish()
        checkpoints.close()


def _start(config, setup):
    """The state at step 0; with `training.network_from` the network is the one trained there."""
    state = setup.create_state()
    if config.training.network_from is None:
        return state
    trained = config.copy_and_resolve_references()
    trained.update({"denoiser": {"variance_head": "none"}, "loss": {"variance_weight": 0.0}})
    trained.training.network_from = None
    _, params, record = load(trained, config.training.network_from, "training.network_from")
    say(f"the network of {config.training.network_from}, step {record['step']}, stays as it is")
    params = frozen_network.onto(state.params, params)
    return state.replace(params=params, ema={name: jax.tree.map(np.copy, params) for name in state.ema})


def _train(config, workdir, setup, source, held_out, checkpoints, stop):
    steps, jitted = config.training.steps, config.training.jitted_steps
    found = checkpoints.restore(setup.state_template())
    state = devices.replicate(found[0] if found else _start(config, setup))
    start = int(state.step)
    if start >= steps:
        say(f"{workdir} is already trained to step {start}; training.steps={steps}.")
        return True
    write_json(
        workdir / "config.json",
        {"config": config.to_dict(), "provenance": collect(), "data_recipe": source.recipe},
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    say(
        f"{f'resuming at step {start}' if found else 'training'}: {size / 1e6:.2f}M parameters, "
        f"{len(source)} images {'x'.join(map(str, setup.shape))}, {jax.device_count()} device(s); "
        "compiling the first step"
    )

    batch_size = config.training.batch_size
    pipeline = Pipeline(source, config.seed, batch_size, jax.process_index(), jax.process_count())
    one_call = devices.train_step(TrainStep.from_experiment(setup, batch_size, config.ema.ramp))
    held_out_loss = HeldOutLoss(setup, HeldOut.images(setup, held_out, config.eval.max_images), config.eval)
    preview = Drawer(setup, config.sampling)
    records = Records(workdir, start)
    progress = Progress(steps, "step", "train", initial=start)
    watch, key = MetricsWatch(), setup.key("train")
    since_log = (time.monotonic(), start)

    calls = range(start, steps, jitted)
    for first, batches in zip(calls, pipeline.batches(start, steps, jitted), strict=True):
        state, metrics = one_call(state, devices.shard(batches, axis=1), key)
        watch.add(first + 1, metrics)
        step = first + jitted
        last = step == steps or stop.signal is not None

        def due(every, step=step):
            return every > 0 and step % every == 0

        shown = {}
        if due(config.training.log_every) or last:
            shown = watch.means()
            now = time.monotonic()
            rate = batch_size * (step - since_log[1]) / (now - since_log[0])
            since_log = (now, step)
            records.scalars(step, {**shown, "images_per_second": rate})
            shown = {"loss": shown["loss"], "images/s": round(rate)}
        progress.update(jitted, **shown)

        average = state.ema[setup.ema_names[0]]
        if due(config.training.eval_every) or step == steps:
            by_level = held_out_loss(average)
            records.scalars(step, {"held_out_loss": float(by_level.mean())})
        if due(config.training.sample_every):
            count = config.sampling.num_samples
            pixels = setup.transform.to_pixels(preview.draw(average, count))
            picture = pictures.samples(pixels, config.data.levels, preview.labels(range(count)))
            pictures.save_picture(workdir / f"samples_{step:07d}.png", picture)
            records.image(step, "samples", picture)
        if due(config.checkpoint.every) or last:
            watch.check()
            checkpoints.save(state)
        if last:
            break

    progress.close()
    records.close()
    checkpoints.finish()
    if step < steps:
        command = shlex.join(["python", *sys.orig_argv[1:]])
        say(f"stopped by {stop.signal} at step {step} of {steps}; saved. The same command resumes: {command}")
        return False
    figures.loss_figure(workdir / "loss.png", read_metrics(workdir), held_out_loss.log_snr, by_level)
    say(f"trained to step {step}; loss curve in {workdir / 'loss.png'}, checkpoint in {checkpoints.folder}")
    return True
