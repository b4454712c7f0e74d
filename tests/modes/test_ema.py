"""--mode=ema: from the snapshots of a run any average, which samples and measurements then take."""

import json

import jax
import numpy as np
import pytest

import experiment
import main
from modes import MODES
from tests.conftest import TINY, as_flags
from training import ema
from workdir import averages
from workdir.checkpoints import Checkpoints

STEPS, STEP = 12, 10
FIELDS = {
    **TINY,
    "training.steps": STEPS,
    "optim.warmup": 4,
    "ema.decays": (0.9,),
    "ema.power_stds": (0.05, 0.1),
    "ema.snapshot_every": 1,
    "checkpoint.every": 1,
    "checkpoint.keep": 100,
    "sampling.corrector": "none",
}
STD = 0.12


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ema") / "run"
    assert main.main(_command("train", folder)) == 0
    return folder


def _command(mode, folder, **fields):
    arguments = ["main.py", "--config=configs/digits.py", f"--workdir={folder}", f"--mode={mode}"]
    return [*arguments, *as_flags({**FIELDS, **{k.replace("__", "."): v for k, v in fields.items()}})]


def _checkpoint(folder, config, created, step):
    config.restore.step = step
    reader = Checkpoints(folder, experiment.resolved(config), read_only=True)
    try:
        return reader.restore(created.state_template())[0]
    finally:
        reader.close()


def test_the_average_equals_that_of_the_recorded_run_and_is_sampled_from(workdir, tmp_path, capsys):
    output = tmp_path / "made"
    made = _command("ema", workdir, ema__reconstruct_std=STD, ema__reconstruct_step=STEP)
    assert main.main([*made, f"--output={output}"]) == 0
    said = capsys.readouterr().err
    file = output / f"ema_{STD}_{STEP:07d}.npz"
    assert file.exists() and f"restore.file={file}" in said

    config, _, _ = main.parse(_command("train", workdir))
    experiment.require_run(config, workdir)
    created = experiment.create(config, MODES["train"].reads)
    read = [averages.SINGLE], created.params_template(), experiment.resolved(config), "restore.file"
    found, record = averages.read(file, *read)
    assert record["step"] == STEP and record["average"]["sigma_rel"] == STD
    # Each step counts by the integral of the profile over it.
    counts = np.diff((np.arange(STEP + 1) / STEP) ** (ema.power_of_std(STD) + 1))
    steps = [_checkpoint(workdir, config, created, step).params for step in range(1, STEP + 1)]
    exact = jax.tree.map(lambda *p: sum(c * np.float64(a) for c, a in zip(counts, p, strict=True)), *steps)
    start = jax.device_get(created.create_params())
    error, change = (
        np.concatenate([np.ravel(a - b) for a, b in zip(*map(jax.tree.leaves, pair), strict=True)])
        for pair in ((found[averages.SINGLE], exact), (steps[-1], start))
    )
    assert np.abs(error).max() < 1e-3 * np.abs(change).max()

    drawn = _command("sample", workdir, restore__file=file)
    assert main.main([*drawn, f"--output={tmp_path / 'samples'}"]) == 0
    with np.load(tmp_path / "samples" / "samples.npz") as samples:
        assert samples["images"].shape == (16, 8, 8, 1)


def test_an_average_that_was_kept_comes_out_as_it_is_in_the_checkpoint(workdir, tmp_path):
    made = _command("ema", workdir, ema__reconstruct_std=0.1)
    assert main.main([*made, f"--output={tmp_path}"]) == 0
    config, _, _ = main.parse(_command("sample", workdir, restore__average=0.1))
    kept = experiment.load(workdir, config)
    config.restore.update({"average": None, "file": str(tmp_path / f"ema_0.1_{STEPS:07d}.npz")})
    again = experiment.load(workdir, config)
    assert kept.checkpoint["step"] == again.checkpoint["step"] == STEPS
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), again.params, kept.params)


def test_the_first_average_is_the_one_of_decays_and_others_are_chosen_by_number(workdir):
    first, half = (
        experiment.load(workdir, main.parse(_command("sample", workdir, **fields))[0])
        for fields in ({}, {"restore__average": 0.05})
    )
    config, _, _ = main.parse(_command("train", workdir))
    experiment.require_run(config, workdir)
    created = experiment.create(config, MODES["train"].reads)
    state = _checkpoint(workdir, config, created, STEPS)
    for run, name in ((first, "0.9"), (half, "power_0.05")):
        assert all(map(np.array_equal, jax.tree.leaves(run.params), jax.tree.leaves(state.ema[name])))


@pytest.mark.parametrize(
    ("mode", "fields", "words"),
    [
        ("ema", {}, ["ema.reconstruct_std"]),
        ("ema", {"ema__reconstruct_std": 0.4}, ["ema.reconstruct_std=0.4"]),
        (
            "ema",
            {"ema__reconstruct_std": 0.1, "ema__reconstruct_step": 31},
            ["reconstruct_step=31", str(STEPS)],
        ),
        ("ema", {"ema__reconstruct_std": 0.1, "ema__power_stds": ()}, ["ema.power_stds"]),
        ("sample", {"restore__file": "nowhere.npz"}, ["restore.file", "nowhere.npz", "--mode=ema"]),
        ("sample", {"restore__file": "x.npz", "restore__step": 2}, ["restore.file=x.npz", "restore.step"]),
        ("sample", {"restore__average": 0.2}, ["restore.average=0.2", "ema.power_stds=(0.05, 0.1)"]),
        ("train", {"ema__power_stds": (0.05,), "training__steps": 40}, ["ema.power_stds", "another config"]),
        ("train", {"ema__power_stds": ()}, ["ema.snapshot_every", "ema.power_stds"]),
        ("train", {"training__accumulation": 3}, ["training.accumulation=3", "2 examples"]),
        ("train", {"denoiser__uncertainty": True, "training__network_from": "x"}, ["denoiser.uncertainty"]),
    ],
)
def test_what_cannot_be_is_refused_by_name(workdir, capsys, mode, fields, words):
    assert main.main(_command(mode, workdir, **fields)) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not list(workdir.glob("damaged*"))


def test_a_damaged_average_is_refused(workdir, tmp_path, capsys):
    snapshot = next(iter(averages.snapshots(workdir).values()))
    content = bytearray(snapshot.read_bytes())
    content[len(content) // 2] ^= 4
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(content)
    assert main.main(_command("sample", workdir, restore__file=damaged)) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_checkpoint_from_before_there_were_power_functions_is_refused_by_name_and_stays(workdir, capsys):
    # As a run of an older version: its record has none of the fields that came later.
    from workdir.compatibility import config_changes

    config, _, _ = main.parse(_command("train", workdir))
    saved = json.loads(json.dumps(config.to_dict()))
    for field in ("power_stds", "half_life_images", "half_life_ramp", "snapshot_every"):
        del saved["ema"][field]
    assert config_changes(saved, config) == ["ema.power_stds: [] -> [0.05, 0.1]"]
    config.ema.power_stds = ()
    assert not config_changes(saved, config)
