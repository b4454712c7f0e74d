"""One run of two processes, of two devices each: what one process of four devices would do."""

import json
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

import main
from parallel import processes
from tests.conftest import ROOT, command_line, environment

RUN = {"training.steps": 4, "training.eval_every": 4, "checkpoint.every": 2, "training.log_every": 2}
MESH = {"training.parallel": "mesh", "training.fsdp": 2}


class Two:
    """The two processes of one command, of which the second may have other arguments; see `ended`."""

    def __init__(self, mode, workdir, fields, *more, of_second=()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        command = [*command_line(mode, workdir, fields), *more, f"--coordinator={address}", "--processes=2"]
        self.both = [
            subprocess.Popen(
                [*command, f"--process={i}", *(of_second if i else ())],
                env=environment(2),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        ]

    def ended(self, seconds=240):
        """[(exit code, standard error)] of both, where libraries' own lines are left out."""
        found = []
        for process in self.both:
            try:
                _, error = process.communicate(timeout=seconds)
            finally:
                process.kill()
            lines = [line for line in error.splitlines() if line and not line.startswith("[Gloo]")]
            found.append((process.returncode, lines))
        return found


def _rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def _run_alone(mode, workdir, fields, devices=4):
    done = subprocess.run(
        command_line(mode, workdir, fields),
        env=environment(devices),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process of four devices under pmap."""
    workdir = tmp_path_factory.mktemp("alone")
    _run_alone("train", workdir, RUN)
    return workdir


@pytest.mark.parametrize("layout", [MESH, pytest.param({}, marks=pytest.mark.slow)], ids=["mesh", "pmap"])
def test_two_processes_train_as_one_and_one_goes_on(tmp_path, alone, layout):
    (code, said), (other_code, other_said) = Two("train", tmp_path, RUN | layout).ended()
    assert (code, other_code) == (0, 0), (said, other_said)
    assert not other_said
    for found, expected in zip(_rows(tmp_path), _rows(alone), strict=True):
        assert found.keys() == expected.keys()
        for name in ("loss", "gradient_norm", "held_out_loss"):
            if name in found:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)
    # Each process has saved the shards of its devices.
    saved = [path.name for path in (tmp_path / "checkpoints" / "4" / "params").glob("ocdbt.process_*")]
    assert len(saved) == (2 if layout else 1)
    _run_alone("train", tmp_path, RUN | {"training.steps": 6}, devices=1)
    assert _rows(tmp_path)[-1]["step"] == 6


@pytest.mark.slow
def test_two_processes_draw_and_evaluate_as_one(tmp_path, alone):
    fields = {"sampling.num_samples": 20, "eval.evaluators": ("loss", "bits_per_dim")}
    found = {}
    for name in ("one", "two"):
        folder = tmp_path / name
        for mode in ("sample", "eval"):
            if name == "one":
                command = [*command_line(mode, alone, fields), f"--output={folder}"]
                subprocess.run(command, env=environment(4), cwd=ROOT, capture_output=True, check=True)
            else:
                ended = Two(mode, alone, fields, f"--output={folder}").ended()
                assert [code for code, _ in ended] == [0, 0], ended
        with np.load(folder / "samples.npz") as file:
            found[name] = file["images"], json.loads((folder / "metrics.json").read_text())
    np.testing.assert_array_equal(found["two"][0], found["one"][0])
    one, two = (found[name][1] for name in ("one", "two"))
    np.testing.assert_allclose(two["loss"]["model"], one["loss"]["model"], rtol=1e-5)
    bits, expected = (figures["bits_per_dim"]["model"]["value"] for figures in (two, one))
    assert abs(bits - expected) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["record", "params"])
def test_two_processes_set_the_same_checkpoint_aside(tmp_path, alone, damaged):
    ended = Two("train", tmp_path, RUN | MESH).ended()
    assert [code for code, _ in ended] == [0, 0], ended
    files = [f for f in (tmp_path / "checkpoints" / "4" / damaged).rglob("*") if f.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 64
    largest.write_bytes(content)
    (code, said), (other_code, other_said) = Two("train", tmp_path, RUN | MESH).ended()
    assert (code, other_code) == (0, 0), (said, other_said)
    assert any("damaged-checkpoint-4, trying an older one" in line for line in said), said
    assert any("resuming at step 2" in line for line in said) and not other_said
    for found, expected in zip(_rows(tmp_path), _rows(alone), strict=True):
        np.testing.assert_allclose(found.get("loss", 0), expected.get("loss", 0), rtol=1e-5)
    _run_alone("verify", tmp_path, {}, devices=1)


def _started(tmp_path, **fields):
    run = Two("train", tmp_path, RUN | MESH | {"training.steps": 100_000, "training.eval_every": 0} | fields)
    deadline = time.monotonic() + 240
    while not (tmp_path / "checkpoints" / "4").exists():
        assert time.monotonic() < deadline and run.both[0].poll() is None, run.ended(1)
        time.sleep(0.1)
    return run


@pytest.mark.slow
def test_processes_of_different_commands_are_refused_by_what_differs(tmp_path):
    other = ["--config.training.steps=5", "--config.optim.learning_rate=1e-3"]
    (code, said), (other_code, other_said) = Two("train", tmp_path, RUN, of_second=other).ended()
    assert (code, other_code) == (2, 2) and not list(tmp_path.iterdir())
    assert said[-1:] == [
        "error: process 1 was started with another command than process 0, and says how it differs. Give all "
        "processes the same --mode, --workdir, --config and fields."
    ]
    assert "process 1 was started with another command than process 0: " in other_said[-1]
    assert (
        "training.steps=5, there 4" in other_said[-1] and "optim.learning_rate=0.001, there" in other_said[-1]
    )


@pytest.mark.slow
def test_a_signal_to_one_stops_both_at_one_step(tmp_path):
    run = _started(tmp_path)
    run.both[1].send_signal(signal.SIGTERM)
    (code, said), (other_code, _) = run.ended()
    assert (code, other_code) == (0, 0)
    last = _rows(tmp_path)[-1]["step"]
    assert f"stopped by a signal to another process at step {last} of 100000; saved" in said[-1]
    assert (tmp_path / "checkpoints" / str(last)).exists()


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_the_loss_of_one_ends_the_other_and_the_run_goes_on(tmp_path, victim):
    run = _started(tmp_path)
    run.both[victim].kill()
    begin = time.monotonic()
    code, said = run.ended(4 * processes.SECONDS_OF_SILENCE)[1 - victim]
    assert time.monotonic() - begin < 2 * processes.SECONDS_OF_SILENCE
    assert code != 0
    # Of JAX's runtime, unless a sum over both failed before.
    words = ("another task died", "another process of this run has ended")
    assert any(word in line for word in words for line in said), said
    last = max(int(path.name) for path in (tmp_path / "checkpoints").glob("[0-9]*"))
    _run_alone("train", tmp_path, RUN | {"training.steps": last + 2})
    assert _rows(tmp_path)[-1]["step"] == last + 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--coordinator=here"], ["--coordinator=here must be HOST:PORT"]),
        (["--coordinator=a:99999"], ["--coordinator=a:99999 must be HOST:PORT"]),
        (["--coordinator=a:1", "--processes=0", "--process=0"], ["--processes=0 must be at least 1"]),
        (["--coordinator=a:1"], ["--coordinator needs --processes"]),
        (["--coordinator=a:1", "--processes=2", "--process=2"], ["--process=2 must lie in 0..1"]),
        (["--coordinator=a:1", "--processes=two", "--process=0"], ["--processes=two must be a whole number"]),
        (["--coordinator=auto", "--process=1"], ["--coordinator=auto finds"]),
        (["--processes=2"], ["--processes goes with --coordinator=HOST:PORT"]),
        (["--mode=verify", "--coordinator=a:1"], ["--mode=verify is the work of one process"]),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path, capsys, flags, words):
    assert main.main([*command_line("train", tmp_path, {})[1:], *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and all(word in line for word in words), line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"training.fsdp": 3, "training.parallel": "mesh"}, "training.fsdp=3 must be a divisor of the 8"),
        ({"training.fsdp": 2}, 'training.fsdp=2 is of training.parallel="mesh"'),
        ({"training.parallel": "mess"}, 'training.parallel="mess" is unknown. Did you mean "mesh"?'),
        ({"training.parallel": "mesh", "training.sharding": "(('(','fsdp'),)"}, "is no regular expression"),
        ({"training.parallel": "mesh", "training.sharding": "(('a','split'),)"}, "'split' is unknown"),
        ({"training.parallel": "mesh", "training.sharding": "bias"}, "=bias must hold pairs of texts"),
        ({"training.parallel": "mesh", "training.sharding": "('a','fsdp')"}, "must hold pairs of texts"),
    ],
)
def test_layouts_that_cannot_be_are_refused(tmp_path, capsys, fields, words):
    assert main.main(command_line("train", tmp_path, fields)[1:]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1, error


def test_a_process_that_waits_for_the_others_says_so(monkeypatch, capsys):
    monkeypatch.setattr(processes, "SECONDS_TO_SAY", 0.01)
    said, deadline = "", time.monotonic() + 60
    with processes._waiting("process 1 waits"):
        while "\n" not in said and time.monotonic() < deadline:
            said += capsys.readouterr().err
    assert said.startswith("process 1 waits; 0.01 of at most 300 seconds")


def test_a_flag_of_one_process_is_its_own():
    assert processes.on_any(True) and not processes.on_any(False)
    assert not processes.is_silent()
