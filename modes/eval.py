"""The evaluation loop: what a model is worth, by the evaluators that `eval.evaluators` names."""

import data
from components import Refusals
from evaluation import evaluators, follow
from evaluation.evaluator import Evaluation
from experiment.create import resolved
from experiment.load import load, warn_of_other_parameters
from modes import MODES
from parallel import devices
from reports import figures, markdown
from workdir import storage
from workdir.records import say
from workdir.results import Results


def refusals(config):
    """Lines about the subtree `eval`."""
    yield from devices.uneven("eval.batch_size", config.eval.batch_size)
    if config.eval.max_images < 2:
        yield f"eval.max_images={config.eval.max_images} must be at least 2."
    yield from evaluators.refusals(config)
    yield from follow.refusals(config)


def require_files(config, workdir=None, record=None):
    """Raises UserError for what `run` would refuse of the files that the chosen evaluators read.

    Args:
      record: of the run's checkpoint, if there is one.
    """
    refused = Refusals()
    for evaluator in evaluators.chosen(config):
        with refused:
            evaluator.require_files(config, workdir, record)
    refused.raise_if_any()


def run(config, workdir, output=None):
    """--mode=eval: what `eval.evaluators` names, in metrics.json, evaluation.md and pictures.

    metrics.json has an entry for each evaluator. Figures that are finished are kept in the folder
    `evaluated`, by what they depend on, and unfinished ones in folders `<evaluator>.parts-<digest>`: after a
    stop the same command goes on. With `eval.follow` each checkpoint of a run is evaluated as it comes, and
    `metrics_<step>.json` is written beside the metrics.json of the latest.

    Args:
      output: folder of the results; default the workdir.
    """
    reads = MODES["eval"].reads
    if not config.eval.follow:
        _evaluate(load(workdir, config, reads), workdir, Results(workdir, output))
        return
    opened = None
    for loaded in follow.followed(config, workdir, reads):
        opened = _evaluate(loaded, workdir, Results(workdir, output), opened)


def _evaluate(loaded, workdir, results, opened=None):
    """Measures, writes and prints; the RunData of the run, if it was opened."""
    config, needs = loaded.config, evaluators.needs(loaded.config)
    evaluation = Evaluation(loaded, results.folder, opened)
    chosen = evaluators.chosen(config)
    require_files(config, workdir, loaded.checkpoint)
    _say_what(evaluation, needs)
    entries = {evaluator.name: evaluation.entry(evaluator) for evaluator in chosen}
    reads_data = "data" in needs and loaded.experiment.mixture is None
    measured = {
        "step": loaded.checkpoint["step"],
        **entries,
        "data": evaluation.data.record() if reads_data else None,
        "config": resolved(config).to_dict(),
        "provenance": loaded.checkpoint["provenance"],
    }
    results.json("metrics.json", measured)
    if config.eval.follow:
        results.json(f"metrics_{measured['step']:07d}.json", measured)
    _write(chosen, entries, loaded, storage.path(workdir), results)
    return evaluation.data if reads_data else None


def _say_what(evaluation, needs):
    """Says what is evaluated, and what is amiss with it; refuses what data or samples cannot be."""
    experiment, config = evaluation.experiment, evaluation.config
    warn_of_other_parameters(evaluation.run)
    if experiment.mixture is not None:
        say(f"evaluating the exact denoiser of {config.mixture.name}")
    else:
        say(f"evaluating step {evaluation.run.checkpoint['step']}")
        unused = data.unused_values(config.data, evaluation.data.train) if "data" in needs else None
        if unused:
            say(f"warning: {unused}")
    if "samples" in needs:
        evaluation.samples.say_bias()


def _write(chosen, entries, loaded, workdir, results):
    """Writes the pictures and the report; prints a line for each figure."""
    sections, names, panels = {}, [], {}

    def picture(name, draw, *arguments):
        results.write(name, draw, *arguments)
        names.append(name)

    if loaded.config.eval.follow:
        results.print(f"step {loaded.checkpoint['step']}")
    for evaluator in chosen:
        entry = entries[evaluator.name]
        lines = list(evaluator.figures(entry)) if set(entry) - {"left_out"} else []
        sections[evaluator.name] = (lines, entry["left_out"])
        for line in lines:
            results.print(f"{line.name:44}  {line.value:>20}  {line.note}".rstrip())
        if not lines:
            continue
        for title, bars in evaluator.panels(entry).items():
            panels.setdefault(title, {}).update(bars)
        for name, function, arguments in evaluator.pictures(entry, workdir, results.folder):
            picture(name, getattr(figures, function), *arguments)
    panels = {title: bars for title, bars in panels.items() if bars}
    if loaded.experiment.mixture is not None and {"loss", "bits_per_dim"} & set(entries):
        picture("evaluation.png", figures.testbed_figure, entries)
    elif panels:
        picture("evaluation.png", figures.bars_figure, panels)
    title = f"{loaded.config.mixture.name or workdir.name}, step {_steps(loaded, entries)}"
    results.write("evaluation.md", markdown.write_evaluation, title, sections, names)
    results.remove_others("evaluation.png")
    results.say_written()


def _steps(loaded, entries):
    """The step that was evaluated, or the steps where sample quality of others was all that was asked for."""
    of_samples = {s["step"] for s in entries.get("sample_quality", {}).get("settings", ())}
    steps = of_samples if set(entries) == {"sample_quality"} else {loaded.checkpoint["step"]}
    return ", ".join(map(str, sorted(steps)))
