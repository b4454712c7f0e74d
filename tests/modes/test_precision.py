"""Products outside the network have the highest precision, in the programs that the modes compile."""

import json
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT, TINY, as_flags, environment

RUN = """
import json, sys
import main
for command in json.loads(sys.argv[1]):
    assert main.main(command) == 0, command
"""
PRODUCT = re.compile(r"(stablehlo|mhlo)\.(dot_general|dot|convolution)\b")
SMALL = {
    **TINY,
    "training.steps": 1,
    "eval.bits_per_dim.tolerance": 1e-1,
    "eval.evaluators": "loss,two_sample,bits_per_dim,discrete_bound,continuous_bound,diagnostics",
    "eval.bound.levels": 2,
    "eval.bound.images": 16,
    "eval.diagnostics.images": 16,
    "encoding.num_images": 2,
    "encoding.tolerance": 1e-1,
    "variance.levels": 2,
    "variance.examples": 16,
    "optimal_grid.levels": 3,
    "optimal_grid.examples": 16,
}
CALIBRATE = {
    "calibration.nfe": "(3,)",
    "calibration.noises": 8,
    "calibration.starts": 1,
    "calibration.fine_steps": 50,
    "calibration.pictures": 2,
}


def _products(folder, commands):
    """(text, scope) of every product of matrices and every convolution in the programs of some commands."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=ROOT,
        env={
            **environment(1),
            "JAX_DUMP_IR_TO": str(folder),
            "JAX_INCLUDE_DEBUG_INFO_IN_DUMPS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for file in folder.glob("*.mlir"):
        text = file.read_text()
        places = dict(re.findall(r"^(#loc\d+) = loc\((.*)\)$", text, re.M))
        for line in text.splitlines():
            if PRODUCT.search(line):
                place = re.search(r"loc\((#loc\d+)\)$", line)
                yield line, places[place[1]] if place else line


def _is_exact(line):
    return "f32" not in line.split(" : ")[-1] or line.count("HIGHEST") == 2


@pytest.mark.slow
def test_only_a_network_s_products_are_left_to_the_accelerator(tmp_path):
    workdir, file = f"--workdir={tmp_path / 'run'}", "--config=configs/digits.py"
    fields = {**SMALL, "denoiser.variance_head": "residual", "loss.variance_weight": 1.0}
    train = ["main.py", file, workdir, "--mode=train", *as_flags(fields)]
    others = [
        ["main.py", workdir, f"--mode={mode}", *as_flags(CALIBRATE)]
        for mode in ("sample", "eval", "encode", "calibrate", "variance", "optimal_grid")
    ]
    products = list(_products(tmp_path / "programs", [train, *others]))
    inside = [(line, place) for line, place in products if "network" in place]
    outside = [(line, place) for line, place in products if "network" not in place]
    assert len(inside) > 20 and not any(map(_is_exact, (line for line, _ in inside)))
    assert [pair for pair in outside if not _is_exact(pair[0])] == []


@pytest.mark.parametrize("name", ["ring", pytest.param("images", marks=pytest.mark.slow)])
def test_every_product_of_a_mixture_is_exact(tmp_path, name):
    workdir, file = f"--workdir={tmp_path / 'run'}", f"--config=configs/gaussian_mixture.py:{name}"
    fields = {k: v for k, v in SMALL.items() if not k.startswith(("model.", "training.", "variance."))}
    commands = [
        ["main.py", file, workdir, f"--mode={mode}", *as_flags({**fields, **CALIBRATE})]
        for mode in ("sample", "eval", "encode")
    ]
    products = list(_products(tmp_path / "programs", commands))
    assert products and [pair for pair in products if not _is_exact(pair[0])] == []


def test_the_network_s_own_precision_is_a_field(tmp_path):
    fields = {**TINY, "training.steps": 1, "denoiser.precision": "highest"}
    train = ["main.py", "--config=configs/digits.py", f"--workdir={tmp_path / 'run'}", *as_flags(fields)]
    products = list(_products(tmp_path / "programs", [train]))
    assert products and all(_is_exact(line) for line, _ in products)
