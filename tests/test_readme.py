"""The README is code: its recipes are carried out, its commands parse, its walks are walked."""

import re
import shlex
import shutil
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import samplers
from modes import MODES, check
from samplers.moments import moments
from sde_lib.vp import VP
from tests.conftest import ROOT, TINY, as_flags, environment, sampling

TEXT = (ROOT / "README.md").read_text()
RECIPES = {title: body for title, body in re.findall(r"^### (An? .*?)\n(.*?)(?=^##)", TEXT, re.M | re.S)}


def _block(recipe):
    return re.search(r"```python\n(.*?)```", RECIPES[recipe], re.S)[1]


def recipe(title):
    """The names that the Python block of a recipe defines."""
    defined = {}
    exec(_block(title), defined)
    return defined


def _additions(recipe):
    """(line, place, file) of a recipe's table."""
    for line, place in re.findall(r"^\| `(.*)` \| (.*) \|$", RECIPES[recipe], re.M):
        *_, file = re.findall(r"`([\w/]+\.py)`", place)
        yield line, place, file


def _put(root, line, place, file):
    """Adds a line where the table of a recipe says."""
    text = (root / file).read_text()
    if place.startswith("the imports"):
        at = re.search(r"^(from|import) ", text, re.M).start()
    elif place.startswith("below"):
        field = re.search(r"`([\w.]+)`", place)[1]
        at = text.index("\n", text.index(f"    {field} = ")) + 1
        line = f"    {line}"
    else:
        table = re.search(r"`(\w+)`", place)[1]
        at = text.index("\n", re.search(rf"^{table}(: [^=]*)? = \{{", text, re.M).start()) + 1
        line = f"    {line}"
    (root / file).write_text(f"{text[:at]}{line}\n{text[at:]}")


SMALL = {**TINY, "training.steps": 2, "data.holdout": 0.2, "optim.warmup": 0, "checkpoint.every": 2}
RUN = """
import json, sys
import main
for command in json.loads(sys.argv[1]):
    assert main.main(command) == 0, command
"""


def test_every_recipe_of_the_readme_trains_or_samples(tmp_path):
    import json

    root = tmp_path / "project"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py", "*.toml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in files.stdout.split():
        if not name.startswith(("tests/", "bench/")) and (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    assert len(RECIPES) == 8
    commands = []
    for recipe, body in RECIPES.items():
        code, heading = _block(recipe), body[: body.index("```python")]
        file = re.findall(r"`([\w/]+\.py)`", heading)
        if file:
            (root / file[-1]).write_text(code)
        for line, place, target in _additions(recipe):
            if not file:  # the code itself goes above the table that names it
                text = (root / target).read_text()
                at = text.rindex("\n\n\n", 0, text.index(f"\n{re.findall('`([A-Z]+)`', place)[0]} = {{")) + 3
                (root / target).write_text(f"{text[:at]}{code}\n\n{text[at:]}")
            _put(root, line, place, target)
        command = re.search(r"^python (main.py .*)$", body, re.M)[1]
        flags = SMALL if "--mode" not in command else {"sampling.steps": 5, "sampling.num_samples": 8}
        if "--config.model=" in command:
            flags = {k: v for k, v in flags.items() if not k.startswith("model.")}
        more = [] if "--mode=parameters" in command else as_flags(flags)
        workdir = [f"--workdir={tmp_path / recipe.replace(' ', '_')}"] if "--workdir" in command else []
        given = [a for a in shlex.split(command) if not a.startswith("--workdir")]
        commands.append([*given[:2], *workdir, *more, *given[2:]])
        if "--mode" not in command:
            commands.append([*given[:2], *workdir, *more, *given[2:], "--mode=sample"])
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=root,
        env={**environment(1), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("trained to step 2") == 4
    with np.load(tmp_path / "A_data_set" / "samples.npz") as found:
        assert found["images"].max() <= 1
    assert "input" in done.stdout  # the modules of the U-Net, with their sizes


def test_the_sde_of_the_readme_is_the_ornstein_uhlenbeck_process():
    names = {}
    exec(_block("A process"), names)
    sde = names["OrnsteinUhlenbeck"]()
    with jax.enable_x64(True):
        t = jnp.linspace(sde.t_min, 1.0, 50)
        np.testing.assert_allclose(sde.time_of_log_snr(sde.log_snr(t)), t, rtol=1e-9)
        # dx = -rate/2 x dt + sqrt(rate) dw.
        np.testing.assert_allclose(sde.diffusion(t) ** 2, 10.0, rtol=1e-9)
        np.testing.assert_allclose(sde.drift_rate(t), -5.0, rtol=1e-9)


def test_the_sampler_of_the_readme_follows_the_probability_flow(monkeypatch):
    names = {}
    exec(_block("A sampler"), names)
    monkeypatch.setitem(samplers.SOLVERS, "euler", names["Euler"])
    sde, mean, variance = VP(), 0.3, 0.25
    config = sampling(predictor="euler")

    def bias(steps):
        config.steps = steps
        found = moments(sde, samplers.create(config, sde).table, mean, variance)[1]
        # The flow of a Gaussian scales by the ratio of the spreads.
        start, end = (sde.alpha(t) ** 2 * variance + sde.sigma(t) ** 2 for t in (1.0, sde.sampling_t_min))
        denoised = (sde.alpha(sde.sampling_t_min) * variance / end) ** 2 * end
        return found / (denoised / start) - 1

    with jax.enable_x64(True):
        assert abs(bias(4000)) < 1e-2
        assert np.log2(bias(500) / bias(1000)) == pytest.approx(1, abs=0.1)


def test_the_corrector_of_the_readme_keeps_the_marginal_of_a_gaussian_s_mean():
    # x <- alpha D + sigma z has the mean of x_t, and of its variance what D has and all of the noise's.
    from denoisers.gaussian_mixture import GaussianMixture

    names = {}
    exec(_block("A corrector"), names)
    sde, gaussian = VP(), GaussianMixture.diagonal([1.0], [[0.3]], [[0.25]])
    keys = jax.random.split(jax.random.key(0), 20_000)
    t = jnp.full(20_000, 0.4)
    xt, _ = sde.perturb(keys, gaussian.sample(jax.random.key(1), 20_000), t)
    found = names["Renoise"]().step(keys, xt, t, lambda x, t: gaussian.denoise(sde, x, t))
    alpha, sigma = float(sde.alpha(0.4)), float(sde.sigma(0.4))
    total = alpha**2 * 0.25 + sigma**2
    expected = alpha**2 * (alpha * 0.25) ** 2 / total + sigma**2
    assert abs(found.mean() - alpha * 0.3) < 5 * np.sqrt(expected / 20_000)


# In the table of tasks and below the recipes; those of recipes name what does not exist yet.
COMMANDS = re.findall(r"`python (main.py [^`]*)`", TEXT.split("## How to add")[0])


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_readme_are_not_refused(line, tmp_path, monkeypatch):
    # A command that reads a run takes the run's config.
    from configs import digits
    from workdir.files import write_json

    given = shlex.split(line)
    if not any(a.startswith("--config=") for a in given):
        write_json(tmp_path / "config.json", {"config": digits.get_config().to_dict()})
        given = [f"--workdir={tmp_path}" if a.startswith("--workdir") else a for a in given]
    config, _, name = main.parse(given)
    assert check.problems(name, config) == []


def test_the_table_of_tasks_has_a_command_for_every_mode():
    tasks = TEXT.split("## Tasks")[1].split("## From Python")[0]
    named = {mode for mode in MODES if f"--mode={mode}" in tasks} | {"train"}
    assert named == set(MODES)
    modes = (ROOT / "docs" / "modes.md").read_text()
    assert all(f"| `{mode}` |" in modes for mode in MODES)


def test_old_names_stand_in_the_changelog():
    from configs import renamed

    text = (ROOT / "CHANGELOG.md").read_text()
    for old, new in renamed.FIELDS.items():
        assert f"| `{old}` | {', '.join(f'`{name}`' for name in new)} |" in text
    for old, new in renamed.MODES.items():
        assert f"| `--mode={old}` | `--mode={new}` |" in text


def _entered(command, start):
    """Our files in the order in which a command enters them, its threads' included.

    Args:
      start: (file, function) at whose first call the record begins, with the file of its caller.
    """
    order, root = {}, f"{ROOT}/"

    def note(frame, event, argument):
        path, function = frame.f_code.co_filename, frame.f_code.co_name
        # What is bound to parameters is entered when it is called.
        if event != "call" or not path.startswith(root) or ".venv" in path or function == "bind":
            return
        name = path.removeprefix(root)
        if not order and (name, function) == start:
            order[frame.f_back.f_code.co_filename.removeprefix(root)] = None
        if order:
            order.setdefault(name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        assert main.main(command) == 0
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(order)


def test_a_batch_and_a_sample_walk_through_the_files_that_the_readme_names(tmp_path):
    rows = re.findall(r"^\| `([\w/]+\.py)`: [^|]* \| `([\w/]+\.py)`: [^|]* \|$", TEXT, re.M)
    assert len(rows) == 5
    batch, sample = zip(*rows, strict=True)
    command = ["main.py", "--config=configs/digits.py", f"--workdir={tmp_path}", *as_flags(SMALL)]
    starts = {"train": ("data/pipeline.py", "batches"), "sample": ("experiment/draw.py", "numbered")}
    for walk, mode in ((batch, "train"), (sample, "sample")):
        entered = _entered([*command, f"--mode={mode}"], starts[mode])
        assert [name for name in entered if name in walk] == list(walk), entered
