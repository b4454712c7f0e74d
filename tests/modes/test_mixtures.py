"""Sampling, evaluating and encoding mixtures from the command line, without any network."""

import json

import numpy as np
import pytest

import main
from denoisers.mixtures import MIXTURES
from sde_lib import SDES
from tests.conftest import as_flags

SMALL = {
    "sampling.steps": 30,
    "sampling.num_samples": 16,
    "sampling.batch_size": 16,
    "eval.batch_size": 64,
    "eval.max_images": 64,
    "eval.two_sample.num_samples": 64,
    "eval.bound.images": 64,
    "eval.bound.levels": 64,
    "eval.loss_levels": 5,
    "eval.diagnostics.images": 8,
}

EVERYTHING = "loss,two_sample,bits_per_dim,discrete_bound,continuous_bound,diagnostics"


def _run(mode, argument, workdir, fields=None):
    flags = {k: v for k, v in {**SMALL, **(fields or {})}.items() if v is not None}
    config = f"--config=configs/gaussian_mixture.py:{argument}"
    return main.main(["main.py", config, f"--workdir={workdir}", f"--mode={mode}", *as_flags(flags)])


@pytest.mark.parametrize("name", MIXTURES)
def test_every_mixture_is_sampled_without_a_network(name, tmp_path):
    assert _run("sample", name, tmp_path, {"mixture.side": 8 if name == "images" else None}) == 0
    with np.load(tmp_path / "samples.npz") as found:
        assert len(found["x"]) == 16 and np.isfinite(found["x"]).all() and (found["nfe"] == 31).all()
    assert (tmp_path / "samples.png").stat().st_size > 1000
    assert (tmp_path / "trajectory.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["ring", pytest.param("digits", marks=pytest.mark.slow)])
def test_evaluation_agrees_with_the_exact_figures(name, tmp_path, capsys):
    assert _run("eval", name, tmp_path, {"eval.evaluators": EVERYTHING} if name == "ring" else None) == 0
    # By 30 steps of ancestral sampling.
    assert "er than it should be" in capsys.readouterr().err
    found = json.loads((tmp_path / "metrics.json").read_text())
    flow, above = found["bits_per_dim"]["flow"], found["continuous_bound"]["above_exact"]
    assert abs(flow["difference"]["value"]) < 1e-3 and flow["root_mean_square_difference"] < 5e-3
    assert found["loss"]["largest_deviation_in_standard_errors"] < 4.5
    assert abs(above["value"]) < 4 * above["standard_error"]
    discrete = found["discrete_bound"]["above_exact"]
    assert discrete["value"] > -4 * discrete["standard_error"]
    assert (tmp_path / "evaluation.png").exists()
    assert ("diagnostics" in found) == (tmp_path / "diagnostics.png").exists() == (name == "ring")
    # A second run takes the solves of the first.
    before = (tmp_path / "log_prob.npz").read_bytes()
    with np.load(tmp_path / "log_prob.npz") as results:
        assert np.isfinite(results["log_prob"]).all()
    assert before


@pytest.mark.parametrize(
    "name",
    [name if name in ("ve", "edm", "smld") else pytest.param(name, marks=pytest.mark.slow) for name in SDES],
)
def test_every_process_runs_on_the_ring(name, tmp_path):
    assert _run("sample", f"ring,{name}", tmp_path, {"sampling.steps": 200}) == 0
    with np.load(tmp_path / "samples.npz") as found:
        radius = np.linalg.norm(found["x"], axis=1)
    # Eight modes on the unit circle, each 0.1 wide: also 200 uniform steps must find the circle.
    assert np.mean(np.abs(radius - 1) < 0.5) > 0.9


def test_codes_of_a_mixture_are_decoded_again(tmp_path):
    assert _run("encode", "digits", tmp_path, {"encoding.num_images": 8}) == 0
    report = json.loads((tmp_path / "encoding.json").read_text())
    assert report["largest_reconstruction_error"] < 1e-4
    assert np.all(np.abs(np.array(report["code_norm_over_prior"]) - 1) < 0.5)
    with np.load(tmp_path / "encoding.npz") as found:
        assert found["interpolated"].shape == (7, 9, 8, 8, 1)
        np.testing.assert_allclose(found["interpolated"][:, 0], np.stack([found["x"][0]] * 7), atol=1e-3)
    assert (tmp_path / "encoding.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("argument", "fields", "words"),
    [
        ("rng", {}, ['mixture.name="rng"', '"ring"']),
        ("ring", {"mixture.rank": 3}, ["mixture.rank", 'mixture.name="ring"', "components"]),
        ("ring", {"mixture.components": 0}, ["components=0"]),
        ("two_moons", {"mixture.components": 3}, ["components=3", "even"]),
        ("ring,rectified_flow", {"sampling.predictor": "euler_maruyama"}, ["euler_maruyama", "ancestral"]),
        ("images", {"eval.bits_per_dim.probe": "exact"}, ["eval.bits_per_dim.probe", "3072", "rademacher"]),
        (
            "ring,cosine",
            {"sampling.predictor": "euler_maruyama", "sampling.steps": 4, "sampling.largest_bias": 2.0},
            ["above sampling.largest_bias=2", "Use sampling.steps="],
        ),
        ("ring", {"eval.bits_per_dim.solver": "rk4"}, ["eval.bits_per_dim.solver", "dopri5"]),
        ("ring", {"eval.bound.variance": "learned"}, ["eval.bound.variance", "variance_head"]),
        ("digits", {"mixture.components": 2000}, ["components=2000"]),
        ("ring", {"mixture.spread": "inf"}, ["spread=inf"]),
        ("digits,shifted_cosine", {}, ["sde.image_side=64", "side 8"]),
        ("ring", {"eval.bits_per_dim.dequantizations": 5}, ["eval.bits_per_dim.dequantizations"]),
        ("ring", {"eval.max_images": 1}, ["eval.max_images=1"]),
        ("ring,ve", {"sde.t_max": 0.5}, ["t_max=0.5"]),
        ("ring,ddpm", {"eval.bound.levels": 5000, "eval.bound.grid": "uniform"}, ["at most 1000"]),
    ],
)
def test_mistakes_are_one_line(argument, fields, words, tmp_path, capsys):
    assert _run("eval", argument, tmp_path, fields) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1 and error.startswith("error: ")
    for word in words:
        assert word in error


def test_only_the_mode_that_reads_a_setting_is_stopped_by_it(tmp_path, capsys):
    fields = {"encoding.temperatures": "(0.0,)", "sampling.num_samples": 2}
    assert _run("encode", "ring", tmp_path, fields) == 2
    assert "encoding.temperatures" in capsys.readouterr().err
    assert _run("sample", "ring", tmp_path, fields) == 0


@pytest.mark.parametrize("mode", ["encode", "sample"])
def test_text_in_the_place_of_numbers_stops_every_mode(mode, tmp_path, capsys):
    assert _run(mode, "ring", tmp_path, {"encoding.temperatures": "('a',)"}) == 2
    assert "encoding.temperatures" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["train", "inspect", "prepare"])
def test_there_is_nothing_to_train_or_inspect(mode, tmp_path, capsys):
    assert _run(mode, "ring", tmp_path) == 2
    assert f"nothing to {mode}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_single_code_and_other_dimensions_are_encoded_too(tmp_path, capsys):
    assert _run("encode", "gaussian", tmp_path, {"encoding.num_images": 1}) == 0
    assert (tmp_path / "encoding.png").exists()
    assert _run("encode", "gaussian", tmp_path / "3d", {"mixture.dimension": 3}) == 0
    assert "encoding.png" not in capsys.readouterr().err.split("wrote")[-1]


@pytest.mark.slow
def test_likelihoods_of_other_data_are_not_taken_for_these(tmp_path, capsys):
    for spread in (0.1, 0.2):
        assert _run("eval", "ring", tmp_path, {"mixture.spread": spread}) == 0
        flow = json.loads((tmp_path / "metrics.json").read_text())["bits_per_dim"]["flow"]
        assert abs(flow["value"]["value"] - flow["exact"]["value"]) < 1e-3
