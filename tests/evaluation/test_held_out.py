"""Sets too small for a figure: it is left out by name, and all that is written is strict JSON."""

import json

import numpy as np
import pytest

import main
import metrics
from evaluation import evaluators
from evaluation.held_out import LeftOut, TooFew, mean_and_error
from tests.conftest import TINY, as_flags
from training import optimizers


def _strict(path):
    def refuse(name):
        raise AssertionError(f"{path} holds {name}")

    return json.loads(path.read_text(), parse_constant=refuse)


def _data(path, train, test):
    """An .npz data set of random images with so many of each split."""
    images = np.random.default_rng(0).integers(0, 17, (train + test, 8, 8, 1), np.uint8)
    np.savez(path, train_images=images[:train], test_images=images[train:])


def test_one_value_has_no_standard_error():
    left_out = LeftOut()
    for name, values in (("one", [1.0]), ("two", [1.0, 2.0])):
        with left_out(name):
            assert mean_and_error(np.array(values))["standard_error"] > 0
    assert list(left_out.reasons) == ["one"] and "takes 2 examples" in left_out.reasons["one"]
    with pytest.raises(TooFew):
        mean_and_error(np.array([]))


@pytest.mark.parametrize(("size", "figures"), [(1, 0), (2, 3), (3, 3), (4, 5), (99, 5), (100, 8)])
def test_two_sample_figures_are_those_that_the_sets_are_large_enough_for(size, figures, capfd):
    left_out, real = LeftOut(), np.random.default_rng(0).standard_normal((2, 100, 3))
    found = left_out.two_sample("pair", real[0][:size], real[1], neighbours=3)
    assert found.pop("samples") == size and len(found) == figures
    assert all(np.isfinite(value) for value in found.values())
    missing = {f"pair.{name}" for name in metrics.too_small_for(size, 3)}
    assert set(left_out.reasons) == missing
    said = capfd.readouterr().err
    assert all(f"{name} is left out: it takes" in said for name in missing)


@pytest.fixture(scope="module")
def one_held_out(tmp_path_factory):
    """The command for a run on a data set with a single held-out image, trained for two steps."""
    workdir = tmp_path_factory.mktemp("small") / "run"
    _data(workdir.parent / "data.npz", train=40, test=1)
    fields = {
        **TINY,
        "data.source": f"npz:{workdir.parent / 'data.npz'}",
        "data.pixel_values": 17,
        "training.steps": 2,
        "training.eval_every": 1,
        "eval.evaluators": "loss,two_sample,bits_per_dim,discrete_bound,diagnostics",
        "eval.bound.levels": 4,
        "eval.diagnostics.images": 2,
    }
    command = ["main.py", "--config=configs/images.py", f"--workdir={workdir}", *as_flags(fields)]
    assert main.main(command) == 0
    return command, workdir


@pytest.mark.slow
def test_a_single_held_out_image_is_evaluated_without_what_it_cannot_tell(one_held_out, capfd):
    command, workdir = one_held_out
    assert main.main([*command, "--mode=eval"]) == 0
    found = _strict(workdir / "metrics.json")
    left_out = {name: set(found[name]["left_out"]) for name in evaluators.EVALUATORS if name in found}
    assert left_out == {
        "loss": set(),
        "two_sample": {
            f"{column}.{figure}"
            for column in ("model", "training_images")
            for figure in ("one_nearest_neighbour", "precision_recall")
        },
        "bits_per_dim": {"model"},
        "discrete_bound": {"discrete_bound"},
        "diagnostics": {"diagnostics"},
    }
    assert np.isfinite(found["loss"]["model"]).all()
    said = capfd.readouterr().err
    assert "model is left out: its standard error takes 2 examples" in said
    assert "Left out: model, since its standard error" in (workdir / "evaluation.md").read_text()
    assert "NaN" not in said and "RuntimeWarning" not in said
    assert not (workdir / "evaluation.png").exists() and (workdir / "loss.png").exists()


def test_what_measures_training_images_wants_two(tmp_path, one_held_out, capfd):
    command, _ = one_held_out
    _data(tmp_path / "data.npz", train=1, test=1)
    source = f"--config.data.source=npz:{tmp_path / 'data.npz'}"
    other = ["--config.data.allow_changed=True", "--mode=variance", f"--output={tmp_path}"]
    assert main.main([*command, source, *other]) == 1
    error = capfd.readouterr().err
    assert "has 1 training image" in error and error.count("error: ") == 1


@pytest.mark.slow
def test_prolonging_a_run_says_what_the_learning_rate_does(tmp_path, capfd):
    fields = {**TINY, "training.log_every": 2, "optim.warmup": 1}
    command = ["main.py", "--config=configs/digits.py", f"--workdir={tmp_path}"]

    def prolonged(steps):
        changed = {**fields, "optim.schedule": "cosine", "training.steps": steps}
        assert main.main([*command, *as_flags(changed)]) == 0
        return [line for line in capfd.readouterr().err.splitlines() if "learning rate" in line]

    assert prolonged(2) == []
    (line,) = prolonged(4)
    assert "training.steps was 2 and is 4" in line and 'optim.schedule="cosine"' in line
    config = main.parse([*command, *as_flags({**fields, "optim.schedule": "cosine"})])[0]
    before, now = (float(optimizers.learning_rate(config.optim, steps)(2)) for steps in (2, 4))
    assert before == 0 and f"at step 2 goes from 0 to {now:.3g}" in line


@pytest.mark.slow
def test_an_infinite_field_of_a_config_comes_back_from_strict_json(tmp_path, capfd):
    ring = ["main.py", "--config=configs/gaussian_mixture.py:ring", f"--workdir={tmp_path}", "--mode=eval"]
    small = {"eval.max_images": 8, "eval.two_sample.num_samples": 4, "eval.two_sample.neighbours": 5}
    small |= {"eval.bound.images": 4, "eval.bound.levels": 4, "eval.loss_levels": 2, "sampling.steps": 6}
    edm = {"sampling.predictor": "edm", "sampling.predictor.churn_max": "inf"}
    assert main.main([*ring, *as_flags({**small, **edm})]) == 0
    found = _strict(tmp_path / "metrics.json")
    assert found["config"]["sampling"]["predictor"]["churn_max"] == "Infinity"
    left_out = {"model.precision_recall", "exact_samples.precision_recall"}
    assert set(found["two_sample"]["left_out"]) == left_out
    assert capfd.readouterr().out.count("-, -") == 2
    (tmp_path / "config.json").write_text(json.dumps({"config": found["config"]}))
    config = main.parse(["main.py", f"--workdir={tmp_path}", "--mode=sample"])[0]
    assert config.sampling.predictor.churn_max == float("inf")
