"""SIGTERM and Ctrl-C in real processes: a line that says whether the same command goes on, and no trace."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

from modes import MODES
from tests.conftest import ROOT, command_line, environment

# A config during whose reading a signal finds the command.
SLEEPING = """
import textwrap
import time

from configs import gaussian_mixture


def get_config():
    print("reading", flush=True)
    time.sleep(60)
    return gaussian_mixture.get_config("ring")
"""


def _start(command, **kwargs):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment(1), cwd=ROOT, **pipes, **kwargs)


def _wait_for(stream, text):
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"{text} was never said")


def _ended(process, number):
    """The last line of a command that a signal has ended at once."""
    error = process.communicate(timeout=20)[1]
    assert process.returncode == 128 + number, error
    assert "Traceback" not in error and "Error" not in error
    last = error.splitlines()[-1]
    assert last.startswith(f"stopped by {signal.Signals(number).name}. The same command ")
    return last


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_says_whether_the_same_command_goes_on(mode, tmp_path):
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    command = [sys.executable, "main.py", f"--config={tmp_path}/sleeping.py", f"--workdir={tmp_path}"]
    of_runs = ["--runs=nowhere"]
    own = {"import": ["--from=nowhere"], **dict.fromkeys(("table", "report", "diff"), of_runs)}.get(mode, [])
    process = _start([*command, *own, f"--mode={mode}"])
    _wait_for(process.stdout, "reading")
    process.send_signal(signal.SIGTERM)
    last = _ended(process, signal.SIGTERM)
    assert MODES[mode].after_a_stop in last and last.endswith(
        " ".join([f"--workdir={tmp_path}", *own, f"--mode={mode}"])
    )


def test_what_goes_on_is_what_was_finished():
    goes_on = {name for name, mode in MODES.items() if mode.after_a_stop != "begins anew"}
    assert goes_on == {"train", "sample", "eval", "variance", "optimal_grid", "table"}


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.5])
def test_ctrl_c_during_imports_leaves_no_trace(seconds, tmp_path):
    process = _start(command_line("train", tmp_path))
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _ended(process, signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_compilation_is_not_waited_for(number, tmp_path):
    # Without a cache the first batch takes seconds to compile.
    config = ["--config=configs/gaussian_mixture.py:images", f"--workdir={tmp_path}", "--mode=sample"]
    process = subprocess.Popen(
        [sys.executable, "main.py", *config],
        env={**environment(1), "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(process.stderr, "drawing")
    process.send_signal(number)
    started = time.monotonic()
    assert "goes on where it stopped" in _ended(process, number)
    assert time.monotonic() - started < 5


def test_a_second_signal_ends_a_training_run_at_once(tmp_path):
    process = _start(command_line("train", tmp_path, {"training.steps": 100_000, "training.sample_every": 1}))
    _wait_for(process.stderr, "compiling")
    process.send_signal(signal.SIGINT)
    _wait_for(process.stderr, "SIGINT: saving after the step at hand")
    process.send_signal(signal.SIGINT)
    assert "resumes from the newest checkpoint" in _ended(process, signal.SIGINT)


def test_a_signal_is_answered_where_nobody_reads_what_is_said(tmp_path):
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    process = _start([sys.executable, "main.py", f"--config={tmp_path}/sleeping.py", "--mode=check"])
    _wait_for(process.stdout, "reading")
    process.stderr.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 128 + signal.SIGTERM


def test_what_a_shell_runs_in_the_background_is_not_ended_by_ctrl_c(tmp_path):
    (tmp_path / "sleeping.py").write_text(SLEEPING)

    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    command = [sys.executable, "main.py", f"--config={tmp_path}/sleeping.py", "--mode=check"]
    process = _start(command, preexec_fn=ignore)
    _wait_for(process.stdout, "reading")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _ended(process, signal.SIGTERM)


def test_without_the_command_line_a_second_ctrl_c_is_python_s_own():
    code = """
        import os, signal
        from workdir.signals import StopRequest
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            print(stop.signal)
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                print("interrupted")
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["SIGINT", "interrupted", "True"]
