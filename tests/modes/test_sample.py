"""Sampling from the command line: killed and resumed, on any devices, by several processes."""

import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import experiment
import main
from components import UserError
from configs import gaussian_mixture
from experiment.draw import NumberedSamples
from modes import MODES, sample
from samplers import calibration
from samplers.solvers import fitted
from samplers.solvers.adams import Adams
from samplers.time_grids import VPTime
from sde_lib import SDES
from tests.conftest import ROOT, as_flags, environment
from workdir.checkpoints import Checkpoints
from workdir.files import write_measured

FIELDS = {"sampling.num_samples": 40, "sampling.batch_size": 16, "sampling.steps": 12}


def _command(workdir, mode="sample", **fields):
    given = {**FIELDS, **{name.replace("__", "."): value for name, value in fields.items()}}
    config = "--config=configs/gaussian_mixture.py:ring"
    return ["main.py", config, f"--workdir={workdir}", f"--mode={mode}", *as_flags(given)]


def _samples(workdir):
    with np.load(workdir / "samples.npz") as found:
        return found["x"], found["nfe"]


@pytest.fixture
def killed_after(monkeypatch):
    """Makes drawing stop as by Ctrl-C after that many batches, and counts batches."""
    drawn, numbered = [], NumberedSamples.numbered

    def install(batches):
        drawn.clear()

        def counted(self, params, numbers):
            if len(drawn) == batches:
                raise KeyboardInterrupt
            drawn.append(numbers)
            return numbered(self, params, numbers)

        monkeypatch.setattr(NumberedSamples, "numbered", counted)
        return drawn

    return install


def test_a_killed_run_goes_on_where_it_stopped(tmp_path, killed_after, capsys):
    assert main.main(_command(tmp_path / "whole")) == 0
    workdir = tmp_path / "killed"
    killed_after(2)
    assert main.main(_command(workdir)) == 130
    assert not (workdir / "samples.npz").exists()
    drawn = killed_after(-1)
    assert main.main(_command(workdir)) == 0
    assert "32 were drawn before" in capsys.readouterr().err
    assert len(drawn[0]) == 8  # the third batch, then the trajectories
    np.testing.assert_array_equal(_samples(workdir)[0], _samples(tmp_path / "whole")[0])
    assert not list(workdir.glob("samples.parts*"))


def test_parts_of_another_sampler_are_not_taken(tmp_path, killed_after):
    killed_after(2)
    assert main.main(_command(tmp_path)) == 130
    drawn = killed_after(-1)
    assert main.main(_command(tmp_path, sampling__predictor="ddim")) == 0
    assert [len(numbers) for numbers in drawn][:3] == [16, 16, 8]
    # Nor are they in its way: the first sampler goes on where it stopped.
    drawn = killed_after(-1)
    assert main.main(_command(tmp_path)) == 0
    assert len(drawn[0]) == 8


def test_parts_of_an_overwritten_fitted_solver_are_not_taken(tmp_path, killed_after, capsys):
    paths = [tmp_path / "one.npz", tmp_path / "two.npz"]
    sde, origin = SDES["vp"](), {"parameters": "other", "step": 7}
    for calls, path in zip((4, 5), paths, strict=True):
        form, theta = calibration.start_from(Adams(3), VPTime(), calls, sde)
        arrays = fitted.arrays_of(calibration.float64_table(theta, form, sde))
        write_measured(path, fitted.TABLE_FILE, arrays, {**origin, "sde": repr(sde)})
    command = _command(tmp_path, sampling__predictor="fitted", sampling__predictor__file=paths[0])
    killed_after(2)
    assert main.main(command) == 130
    assert "fitted to other parameters, of step 7" in capsys.readouterr().err
    paths[1].rename(paths[0])
    killed_after(-1)
    assert main.main(command) == 0
    assert (_samples(tmp_path)[1] == 5).all()


def test_the_trajectory_of_an_older_run_does_not_stay(tmp_path):
    assert main.main(_command(tmp_path)) == 0
    assert (tmp_path / "trajectory.npz").exists()
    assert main.main(_command(tmp_path, sampling__predictor="ode")) == 0
    assert not list(tmp_path.glob("trajectory.*"))


def test_a_damaged_part_is_drawn_again(tmp_path, killed_after, capsys):
    killed_after(2)
    assert main.main(_command(tmp_path)) == 130
    part = sorted(tmp_path.glob("samples.parts-*/*.npz"))[0]
    part.write_bytes(part.read_bytes()[:100])
    drawn = killed_after(-1)
    assert main.main(_command(tmp_path)) == 0
    assert "cannot be read" in capsys.readouterr().err
    assert [len(numbers) for numbers in drawn[:2]] == [16, 8]


def test_results_and_parts_go_to_another_folder_and_the_workdir_stays_as_it_is(
    tmp_path, tiny_config, killed_after
):
    workdir, output = tmp_path / "run", tmp_path / "elsewhere" / "samples"
    tiny_config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
    checkpoints = Checkpoints(workdir, experiment.resolved(tiny_config))
    checkpoints.save(experiment.create(tiny_config, MODES["train"].reads).create_state())
    checkpoints.finish()
    checkpoints.close()
    files = sorted((path, path.stat().st_mtime_ns) for path in [workdir, *workdir.rglob("*")])
    killed_after(0)
    with pytest.raises(KeyboardInterrupt):
        sample.run(tiny_config, workdir, output)
    killed_after(-1)
    sample.run(tiny_config, workdir, output)
    assert {"samples.npz", "samples.png", "trajectory.npz"} <= {path.name for path in output.iterdir()}
    assert sorted((path, path.stat().st_mtime_ns) for path in [workdir, *workdir.rglob("*")]) == files


def test_a_folder_that_cannot_be_written_to_is_named_with_its_flag(tmp_path):
    config = gaussian_mixture.get_config("ring")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"--output={tmp_path}/file/x cannot be written to"):
        sample.run(config, tmp_path, tmp_path / "file" / "x")


def test_sample_number_k_depends_on_neither_batch_nor_devices(tmp_path):
    assert main.main(_command(tmp_path / "a")) == 0
    assert main.main(_command(tmp_path / "b", sampling__batch_size=8, sampling__num_samples=24)) == 0
    subprocess.run(
        [sys.executable, *_command(tmp_path / "c", sampling__batch_size=5)],
        env=environment(1),
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    whole = _samples(tmp_path / "a")[0]
    np.testing.assert_allclose(_samples(tmp_path / "b")[0], whole[:24], atol=1e-5)
    np.testing.assert_allclose(_samples(tmp_path / "c")[0], whole, atol=1e-5)


@pytest.mark.parametrize("predictor", ["ode", "adaptive_sde"])
def test_solvers_without_a_table_are_sampled_with_each_sample_s_calls(predictor, tmp_path):
    assert main.main(_command(tmp_path, sampling__predictor=predictor)) == 0
    x, nfe = _samples(tmp_path)
    assert len(x) == 40 and len(set(nfe.tolist())) > 1


def test_the_table_of_a_sampler_is_printed(capsys):
    assert (
        main.main(_command("unused", mode="coefficients", sampling__predictor="edm", sampling__steps=2)) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert "VP(" in lines[0] and lines[-1] == "NFE 5" and len(lines) == 9


PROCESS = """
    import sys
    import jax
    jax.distributed.initialize("127.0.0.1:{port}", 2, int(sys.argv[1]))
    import main
    sys.exit(main.main({command!r}))
"""


def _by_two_processes(command):
    """What each of two processes, which run a command together, prints to standard output and error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = textwrap.dedent(PROCESS).format(port=port, command=command)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(i)], env=environment(2), cwd=ROOT, **pipes)
        for i in range(2)
    ]
    printed = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    return zip(*printed, strict=True)


def test_two_processes_share_the_work(tmp_path):
    assert main.main(_command(tmp_path / "one")) == 0
    _, errors = _by_two_processes(_command(tmp_path / "two"))
    # The other one has 16 of the 40, and leaves it to the first to print.
    assert "/24" in errors[0] and "sample" not in errors[1]
    assert ["wrote" in error for error in errors] == [True, False]
    np.testing.assert_allclose(_samples(tmp_path / "two")[0], _samples(tmp_path / "one")[0], atol=1e-5)


@pytest.mark.slow
def test_two_processes_share_the_solves_of_an_evaluation_and_one_reports(tmp_path):
    fields = {"batch_size": 16, "max_images": 40, "num_samples": 16, "loss_levels": 2}
    fields |= {"bound_images": 16, "bound_levels": 16}
    command = _command(tmp_path, "eval", **{f"eval__{name}": value for name, value in fields.items()})
    reports, errors = _by_two_processes(command)
    assert ["probability-flow ODE" in report for report in reports] == [True, False]
    assert ["wrote" in error for error in errors] == [True, False]
    with np.load(tmp_path / "log_prob.npz") as kept:
        assert np.isfinite(kept["log_prob"]).all() and kept["rows"].tolist() == list(range(40))
    assert not list(tmp_path.glob("*.parts-*"))


def test_pictures_of_what_has_no_pixels_are_refused(tmp_path, capsys):
    assert main.main(_command(tmp_path, sampling__png=True)) == 2
    assert "sampling.png=True" in capsys.readouterr().err
