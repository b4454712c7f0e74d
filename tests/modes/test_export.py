"""--mode=export: what goes out comes back bit for bit, and diffusers computes what ours computes."""

import json
import types

import jax
import numpy as np
import pytest

import experiment
import main
from configs import base
from importers import checkpoint, diffusers_scheduler, safetensors
from modes import import_config
from tests.conftest import TINY, as_flags
from tests.modes.test_import import _equal, _weights

# diffusers' norms have 32 groups everywhere.
DDPM = {
    **TINY,
    "model": "{'name': 'ddpm', 'width': 32, 'multipliers': (1, 2), 'blocks': 1, 'attention': (4,)}",
    "sde": "{'name': 'ddpm', 'noise_levels': 100}",
    "denoiser.parametrization": "eps",
    "denoiser.noise_input": "index",
    "loss.time_grid": "discrete",
    "loss.noise_levels": 100,
    "loss.weighting": "simple",
    "loss.time_sampling": "{'name': 'uniform'}",
    "training.steps": 2,
    "optim.warmup": 0,
    "optim.learning_rate": 0.1,
    "ema.decays": (0.5, 0.9),
    "ema.ramp": False,
    "sampling.num_samples": 4,
    "sampling.batch_size": 8,
}
DDPM = {name: value for name, value in DDPM.items() if not name.startswith("model.")}
DIGITS = ["main.py", "--config=configs/digits.py"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps of a `ddpm` with two averages."""
    workdir = tmp_path_factory.mktemp("export") / "run"
    assert main.main([*DIGITS, f"--workdir={workdir}", *as_flags(DDPM)]) == 0
    return workdir


def _export(workdir, *flags):
    return main.main(["main.py", f"--workdir={workdir}", "--mode=export", *flags])


def test_what_goes_out_comes_back_bit_for_bit_and_samples_the_same(run, tmp_path):
    assert _export(run) == 0
    folder, again = run / "export", tmp_path / "again"
    assert sorted(path.name for path in folder.iterdir()) == [
        checkpoint.AVERAGES,
        checkpoint.CONFIG,
        checkpoint.PARAMETERS,
    ]
    assert safetensors.metadata(folder / checkpoint.PARAMETERS) == {"step": "2"}
    # The folder, or the file in it.
    given = f"--from={folder / checkpoint.PARAMETERS}"
    assert main.main(["main.py", "--mode=import", given, f"--workdir={again}"]) == 0
    before, after = _weights(run), _weights(again)
    _equal(after[0], before[0])
    assert list(before[1]) == ["0.5", "0.9"] and set(after[1]) == set(before[1])
    for name in before[1]:
        _equal(after[1][name], before[1][name])
    assert any(map(np.any, jax.tree.leaves(jax.tree.map(np.subtract, *after[1].values()))))
    assert after[2]["step"] == 2 and after[2]["data"] == before[2]["data"]
    for workdir in (run, again):
        assert main.main(["main.py", f"--workdir={workdir}", "--mode=sample"]) == 0
    with np.load(run / "samples.npz") as first, np.load(again / "samples.npz") as second:
        np.testing.assert_array_equal(first["images"], second["images"])


def test_a_folder_of_diffusers_comes_back(run, tmp_path):
    flags = ["--config.export.format=diffusers", "--config.restore.average=0.9"]
    assert _export(run, *flags, f"--output={tmp_path}") == 0
    folder, again = tmp_path / "diffusers", tmp_path / "again"
    scheduler = json.loads((folder / checkpoint.SCHEDULER).read_text())
    assert scheduler["num_train_timesteps"] == 100 and scheduler["beta_start"] == pytest.approx(1e-3)
    assert main.main(["main.py", "--mode=import", f"--from={folder}", f"--workdir={again}"]) == 0
    params, averages, record, config = _weights(again)
    expected = _weights(run)[1]["0.9"]
    _equal(params, expected)
    _equal(averages["0.9999"], expected)
    assert record["step"] == 0 and config.model.name == "ddpm" and config.sde.noise_levels == 100
    assert (config.sde.beta_min, config.sde.beta_max) == pytest.approx((0.1, 20.0))
    (note,) = record["imported"]["notes"]
    assert "the data is not in this folder" in note
    (folder / checkpoint.SCHEDULER).unlink()
    assert any("Ho et al." in note for note in import_config.notes_on_diffusers(folder))
    flags = as_flags({"sampling.num_samples": 2, "sampling.batch_size": 8, "sampling.steps": 5})
    assert main.main(["main.py", f"--workdir={again}", "--mode=sample", *flags]) == 0


def test_what_another_program_put_in_the_folder_stays(run, tmp_path, capsys):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine.txt").write_text("mine")
    assert _export(run, f"--output={tmp_path}") == 1
    assert "something else" in capsys.readouterr().err
    assert (tmp_path / "export" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.export.format=onnx"], ['export.format="onnx"', "safetensors, diffusers"]),
        (["--config.restore.average=0.9"], ["restore.average=0.9", "export.format"]),
    ],
)
def test_what_cannot_be_is_refused(run, capsys, flags, words):
    assert _export(run, *flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in words)


def test_a_network_that_diffusers_has_not_is_refused_by_its_field(tmp_path, capsys):
    fields = {**TINY, "training.steps": 1}
    assert main.main([*DIGITS, f"--workdir={tmp_path}", *as_flags(fields)]) == 0
    capsys.readouterr()
    assert _export(tmp_path, "--config.export.format=diffusers") == 2
    error = capsys.readouterr().err
    assert "model.width=8" in error and "export.format=safetensors" in error
    assert not (tmp_path / "diffusers").exists()


@pytest.mark.parametrize(
    ("threshold", "variance"),
    [({"name": "data_range"}, "large"), ({"name": "static", "value": 2.0}, "small")],
)
def test_a_scheduler_says_how_samples_are_drawn(threshold, variance):
    config = base.get_config()
    config.sde.update({"name": "ddpm", "noise_levels": 100, "beta_min": 0.1, "beta_max": 20.0})
    config.sampling.threshold.update(threshold)
    config.sampling.variance.name = variance
    denoiser = types.SimpleNamespace(sde=config.sde, parametrization="v", noise_input="index")
    scheduler, unsaid = diffusers_scheduler.scheduler_of(config, denoiser)
    assert not unsaid and scheduler["variance_type"] == f"fixed_{variance}" and scheduler["clip_sample"]
    again = base.get_config()
    diffusers_scheduler.set_process(again, json.loads(json.dumps(scheduler)))
    assert again.sampling.threshold == config.sampling.threshold
    assert again.sampling.variance == config.sampling.variance and again.denoiser.parametrization == "v"
    assert (again.sampling.predictor.name, again.sampling.steps) == (
        ("ancestral", 99) if variance == "large" else ("default", 50)
    )
    # A class of diffusers' solvers that has no such key does not clip.
    diffusers_scheduler.set_process(plain := base.get_config(), {"_class_name": "EulerDiscreteScheduler"})
    assert plain.sampling.threshold.name == "none"


@pytest.mark.parametrize("name", [checkpoint.PARAMETERS, checkpoint.AVERAGES, checkpoint.CONFIG])
def test_a_cut_export_is_refused_and_nothing_is_written(run, tmp_path, capsys, name):
    assert _export(run, f"--output={tmp_path}") == 0
    file = tmp_path / "export" / name
    file.write_bytes(file.read_bytes()[:-40])
    capsys.readouterr()
    given = [f"--from={tmp_path / 'export'}", f"--workdir={tmp_path / 'again'}"]
    assert main.main(["main.py", "--mode=import", *given]) in (1, 2)
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and str(file) in error and not (tmp_path / "again").exists()


def test_a_changed_config_of_an_export_is_refused_in_short_lines(run, tmp_path, capsys):
    assert _export(run, f"--output={tmp_path}") == 0
    file = tmp_path / "export" / checkpoint.CONFIG
    content = file.read_text()
    capsys.readouterr()
    for change, word in (
        (lambda config: config["ema"].update(decays=[0.5] * 100_000), "ema.decays has 100000 values"),
        (lambda config: config["ema"].update({"\x1b[2J" + "x" * 10**5: 1}), "has the field ema."),
        (lambda config: config["sde"].update(name="\x1b[2J\x9b" + "x" * 10**5), 'sde.name="'),
        (lambda config: config["ema"].update(decays=[0.5, 0.6]), "0.5, 0.6: leave ema.*"),
    ):
        changed = json.loads(content)
        change(changed["config"])
        file.write_text(json.dumps(changed))
        given = [f"--from={tmp_path / 'export'}", f"--workdir={tmp_path / 'again'}"]
        assert main.main(["main.py", "--mode=import", *given]) in (1, 2)
        error = capsys.readouterr().err
        assert word in error and len(error) < 10_000 and all(map(str.isprintable, error.splitlines()))
    file.write_text(json.dumps(json.loads(content) | {"config": "x"}))
    assert main.main(["main.py", "--mode=import", *given]) == 1
    assert 'its entry "config" is no dict' in capsys.readouterr().err


@pytest.mark.slow
def test_diffusers_gives_our_outputs_and_samples_from_ours(run, tmp_path):
    diffusers, torch = pytest.importorskip("diffusers"), pytest.importorskip("torch")
    assert _export(run, "--config.export.format=diffusers", f"--output={tmp_path}") == 0
    network = diffusers.UNet2DModel.from_pretrained(tmp_path / "diffusers").eval()
    loaded = experiment.load(run)
    x = np.random.default_rng(0).standard_normal((4, 8, 8, 1)).astype(np.float32)
    levels = np.array([0, 3, 50, 99])
    ours = loaded.experiment.denoiser.network.apply({"params": loaded.params}, x, levels.astype(np.float32))
    with torch.no_grad():
        theirs = network(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(levels)).sample
    theirs = theirs.numpy().transpose(0, 2, 3, 1)
    assert np.sqrt(np.mean((theirs - ours) ** 2) / np.mean(theirs**2)) < 1e-5
    scheduler = diffusers.DDPMScheduler.from_pretrained(tmp_path / "diffusers")
    sde = loaded.experiment.sde
    alphas = np.asarray(sde.alpha(np.arange(1, 101) / 100))
    np.testing.assert_allclose(np.sqrt(scheduler.alphas_cumprod), alphas, rtol=1e-4)
    pipeline = diffusers.DDPMPipeline(network, scheduler)
    images = pipeline(batch_size=2, num_inference_steps=5, output_type="np").images
    assert images.shape == (2, 8, 8, 1) and np.isfinite(images).all()
