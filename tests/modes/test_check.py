"""--mode=check --for=X tells what X refuses, in the same lines."""

import numpy as np
import pytest

import main
from modes import MODES, check
from tests.conftest import TINY, as_flags
from workdir.lock import Lock

DIGITS = "--config=configs/digits.py"
OF_SAMPLES = {
    "eval.evaluators": "sample_quality",
    "eval.features": "pixels",
    "eval.sample_quality.metrics": "kid",
}
# mode: fields that it refuses, one wrong thing each
WRONG = {
    "train": [
        {"training.batch_size": 12},
        {"training.jitted_steps": 3},
        {"optim.name": "adm"},
        {"model.width": 16},
        {"ema.decays": "(2.0,)"},
        {"loss.weighting": "likelihood", "loss.time_grid": "discrete"},
        {"denoiser.variance_head": "residual"},
        {"sampling.predictor": "ddm"},
        {"sampling.labels": 10},
        {"model.attention": "(5,)"},
        {"data.pixel_values": 5},
        {"data.source": "npz:/proc/nowhere.npz"},
        {"seed": -1},
        {**OF_SAMPLES, "training.sample_quality_every": 1, "eval.reference.file": "/proc/nowhere.npz"},
    ],
    "sample": [
        {"sampling.grid": "optimal"},
        {"sampling.grid": "fitted", "sampling.grid.file": "/proc/nowhere.npz"},
        {"sampling.threshold": "static"},
        {"sampling.corrector.snr": -1.0},
        {"sampling.variance": "learned"},
        {"sampling.num_samples": 0},
        {"sampling.batch_size": 12},
        {"restore.average": 0.5},
        {"restore.step": 77},
        {"restore.file": "/proc/nowhere.npz"},
        {"model.width": 16},
        {"sde": "ve"},
        {"mixture": "ring"},
    ],
    "eval": [
        {"eval.bits_per_dim.probe": "exct"},
        {"eval.bound.grid": "sampling", "eval.evaluators": "discrete_bound", "sampling.predictor": "edm"},
        {"eval.bound.variance": "heuristic"},
        {"eval.evaluators": "discrete_bound", "eval.bound.variance": "analytic"},
        {"eval.evaluators": "continuous_bound", "eval.bound.decoder": "pixel"},
        {"eval.two_sample.num_samples": 1},
        {"eval.evaluators": "diagnostics", "eval.diagnostics.images": 1},
        {"eval.evaluators": "loss,sample_qualty"},
        {"eval.evaluators": "()"},
        {**OF_SAMPLES, "eval.sample_quality.steps": "(1,77)"},
        {**OF_SAMPLES, "eval.reference.file": "/proc/nowhere.npz"},
        {**OF_SAMPLES, "eval.reference.file": "{workdir}/moments.npz"},
    ],
    "encode": [{"encoding.tolerance": -1.0}, {"encoding.solver": "rk4"}, {"encoding.temperatures": "()"}],
    "calibrate": [{"calibration.nfe": "(2,)"}, {"sampling.threshold": "static"}],
    "variance": [{"variance.levels": 1}],
    "optimal_grid": [{"optimal_grid.steps": "(1,)"}, {"eval.bound.variance": "predicted"}],
    "ema": [{"ema.reconstruct_std": 0.4}],
    "import": [{"optim.name": "adm"}, {"ema.decays": "(2.0,)"}, {"mixture": "ring"}],
    "export": [{"export.format": "onnx"}, {"restore.average": 0.9999}, {"restore.step": 77}],
    "plan": [{"plan.topology": "v9:2x2"}, {"training.parallel": "mesh", "training.fsdp": 3}],
    "profile": [{"profile.steps": 0}, {"training.parallel": "mesh", "training.fsdp": 3}],
    "coefficients": [{"sampling.predictor.order": 7, "sampling.predictor": "unipc"}],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The workdir of a run of one step."""
    workdir = tmp_path_factory.mktemp("run")
    fields = {**TINY, "training.steps": 1}
    assert main.main(["main.py", DIGITS, f"--workdir={workdir}", *as_flags(fields)]) == 0
    # Of how many images the moments are is said by eval.reference.images alone.
    np.savez(workdir / "moments.npz", mu=np.zeros(64), sigma=np.eye(64))
    return workdir


def _refused(capsys, arguments):
    """Lines with which a command refuses, without their first word."""
    try:
        code = main.main(["main.py", *arguments])
    except SystemExit as stop:
        code = stop.code
    out, error = capsys.readouterr()
    lines = [
        line for line in (*out.splitlines(), *error.splitlines()) if line.startswith(("error: ", "refused: "))
    ]
    assert code in (1, 2), (out, error)
    return [line.split(": ", 1)[1] for line in lines]


@pytest.mark.parametrize(
    ("mode", "fields"), [(mode, fields) for mode in WRONG for fields in WRONG[mode]], ids=str
)
def test_check_refuses_as_the_mode_does(mode, fields, trained, capsys):
    flags = [flag.format(workdir=trained) for flag in as_flags({**TINY, **fields})]
    workdir = [f"--workdir={trained}"]
    file = ["--from=nowhere"] if mode == "import" else []
    refused = _refused(capsys, [DIGITS, *workdir, f"--mode={mode}", *file, *flags])
    checked = _refused(capsys, [DIGITS, *workdir, "--mode=check", f"--for={mode}", *flags])
    assert refused == checked and refused
    assert all("\n" not in line for line in refused)


def test_check_says_that_another_run_trains_here(trained, capsys):
    flags = [DIGITS, f"--workdir={trained}", *as_flags({**TINY, "training.steps": 1})]
    assert main.main(["main.py", *flags, "--mode=check"]) == 0
    capsys.readouterr()
    with Lock(trained):
        (refused,) = _refused(capsys, [*flags, "--mode=check"])
    assert refused.startswith(f"{trained} is being trained by process")


def test_every_mode_with_settings_is_among_them():
    assert set(WRONG) == set(MODES) - {"check", "diff", "inspect", "prepare", "report", "table", "verify"}


def test_a_sound_run_is_refused_nothing(trained, capsys):
    # This run keeps no averages of which --mode=ema makes others; tests/modes/test_ema.py has one that does.
    for mode in set(WRONG) - {"ema"}:
        flags = [DIGITS, f"--workdir={trained}", "--mode=check", f"--for={mode}", *as_flags(TINY)]
        assert main.main(["main.py", *flags]) == 0
        assert f"ok: --mode={mode} would refuse nothing" in capsys.readouterr().out


def test_only_what_the_mode_reads_is_shown(capsys):
    def shown(mode):
        assert main.main(["main.py", DIGITS, "--mode=check", f"--for={mode}"]) == 0
        return {line[2:].split(".")[0].split()[0] for line in capsys.readouterr().out.splitlines()}

    assert {"training", "sampling", "sde"} <= shown("train") and not {"encoding", "variance"} & shown("train")
    assert {"eval", "data", "model"} <= shown("eval") and not {"optim", "optimal_grid"} & shown("eval")
    assert {"calibration", "sampling"} <= shown("calibrate") and "eval" not in shown("calibrate")


def test_only_what_was_set_is_marked(capsys):
    given = ["--config.sampling.steps=20", "--config.sampling.predictor=default"]
    assert main.main(["main.py", DIGITS, "--mode=check", "--for=sample", *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    marked = {line.split()[1] for line in lines if line.startswith("* ")}
    assert "sampling.steps" in marked and "sampling.grid.power" not in marked
    assert any(line.startswith("  sampling.grid.power = ") for line in lines)
    assert not any("(default default)" in line for line in lines)


def test_data_that_is_refused_unread_is_not_read(monkeypatch, capsys):
    def read(*_):
        raise AssertionError("the data was read")

    monkeypatch.setattr(check.data, "create", read)
    for field, value in (
        ("data.classes", 2**31 - 8),
        ("data.threads", 10**6),
        ("data.class_frequencies", "('x',)"),
    ):
        (line,) = _refused(capsys, [DIGITS, "--mode=check", f"--config.{field}={value}"])
        assert field in line


def test_check_marks_what_is_changed_and_shows_the_chosen_classes_fields_alone(capsys):
    flags = ["--config.sampling.predictor=edm", "--config.sampling.predictor.order=1"]
    assert main.main(["main.py", DIGITS, "--mode=check", "--config.sampling.corrector=none", *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "* sampling.predictor.order = 1   (default 2)" in lines
    assert "  sampling.predictor.churn = 0.0" in lines
    assert not any("predictor.tau" in line or "None" in line for line in lines)


def test_a_run_is_used_without_its_config_and_with_overrides_on_top(trained, capsys):
    command = ["main.py", f"--workdir={trained}", "--mode=sample", "--config.sampling.num_samples=8"]
    assert main.main(command) == 0
    first = np.load(trained / "samples.npz")["images"]
    assert main.main([*command, DIGITS, *as_flags(TINY), "--config.sampling.num_samples=8"]) == 0
    np.testing.assert_array_equal(np.load(trained / "samples.npz")["images"], first)
    other = [
        "--config.sampling.predictor=ddim",
        "--config.sampling.corrector=none",
        "--config.restore.step=1",
    ]
    assert main.main([*command, *other, f"--output={trained / 'ddim'}"]) == 0
    assert (np.load(trained / "ddim" / "samples.npz")["images"] != first).any()
