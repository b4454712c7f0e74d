"""--mode=report: a folder of runs as one HTML page, which needs nothing beside itself."""

import datetime
import math

from components import ConfigError
from modes import run_folder
from reports import html, pictures, shown
from reports.charts import short
from workdir import storage
from workdir.records import say
from workdir.results import Results
from workdir.saved_config import CLASSIFIER

# A folder with one of these is shown as a run.
MARKS = (
    *("config.json", "metrics.jsonl", "metrics.json", "checkpoints", CLASSIFIER),
    *("samples.png", "samples.npz", "trajectory.png", "evaluation.png"),
    *("diagnostics.json", "encoding.json", "calibration.json", "variance.npz", "optimal_grid.npz"),
)
# Folders within a run in which no run lies.
INNER = ("checkpoints", "tensorboard", "samples", "evaluated", "export", "diffusers")
DEEPEST = 4
FACTS = ("process", "data", "step", "loss", "held-out loss", "sampler")
KINDS = {"Samples": "samples.png", "Trajectories": "trajectory.png"}
# Solvers that choose their steps on the way.
ADAPTIVE = ("ode", "adaptive_sde")


def run(config, workdir, runs=None, output=None):
    """--mode=report: writes report.html of all runs in a folder.

    Each folder in it, up to four levels deep, that holds what a mode writes is shown as a run. What cannot be
    read of a run, or is not whole, is named on the page.

    Args:
      config, workdir: not read.
      runs: the folder.
      output: folder of report.html; default: that of the runs.

    Raises:
      ConfigError: no such folder, or no run in it.
    """
    root = storage.path(runs)
    if not root.is_dir():
        raise ConfigError(f"--runs={runs}: there is no such folder.")
    unread, folders = [], {}
    for folder in _folders(root, unread):
        # A link may lead to a run that is there already.
        folders.setdefault(storage.real(folder), folder)
    found = [_shown(folder, _name(folder, root), unread) for folder in folders.values()]
    found = [shown_run for shown_run in found if shown_run]
    if not found and not unread:
        raise ConfigError(
            f"--runs={runs} holds no run: no folder in it has config.json, metrics.json or pictures."
        )
    results = Results(runs, output, runs)
    now = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
    count = f"{len(found)} run{'' if len(found) == 1 else 's'}"
    made = f"{count} of the folder {storage.real(root).name}, as they were on {now}."
    page = html.page(f"Runs in {storage.real(root).name}", found, unread, FACTS, tuple(KINDS), made)
    results.write("report.html", lambda path: path.write_text(page, encoding="utf-8", errors="replace"))
    for name, reason in [*unread, *((r.name, problem) for r in found for problem in r.problems)]:
        say(f"note: {name}: {reason}")
    results.print(f"{count}, {len(page.encode(errors='replace')) / 2**20:.1f} MiB")
    results.say_written()


def _name(folder, root):
    return folder.relative_to(root).as_posix() if folder != root else storage.real(root).name


def _folders(root, unread, depth=0):
    """The folders of runs in a folder, itself among them, in the order of their names."""
    try:
        entries = storage.listed(root)
    except OSError as error:
        unread.append((root.name, error.strerror))
        return
    is_run = any(name in MARKS for name, _ in entries)
    if is_run:
        yield root
    for name, is_folder in entries:
        of_run = is_run and (name in INNER or ".parts-" in name)
        if depth < DEEPEST and is_folder and not (of_run or name.startswith(".")):
            yield from _folders(root / name, unread, depth + 1)


def _shown(folder, name, unread):
    """The shown.Run of a folder; None where nothing of it could be read, which `unread` then names."""
    try:
        return _read(folder, name)
    except run_folder.UNREADABLE as error:
        unread.append((name, run_folder.first_line(error)))
        return None


def _read(folder, name):
    found = run_folder.read(folder)
    problems = list(found.problems)
    return shown.Run(
        name=name,
        state=found.state,
        unfinished=found.unfinished,
        pictures=tuple(_pictures(folder, name, problems)),
        facts=_facts(found),
        figures=found.figures,
        curves=_curves(found.rows) | _followed(folder, problems) | shown.by_noise_level(found.measured),
        problems=tuple(problems),
        config=found.config,
    )


def _facts(found):
    """{name: text} of what a reader asks first; what is not known is left out."""
    get = {name: value for name, value in found.config.items() if value != "null"}.get
    numbers = {"loss": found.last("loss"), "held-out loss": found.last("held_out_loss")}
    step = found.measured.get("step", found.last("step"))
    predictor, corrector = get("sampling.predictor.name"), get("sampling.corrector.name", "none")
    steps_taken = "" if predictor in ADAPTIVE else f", {get('sampling.steps', '?')} steps"
    sampler = f"{predictor}{steps_taken}" if predictor else None
    if sampler and corrector != "none":
        sampler += f", {corrector}"
    provenance, trained = found.provenance, found.trained
    packages = provenance.get("packages")
    changed = {
        name: value
        for name, value in found.evaluated.items()
        if trained and value != trained.get(name, "null")
    }
    facts = {
        "process": get("sde.name"),
        "data": get("mixture.name") or get("data.source"),
        "step": step if isinstance(step, int | float) else None,
        **{name: None if value is None else short(value) for name, value in numbers.items()},
        "sampler": sampler,
        "network": None if get("mixture.name") else get("model.name"),
        "images a second": found.last("images_per_second"),
        "evaluated with": ", ".join(f"{name}={value}" for name, value in changed.items()),
        "code": provenance.get("git_revision"),
        "version": provenance.get("version"),
        "device": f"{provenance['devices']} x {provenance['device']}" if "device" in provenance else None,
        "packages": " ".join(f"{k} {v}" for k, v in packages.items()) if isinstance(packages, dict) else None,
        "recipe of the data": found.record.get("data_recipe"),
    }
    return {
        name: short(value) if isinstance(value, float) else str(value)
        for name, value in facts.items()
        if value not in (None, "")
    }


def _curves(rows):
    """What training recorded, {(name, "step"): [(step, value), ...]}."""
    found = {}
    for row in rows:
        for name, value in row.items():
            point = (shown.real(row["step"]), shown.real(value))
            if name != "step" and None not in point and all(map(math.isfinite, point)):
                found.setdefault((name.replace("_", " "), "step"), []).append(point)
    return found


def _followed(folder, problems):
    """The figures with a known error in the `metrics_<step>.json` of several checkpoints, as curves."""
    found = {}
    for path in sorted(folder.glob("metrics_*.json")):
        measured = run_folder.json_content(path, problems)
        step = shown.real(measured.get("step"))
        for name, figure in shown.figures(measured).items():
            if step is not None and figure.interval and math.isfinite(figure.value):
                found.setdefault((name, "step"), []).append((step, figure.value))
    return {name: sorted(points) for name, points in found.items() if len(points) > 1}


def _pictures(folder, name, problems):
    """The pictures of a run: samples, the newest of training where there are no others, then the rest."""
    paths = {path.name: path for path in sorted(folder.glob("*.png")) if not path.name.startswith(".")}
    training = [file for file in paths if file.startswith("samples_")]
    kinds = {file: kind for kind, file in KINDS.items()}
    if training and "samples.png" not in paths:
        kinds[training[-1]] = "Samples"
    for file, path in paths.items():
        if file in training and file not in kinds:
            continue
        try:
            content, media, size, smaller = pictures.for_page(path)
        except (OSError, ValueError) as error:
            problems.append(f"{file} cannot be read ({run_folder.first_line(error)})")
            continue
        kind = kinds.get(file, "other")
        what = f"{kind.lower()} of {name}" if file in kinds else f"{path.stem.replace('_', ' ')} of {name}"
        shown_name = f"{file}, made smaller" if smaller else file
        yield shown.Picture(kind, shown_name, what, content, media, size)
