"""The training loop, read top to bottom: restore, step, log, evaluate, save."""

import contextlib
import functools
import shlex
import sys

import jax
import numpy as np

import data
from components import ConfigError, positive
from data.pipeline import Pipeline
from evaluation import few_samples
from evaluation.held_out import HeldOut, HeldOutLoss
from evaluation.sample_quality import require_reference
from experiment import ahead
from experiment.create import create, resolved, subtree
from experiment.draw import NumberedSamples
from experiment.load import load
from experiment.run_data import open_data, open_splits
from modes import MODES, check
from parallel import chips, devices, layouts, memory
from parallel.processes import on_any
from reports import figures, pictures
from training import frozen_network, levels, optimizers
from training.step import TrainStep
from training.watch import MetricsWatch, Stopwatch
from workdir import averages, weights_and_biases
from workdir.checkpoints import Checkpoints
from workdir.compatibility import trained_on
from workdir.full_disk import left_out
from workdir.lock import Lock
from workdir.provenance import collect
from workdir.records import Progress, Records, read_metrics, say
from workdir.results import Results
from workdir.signals import StopRequest

FREQUENCIES = (
    "training.log_every",
    "training.eval_every",
    "training.sample_every",
    "training.sample_quality_every",
    "checkpoint.every",
    "ema.snapshot_every",
)


def _frequencies(config):
    """{path: steps between two times of something}."""
    return {path: subtree(config, path) for path in FREQUENCIES}


def refusals(config):
    """Lines about the subtrees `training`, `checkpoint` and what the held-out loss reads of `eval`."""
    training = config.training
    yield from positive(training, "training", "steps", "jitted_steps", "log_every", "accumulation")
    yield from positive(config.checkpoint, "checkpoint", "every", "keep")
    yield from positive(config.eval, "eval", "loss_levels", "max_images")
    values = _frequencies(config)
    kept = {f"checkpoint.{field}": config.checkpoint[field] for field in ("keep_every", "keep_best")}
    for path, value in {**values, **kept}.items():
        if value < 0:
            yield f"{path}={value} must not be negative; 0 means never."
    measured = training.eval_every > 0 and config.checkpoint.every % training.eval_every == 0
    if config.checkpoint.keep_best > 0 and not measured:
        yield (
            f"checkpoint.keep_best={config.checkpoint.keep_best} chooses by the held-out loss, which must be "
            f"measured whenever a checkpoint is saved: training.eval_every={training.eval_every} must "
            f"divide checkpoint.every={config.checkpoint.every}."
        )
    jitted = max(training.jitted_steps, 1)
    uneven = {p: v for p, v in {"training.steps": training.steps, **values}.items() if v % jitted}
    if uneven:
        yield (
            f"training.jitted_steps={jitted} must divide "
            f"{', '.join(f'{path}={value}' for path, value in uneven.items())}. "
            "Change these to multiples of it, or use training.jitted_steps=1."
        )
    yield from layouts.refusals(training)
    yield from weights_and_biases.refusals(training.wandb_project)
    if config.ema.snapshot_every and not config.ema.power_stds:
        yield (
            f"ema.snapshot_every={config.ema.snapshot_every} needs averages of power functions: "
            "ema.power_stds=(0.05, 0.1)."
        )
    yield from devices.uneven("eval.batch_size", config.eval.batch_size)
    if training.sample_quality_every:
        yield from few_samples.refusals(config)


def require_files(config, workdir=None, record=None):
    """Raises UserError for what `run` would refuse of the files that it reads beside the data."""
    if config.training.sample_quality_every:
        require_reference(config)


def require_layout(config, experiment):
    """Raises ConfigError where training.sharding does not fit the parameters."""
    if lines := list(layouts.create(config.training).unfit(experiment.params_template())):
        raise ConfigError("\n".join(lines))


def run(config, workdir):
    """--mode=train: trains to `training.steps`, from the newest checkpoint in the workdir if there is one.

    Returns:
      whether it got there, rather than being stopped by a signal.

    Raises:
      ConfigError: the run was trained on other data than there is now, and data.allow_changed is not set.
      UserError: another run trains in the workdir, or see the message; what was saved before stays as it was.
    """
    sources = open_splits(config)
    data.resolve(config.data, sources["train"])
    check.require("train", config)
    require_files(config)
    results = Results(workdir)
    experiment = create(config, MODES["train"].reads)
    require_layout(config, experiment)
    with contextlib.ExitStack() as closing:
        lock = closing.enter_context(Lock(workdir))
        checkpoints = Checkpoints(workdir, resolved(config))
        closing.callback(checkpoints.close)
        state, found = _begin(config, experiment, sources, checkpoints)
        stop = closing.enter_context(StopRequest())
        return _train(config, results, lock, experiment, state, found, checkpoints, stop, closing)


def _start(config, experiment):
    """(state at step 0, None); with `training.network_from` the network trained there, and its record."""
    state = experiment.create_state()
    if config.training.network_from is None:
        return state, None
    trained = config.copy_and_resolve_references()
    trained.update({"denoiser": {"variance_head": "none"}, "loss": {"variance_weight": 0.0}})
    trained.training.network_from = None
    network = load(config.training.network_from, trained, (), "training.network_from")
    step = network.checkpoint["step"]
    say(f"the network of {config.training.network_from}, step {step}, stays as it is")
    params = frozen_network.onto(state.params, network.params)
    copies = {name: jax.tree.map(np.copy, params) for name in state.ema}
    return state.replace(params=params, ema=copies), network.checkpoint


def _say_of_the_rate(config, start, steps_before):
    """Says how the learning rate goes on where its schedule depends on a number of steps that has changed."""
    steps = config.training.steps
    before, now = (float(optimizers.learning_rate(config.optim, n)(start)) for n in (steps_before, steps))
    if before != now:
        say(
            f"note: training.steps was {steps_before} and is {steps}; with "
            f'optim.schedule="{config.optim.schedule}" the learning rate at step {start} goes from '
            f"{before:.3g} to {now:.3g}, that of a run of {steps} steps from the start"
        )


def _begin(config, experiment, sources, checkpoints):
    """(the state to go on from, RunData that agrees with what it was trained on)."""
    layout = layouts.create(config.training)
    restored = checkpoints.restore(layout.template(experiment.state_template()))
    state, record = restored or _start(config, experiment)
    what = "the run" if restored else f"the network of training.network_from={config.training.network_from}"
    found = open_data(config, sources, record, what, latest=bool(restored))
    before = trained_on(record) if record else []
    checkpoints.imported = record.get("imported") if record else None
    checkpoints.trained_on = before if before and not found.changes else [*before, found.identity]
    if restored and int(state.step) < config.training.steps:
        _say_of_the_rate(config, int(state.step), record["config"]["training"]["steps"])
    # Allowed once: the record of a run does not allow it to those who read the run.
    config.data.allow_changed = False
    return state, found


def _train(config, results, lock, experiment, state, found, checkpoints, stop, closing):
    workdir, steps, jitted = results.folder, config.training.steps, config.training.jitted_steps
    source, start = found.train, int(state.step)
    if start >= steps:
        say(f"{workdir} is already trained to step {start}; training.steps={steps}.")
        return True
    for line in (data.unused_values(config.data, source), optimizers.unreached(config.optim, steps)):
        if line:
            say(f"warning: {line}")
    results.json(
        "config.json",
        {
            "config": config.to_dict(),
            "provenance": collect(),
            "data_recipe": source.recipe,
            "data": checkpoints.trained_on,
        },
    )
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    say(
        f"{f'resuming at step {start}' if start else 'training'}: {size / 1e6:.2f}M parameters, "
        f"{len(source)} images {'x'.join(map(str, experiment.shape))}, {jax.device_count()} device(s); "
        "compiling the first step"
    )

    batch_size = config.training.batch_size
    pipeline = Pipeline(source, config.seed, batch_size, jax.process_index(), jax.process_count())
    step_body = TrainStep.from_experiment(experiment, batch_size, config.training.accumulation)
    layout = layouts.create(config.training)
    if line := layout.described(state.params):
        say(line)
    state, one_call = layout.place(state), layout.compile(step_body)
    held_out = HeldOut.images(experiment, found.test, HeldOutLoss.examples(config.eval))
    held_out_loss = HeldOutLoss(experiment, held_out, config.eval)
    preview = NumberedSamples(experiment, config.sampling)
    if config.training.sample_every:
        preview.say_bias()
    quality = None
    if config.training.sample_quality_every:
        quality = few_samples.FewSamples(experiment, config, found)
    project, also = config.training.wandb_project, None
    if project is not None:
        also = functools.partial(weights_and_biases.Run, project, workdir, config.to_dict())
    records = closing.enter_context(Records(workdir, start, also))
    progress = Progress(steps, "step", "train", initial=start)
    watch, key, by_level = MetricsWatch(levels.edges(experiment.sde)), experiment.key("train"), None
    clock, logged, lost = Stopwatch(), start, []
    chip, flops = chips.of_device(jax.devices()[0]), None

    def average(state):
        return layout.local(state.ema[experiment.ema_names[0]])

    frequencies = _frequencies(config).values()
    calls = range(start, steps, jitted)
    batches = pipeline.batches(start, steps, jitted)
    for first in calls:
        with clock.of("data"):
            batch = next(batches)
        arguments = state, layout.split(batch), key
        with memory.guarded("training", "training.batch_size", "model.width"):
            if chip and flops is None:
                # Under pmap a program compiled so takes no arrays of several processes; the call finds it in
                # the compilation cache.
                program = one_call.lower(*arguments).compile()
                flops = ahead.flops(program, jax.devices()[0]) / jitted
            state, metrics = one_call(*arguments)
        if first == start:
            # To compile is no part of a step.
            clock = Stopwatch()
        watch.add(first + 1, metrics)
        step = first + jitted
        # Several processes ask each other where they wait for metrics anyway, and so stop at the same step.
        asks = jax.process_count() == 1 or step % config.training.log_every == 0
        last = step == steps or (asks and on_any(stop.signal is not None))

        def due(every, step=step):
            return every > 0 and step % every == 0

        shown = {}
        if due(config.training.log_every) or last:
            shown, seconds = watch.means(), clock.split(step - logged)
            logged, rate = step, batch_size / sum(seconds.values())
            learning_rate = float(optimizers.learning_rate(config.optim, steps)(step - 1))
            speed = {"images_per_second": rate, **seconds, **memory.in_use()}
            if chip:
                achieved = flops / sum(seconds.values())
                speed |= {"tflops_a_device": achieved / 1e12, "mfu": achieved / chip.flops}
            records.scalars(step, {**shown, "learning_rate": learning_rate, **speed})
            shown = {"loss": shown["loss"], "images/s": round(rate)}
        progress.update(jitted, **shown)

        if any(map(due, frequencies)):
            # Else the host's time below would hold that of the steps.
            watch.check()
        with clock.of("host"):
            # Before evaluations and pictures, so that nothing is lost where one of them fails.
            if due(config.ema.snapshot_every) or (config.ema.snapshot_every and step == steps):
                lock.require()
                named = {name: tree for name, tree in state.ema.items() if name.startswith("power_")}
                powers = layout.host(named)
                if results.writes:
                    with left_out(f"the snapshot of step {step}", say) as lost:
                        averages.save_snapshot(workdir, powers, checkpoints.record(step))
            if due(config.checkpoint.every) or last:
                lock.require()
                records.flush()
                save = checkpoints.save_last if last else checkpoints.try_save
                save(layout.to_save(state))
            if due(config.training.eval_every) or (config.training.eval_every and step == steps):
                by_level = held_out_loss(average(state))
                records.scalars(step, {"held_out_loss": float(by_level.mean())})
                checkpoints.measured(step, float(by_level.mean()))
            if due(config.training.sample_every):
                count = config.sampling.num_samples
                pixels = preview.draw(average(state), count, convert=experiment.transform.to_pixels)
                picture = pictures.samples(pixels, config.data.pixel_values, preview.labels(range(count)))
                name = f"samples_{step:07d}.png"
                with left_out(name, say):
                    results.write(name, pictures.save_picture, picture)
                records.image(step, "samples", picture)
            if quality and due(config.training.sample_quality_every):
                measured = quality(average(state))
                records.scalars(step, measured)
                say(quality.said(step, measured))
        if last:
            break

    progress.close()
    records.close()
    if lost and last:
        raise lost[0]
    if step < steps:
        command = shlex.join(["python", *sys.orig_argv[1:]])
        signal = stop.signal or "a signal to another process"
        say(f"stopped by {signal} at step {step} of {steps}; saved. The same command resumes: {command}")
        return False
    rows = read_metrics(workdir)
    results.write("loss.png", figures.loss_figure, rows, held_out_loss.log_snr, by_level)
    say(f"trained to step {step}; loss curve in {workdir / 'loss.png'}, checkpoint in {checkpoints.folder}")
    return True
