"""--mode=eval measures what eval.evaluators names, goes on after a kill, and follows a training run."""

import json
import shutil

import jax
import numpy as np
import pytest
import scipy.integrate

import experiment
import main
import metrics
from evaluation import bits_per_dim, evaluators, follow
from evaluation.held_out import subset
from evaluation.sample_quality import summarized
from experiment.draw import NumberedSamples
from metrics.features.pixels import Pixels
from modes import check
from tests.conftest import TINY, as_flags
from workdir.files import write_json
from workdir.partial import Partial

FIELDS = {
    **TINY,
    "training.steps": 4,
    "checkpoint.every": 2,
    "checkpoint.keep": 3,
    "optim.warmup": 0,
    "eval.max_images": 16,
    "eval.two_sample.num_samples": 16,
    "eval.bits_per_dim.tolerance": 1e-2,
    "eval.bound.levels": 3,
    "eval.bound.images": 16,
    "eval.features.name": "pixels",
    "eval.sample_quality.metrics": "frechet_distance",
    "eval.sample_quality.num_samples": 32,
    "training.sample_quality_every": 4,
    "training.sample_quality_samples": 16,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The workdir of a run on the digits, four steps long, with checkpoints at two and four."""
    workdir = tmp_path_factory.mktemp("evaluated") / "run"
    fields = {**FIELDS, "eval.reference.folder": workdir.parent / "reference"}
    command = ["main.py", "--config=configs/digits.py", f"--workdir={workdir}", *as_flags(fields)]
    assert main.main(command) == 0
    return workdir


def _evaluate(run, output, fields):
    command = ["main.py", f"--workdir={run}", "--mode=eval", f"--output={output}", *as_flags(fields)]
    return main.main(command)


def _measured(folder, name="metrics.json"):
    return json.loads((folder / name).read_text())


def test_the_list_is_honoured_and_every_figure_is_a_line(run, tmp_path, capsys):
    assert _evaluate(run, tmp_path, {"eval.evaluators": "loss,continuous_bound"}) == 0
    found = _measured(tmp_path)
    assert set(found) & set(evaluators.EVALUATORS) == {"loss", "continuous_bound"}
    said, report = capsys.readouterr().out, (tmp_path / "evaluation.md").read_text()
    for name in ("loss", "continuous_bound"):
        for figure in evaluators.EVALUATORS[name].figures(found[name]):
            assert figure.name in said and figure.value in said
            assert f"| {figure.name.strip()} | {figure.value} |" in report
    assert (tmp_path / "loss.png").exists() and "](loss.png)" in report
    assert not (tmp_path / "bits_per_dim.npz").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"eval.evaluators": "loss,fid"}, ['eval.evaluators="fid"', "sample_quality"]),
        ({"eval.evaluators": "(1,2)"}, ["eval.evaluators=(1, 2)", "names alone"]),
        ({"eval.sample_quality.metrics": "fidd"}, ["eval.sample_quality.metrics", '"fid"']),
        ({"eval.sample_quality.metrics": "fid"}, ["names fid", "inception", 'eval.features.name="pixels"']),
        ({"eval.sample_quality.samplers": "stps=3"}, ["eval.sample_quality.samplers", "stps"]),
        ({"eval.sample_quality.samplers": "predictor=unipc order=x"}, ["samplers", "order"]),
        ({"eval.sample_quality.averages": "(0.5,)"}, ["eval.sample_quality.averages", "0.999"]),
        ({"eval.sample_quality.steps": "(-1,)"}, ["eval.sample_quality.steps"]),
        ({"eval.features.weights": "x"}, ["eval.features.weights", "pixels"]),
        ({"eval.features.name": "dinov2"}, ["eval.features", "dinov2"]),
        ({"eval.follow": True, "restore.step": 2}, ["restore.step=2", "eval.follow"]),
        ({"eval.bits_per_dim.split": "val", "eval.evaluators": "bits_per_dim"}, ["split", "train"]),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(fields, words, tmp_path):
    plain = {"eval.evaluators": "sample_quality", "eval.features.name": "pixels"}
    fields = {**plain, "eval.sample_quality.metrics": "kid", **fields}
    command = ["main.py", "--config=configs/digits.py", f"--workdir={tmp_path}", "--mode=eval"]
    config, *_ = main.parse([*command, *as_flags(fields)])
    (line,) = check.problems("eval", config)
    assert all(word in line for word in words), line


def test_samplers_are_texts_whose_brackets_hold_commas():
    text = "predictor=edm steps=18, grid=explicit grid.times=(1.0,0.5,0.1)"
    flag = f"--config.eval.sample_quality.samplers={text}"
    config, *_ = main.parse(["main.py", "--config=configs/digits.py", "--workdir=x", flag])
    assert config.eval.sample_quality.samplers == tuple(part.strip() for part in text.split(", "))


STAGES = "loss,continuous_bound,sample_quality"


def test_a_killed_evaluation_ends_with_the_same_figures(run, tmp_path, monkeypatch):
    fields = {"eval.evaluators": STAGES, "eval.sample_quality.pictures": 4}
    assert _evaluate(run, tmp_path / "whole", fields) == 0
    add, measure, alive, measured = Partial.add, metrics.measure, [0], []

    def killed_once(*arguments):
        measured.append(measure(*arguments))
        if len(measured) == 1:
            raise KeyboardInterrupt
        return measured[-1]

    def killed(self, rows, arrays):
        add(self, rows, arrays)
        self.save()
        alive[0] -= 1
        if alive[0] == 0:
            raise KeyboardInterrupt

    # Each attempt is killed after three more batches, and once with its figures, until one gets through.
    monkeypatch.setattr(Partial, "add", killed)
    monkeypatch.setattr(metrics, "measure", killed_once)
    for _ in range(20):
        alive[0] = 3
        if _evaluate(run, tmp_path / "parts", fields) == 0:
            break
    else:
        raise AssertionError("no attempt went further than the last")
    assert len(measured) == 2
    assert _measured(tmp_path / "parts") == _measured(tmp_path / "whole")
    # What is finished is not measured again.
    monkeypatch.setattr(Partial, "add", None)
    assert _evaluate(run, tmp_path / "parts", fields) == 0
    assert _measured(tmp_path / "parts") == _measured(tmp_path / "whole")
    assert not list((tmp_path / "parts").glob("*.parts-*"))
    assert (tmp_path / "parts" / "sample_quality.png").exists()


def test_another_metric_of_the_same_samples_draws_none(run, tmp_path, monkeypatch):
    drawn, numbered = [], NumberedSamples.numbered

    def counted(self, params, numbers):
        drawn.extend(numbers)
        return numbered(self, params, numbers)

    monkeypatch.setattr(NumberedSamples, "numbered", counted)
    fields = {"eval.evaluators": "sample_quality", "eval.sample_quality.pictures": 0}
    more = {"eval.sample_quality.metrics": "frechet_distance,precision_recall"}
    assert _evaluate(run, tmp_path / "kept", fields) == 0 and sorted(set(drawn)) == list(range(32))
    drawn.clear()
    assert _evaluate(run, tmp_path / "kept", {**fields, **more}) == 0 and not drawn
    # More of them begin with those that there are.
    assert _evaluate(run, tmp_path / "kept", {**fields, "eval.sample_quality.num_samples": 40}) == 0
    assert sorted(set(drawn)) == list(range(32, 40))
    # An extractor that is asked for features that keep their place gives more of the same samples.
    drawn.clear()
    with monkeypatch.context() as spatial:
        spatial.setattr(Pixels, "spatial", True, raising=False)
        elsewhere = {**fields, "eval.reference.folder": tmp_path / "reference"}
        assert _evaluate(run, tmp_path / "kept", elsewhere) == 0
        assert sorted(set(drawn)) == list(range(32))
    unkept = {**fields, "eval.sample_quality.keep_features": False}
    assert _evaluate(run, tmp_path / "unkept", unkept) == 0
    assert [path.suffix for path in (tmp_path / "unkept" / "evaluated").iterdir()] == [".json"]
    first, second = (_measured(tmp_path / name)["sample_quality"] for name in ("kept", "unkept"))
    assert first["settings"] == second["settings"] and first["n"] == 32


def test_what_no_sample_can_give_is_refused_before_one_is_drawn(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(NumberedSamples, "numbered", None)
    fields = {"eval.evaluators": "sample_quality"}
    pixels = np.random.default_rng(0).random((100, 64))
    np.savez(tmp_path / "moments.npz", mu=pixels.mean(axis=0), sigma=np.cov(pixels, rowvar=False))
    of_file = {
        "eval.reference.file": tmp_path / "moments.npz",
        "eval.reference.images": 100,
        "eval.sample_quality.metrics": "frechet_distance,kid",
    }
    few = {"eval.sample_quality.metrics": "memorization", "eval.sample_quality.num_samples": 50}
    for changed, said in (
        (of_file, "names kid: there is no kid of these samples: it takes features of the reference"),
        (few, "names memorization: there is no memorization of these samples: it takes 51 examples"),
        ({"eval.reference.folder": "/proc/none"}, 'eval.reference.folder="/proc/none" cannot be made'),
    ):
        check = [
            "main.py",
            f"--workdir={run}",
            "--mode=check",
            "--for=eval",
            *as_flags({**fields, **changed}),
        ]
        with pytest.raises(SystemExit):
            main.main(check)
        assert said in capsys.readouterr().out
        assert _evaluate(run, tmp_path / "out", {**fields, **changed}) == 2
        assert said in capsys.readouterr().err


def test_what_is_kept_and_damaged_is_made_anew(run, tmp_path):
    fields = {"eval.evaluators": "loss,sample_quality", "eval.sample_quality.pictures": 4}
    assert _evaluate(run, tmp_path, fields) == 0
    found, kept = _measured(tmp_path), tmp_path / "evaluated"
    for path in kept.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    for path, content in zip(sorted(kept.glob("*.json")), ('{"entry": 3}', "[]"), strict=True):
        path.write_text(content)
    assert _evaluate(run, tmp_path, fields) == 0
    assert _measured(tmp_path) == found
    (pictures,) = kept.glob("sample_pictures-*.npz")
    with np.load(pictures) as whole:
        assert whole["images"].shape == (4, 8, 8, 1)


def test_a_reference_of_other_images_than_the_run_s_is_refused(run, tmp_path, capsys):
    assert _evaluate(run, tmp_path, {"eval.evaluators": "sample_quality"}) == 0
    (file,) = (run.parent / "reference").glob("*.npz")
    with np.load(file) as found:
        arrays = dict(found)
    identity = json.loads(str(arrays.pop("identity")))
    identity["data"]["contents"] = "0" * 16
    np.savez(tmp_path / "other.npz", identity=json.dumps(identity), **arrays)
    fields = {"eval.evaluators": "sample_quality", "eval.reference.file": tmp_path / "other.npz"}
    capsys.readouterr()
    assert _evaluate(run, tmp_path, fields) == 2
    assert "it is of another data set" in capsys.readouterr().err


def test_each_value_of_a_list_counts_once(run, tmp_path):
    lists = {"eval.sample_quality.seeds": "(0,0)", "eval.sample_quality.samplers": "steps=3,steps=3"}
    assert _evaluate(run, tmp_path, {"eval.evaluators": "sample_quality", **lists}) == 0
    assert len(_measured(tmp_path)["sample_quality"]["settings"]) == 1


def _frechet(x, y):
    (m, s), (n, t) = ((a.mean(0), np.cov(a, rowvar=False)) for a in (x, y))
    overlap = np.sqrt(np.linalg.eigvals(s @ t).real.clip(0)).sum()
    return np.sum((m - n) ** 2) + np.trace(s + t) - 2 * overlap


def test_every_combination_is_measured_and_summed_up(run, tmp_path, capsys):
    fields = {
        "eval.evaluators": "sample_quality",
        "eval.sample_quality.steps": "(2,4)",
        "eval.sample_quality.seeds": "(0,1)",
        "eval.sample_quality.samplers": "steps=3,predictor=ddim corrector=none",
    }
    assert _evaluate(run, tmp_path, fields) == 0
    found = _measured(tmp_path)["sample_quality"]
    assert len(found["settings"]) == 8 and len(found["summary"]) == 2
    assert {s["nfe"] for s in found["settings"]} == {2 * 3 + 2, 6}
    values = [s["figures"]["frechet_distance"]["value"] for s in found["settings"]]
    assert len(set(values)) == 8
    assert "n=32" in capsys.readouterr().out
    for summary in found["summary"]:
        own = [s for s in found["settings"] if s["sampler"] == summary["sampler"]]
        values = {
            step: [s["figures"]["frechet_distance"]["value"] for s in own if s["step"] == step]
            for step in (2, 4)
        }
        assert summary["last"]["step"] == 4 and summary["last"]["mean"] == np.mean(values[4])
        assert summary["last"]["best"] == min(values[4])
        assert summary["best"]["mean"] == min(np.mean(values[2]), np.mean(values[4]))
    # Against the samples that the Python API draws, and a formula of its own.
    loaded = experiment.load(run)
    train = experiment.data_of(loaded).train
    everything = subset(train, len(train))["image"]
    x, y = (
        np.floor(a.reshape(len(a), -1) * (255 / 16) + 0.5) / 255
        for a in (everything, loaded.sample(32, predictor="ddim", corrector="none"))
    )
    (own,) = (s for s in found["settings"] if (s["step"], s["seed"], s["nfe"]) == (4, 0, 6))
    assert own["figures"]["frechet_distance"]["value"] == pytest.approx(_frechet(x, y), rel=1e-3)


def test_no_data_set_is_opened_where_no_evaluator_needs_it(run, tmp_path, monkeypatch):
    fields = {"eval.evaluators": "sample_quality", "eval.sample_quality.pictures": 0}
    assert _evaluate(run, tmp_path / "data", fields) == 0
    (file,) = (run.parent / "reference").glob("*.npz")
    monkeypatch.setattr("data.create", None)
    assert _evaluate(run, tmp_path / "file", {**fields, "eval.reference.file": file}) == 0
    found = [_measured(tmp_path / name)["sample_quality"] for name in ("data", "file")]
    assert found[0]["settings"][0]["figures"] == found[1]["settings"][0]["figures"]


def test_checkpoints_that_are_not_there_are_named(run, tmp_path, capsys):
    fields = {"eval.evaluators": "sample_quality", "eval.sample_quality.steps": "(2,3)"}
    assert _evaluate(run, tmp_path, fields) == 1
    assert "are the steps [2, 4]" in capsys.readouterr().err


def test_follow_ends_with_the_last_step_and_leaves_out_what_was_deleted(run, tmp_path, monkeypatch, capsys):
    copy, load = tmp_path / "run", follow.load
    shutil.copytree(run, copy)

    def load_as_the_trainer_deletes(workdir, config, reads):
        if config.restore.step == 2:
            shutil.rmtree(copy / "checkpoints" / "2")
        return load(workdir, config, reads)

    fields = {"eval.evaluators": "loss", "eval.follow": True}
    assert _evaluate(copy, tmp_path / "all", fields) == 0
    assert [_measured(tmp_path / "all", f"metrics_{step:07d}.json")["step"] for step in (2, 4)] == [2, 4]
    monkeypatch.setattr(follow, "load", load_as_the_trainer_deletes)
    capsys.readouterr()
    assert _evaluate(copy, tmp_path / "rest", fields) == 0
    assert "step 2 is left out" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "rest").glob("metrics_*")] == ["metrics_0000004.json"]
    assert _measured(tmp_path / "rest")["loss"] == _measured(tmp_path / "all")["loss"]


def test_follow_waits_for_a_run_that_has_not_begun(tmp_path, tiny_config, monkeypatch, capsys):
    workdir, naps = tmp_path / "later", []

    def until_it_begins(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            workdir.mkdir()
            write_json(workdir / "config.json", {"config": tiny_config.to_dict()})

    monkeypatch.setattr("workdir.saved_config.time.sleep", until_it_begins)
    config, *_ = main.parse(["main.py", f"--workdir={workdir}", "--mode=eval", "--config.eval.follow=True"])
    assert config.model.width == tiny_config.model.width and len(naps) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"waiting for {workdir}/config.json, which a training run writes"


def test_few_samples_are_measured_while_a_network_trains(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (row,) = (row for row in rows if "frechet_distance_n16" in row)
    assert row["step"] == 4 and row["frechet_distance_n16"] > 0


def test_the_loss_by_level_agrees_with_one_of_other_draws(run, tmp_path):
    # The same images, seen through noises and dequantization of NumPy's.
    assert _evaluate(run, tmp_path, {"eval.evaluators": "loss", "eval.max_images": 256}) == 0
    found, loaded = _measured(tmp_path)["loss"], experiment.load(run)
    rng, sde = np.random.default_rng(0), loaded.experiment.sde
    images = subset(experiment.data_of(loaded).test, 256)["image"]
    x0 = (images + rng.random(images.shape)) / 17 * 2 - 1
    for t, value, error in zip(found["times"], found["model"], found["standard_error"], strict=True):
        eps = rng.standard_normal(x0.shape)
        alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
        predicted = loaded.denoise((alpha * x0 + sigma * eps).astype(np.float32), t).eps
        own = ((np.asarray(predicted) - eps) ** 2).mean(axis=(1, 2, 3))
        other = own.std() / np.sqrt(len(own))
        assert abs(own.mean() - value) < 4.5 * np.hypot(other, error)


@pytest.mark.slow
def test_bits_per_dim_agree_with_scipy_on_the_exact_divergence(run, tmp_path):
    fields = {"eval.max_images": 2, "eval.batch_size": 8, "eval.bits_per_dim.tolerance": 1e-5}
    fields |= {"eval.evaluators": "bits_per_dim", "eval.bits_per_dim.probe": "exact"}
    fields |= {"eval.bits_per_dim.split": "train"}
    assert _evaluate(run, tmp_path, fields) == 0
    with np.load(tmp_path / "bits_per_dim.npz") as kept:
        log_prob = kept["log_prob"].reshape(2)
    loaded = experiment.load(run)
    sde, images = loaded.experiment.sde, subset(experiment.data_of(loaded).train, 2)["image"]
    (x,) = bits_per_dim.dequantized(loaded.experiment, images)[:1].reshape(1, 64)

    @jax.jit
    def velocity(x, t):
        def of(x):
            eps = loaded.denoise(x.reshape(1, 8, 8, 1), t).eps.reshape(64)
            # dx/dt = f x - g^2 / 2 score, of VP's linear beta.
            beta = 0.1 + (20.0 - 0.1) * t
            return -0.5 * beta * (x - eps / sde.sigma(t))

        return of(x), jax.numpy.trace(jax.jacfwd(of)(x))

    def slope(t, y):
        dx, divergence = velocity(y[:64].astype(np.float32), np.float32(t))
        return np.append(np.asarray(dx, float), float(divergence))

    end = scipy.integrate.solve_ivp(slope, (sde.t_min, 1.0), np.append(x, 0.0), rtol=1e-5, atol=1e-5).y[:, -1]
    own = -0.5 * np.sum(end[:64] ** 2) - 32 * np.log(2 * np.pi) + end[64]
    # In bits/dim of pixels: one level is 2/17 wide.
    to_bits = 1 / (64 * np.log(2))
    assert abs(own - log_prob[0]) * to_bits < 1e-3
    entry = _measured(tmp_path)["bits_per_dim"]
    assert entry["split"] == "train"
    expected = -log_prob.mean() * to_bits + np.log2(17 / 2)
    assert entry["model"]["value"] == pytest.approx(expected, abs=1e-4)


def test_figures_without_a_best_one_have_their_mean_over_seeds():
    def setting(step, seed, **figures):
        found = {name: {"value": value} for name, value in figures.items()}
        return {"sampler": "", "average": None, "step": step, "seed": seed, "figures": found}

    one, other = setting(2, 0, fid=3.0, precision=0.5), setting(2, 1, fid=5.0, precision=0.75)
    early = [setting(1, seed, fid=2.0, precision=0.25) for seed in (0, 1)]
    fid, precision = summarized([*early, one, other])
    assert (fid["last"]["mean"], fid["last"]["best"], fid["best"]["step"]) == (4.0, 3.0, 1)
    assert precision["last"]["mean"] == 0.625 and precision["last"]["best"] is None
    assert precision["last"]["standard_deviation"] == pytest.approx(0.25 / np.sqrt(2))
    assert precision["best"] is None and precision["checkpoints"] == 2
    # A figure that not all have has no mean.
    assert [s["figure"] for s in summarized([one, setting(2, 1, fid=5.0)])] == ["fid"]
