"""One training run at a time in a workdir: who is refused, who takes over, who notices."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from components import UserError
from tests.conftest import ROOT, environment
from workdir import lock as module
from workdir.lock import Lock

QUICK = {"renewal": 0.05, "silence": 0.5}


def _holder(workdir):
    return json.loads((workdir / "train.lock").read_text())


def _leave(workdir, **changes):
    """A lock as another run would have left it."""
    with Lock(workdir, **QUICK):
        holder = {**_holder(workdir), "token": "another", **changes}
    (workdir / "train.lock").write_text(json.dumps(holder))
    return holder


def _start(workdir):
    """A process that holds the lock until it is killed."""
    code = f"""
        import time
        from workdir.lock import Lock
        with Lock({str(workdir)!r}, renewal=0.05):
            print("held", flush=True)
            time.sleep(100)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_trainer_is_refused_until_the_first_has_ended(tmp_path):
    with Lock(tmp_path, **QUICK) as first:
        with pytest.raises(UserError) as refusal, Lock(tmp_path, **QUICK):
            pass
        holder = _holder(tmp_path)
        message = str(refusal.value)
        assert len(message.splitlines()) == 1 and refusal.value.exit_code == 1
        assert all(word in message for word in (holder["host"], f"process {os.getpid()}", holder["time"]))
        first.require()
    assert not (tmp_path / "train.lock").exists()
    with Lock(tmp_path, **QUICK):
        pass


def test_the_lock_is_renewed(tmp_path):
    with Lock(tmp_path, **QUICK):
        before = _holder(tmp_path)["number"]
        time.sleep(0.5)
        assert _holder(tmp_path)["number"] > before


def test_a_killed_process_of_this_machine_leaves_the_workdir_free(tmp_path, capsys):
    process = _start(tmp_path)
    with pytest.raises(UserError, match=f"process {process.pid} of"), Lock(tmp_path, **QUICK):
        pass
    process.kill()
    # Its parent need not have asked for its exit code.
    while module._start_time(process.pid) is not None:
        time.sleep(0.01)
    started = time.monotonic()
    with Lock(tmp_path, silence=60.0) as lock:
        lock.require()
    assert time.monotonic() - started < 5 and "waiting" not in capsys.readouterr().err
    process.communicate()


def test_a_process_that_got_the_number_of_a_dead_one_does_not_hold_its_lock(tmp_path):
    _leave(tmp_path, pid=os.getpid(), started="1")
    with Lock(tmp_path, silence=60.0):
        assert _holder(tmp_path)["token"] != "another"


@pytest.mark.parametrize("content", ["machine", "damaged"])
def test_a_silent_lock_of_another_machine_is_taken_over_after_a_while(tmp_path, capsys, content):
    if content == "machine":
        _leave(tmp_path, host="elsewhere", machine="elsewhere")
    else:
        (tmp_path / "train.lock").write_text("")
    started = time.monotonic()
    with Lock(tmp_path, **QUICK) as lock:
        lock.require()
        assert (0.5 if content == "machine" else 0.1) <= time.monotonic() - started < 5
    assert "waiting" in capsys.readouterr().err


def test_a_living_lock_of_another_machine_refuses(tmp_path, monkeypatch, capsys):
    with Lock(tmp_path, **QUICK):
        monkeypatch.setattr(module, "_machine", lambda: "seen from elsewhere")
        with pytest.raises(UserError, match="is being trained by process"), Lock(tmp_path, silence=60.0):
            pass
    assert "waiting up to 60 seconds" in capsys.readouterr().err


def test_a_run_that_lost_its_lock_stops_before_it_saves(tmp_path):
    with Lock(tmp_path, **QUICK) as lock:
        (tmp_path / "train.lock").write_text(json.dumps({"host": "elsewhere", "pid": 7, "token": "another"}))
        for _ in range(2):
            with pytest.raises(UserError, match=r"taken over by process 7 of host elsewhere"):
                lock.require()
            time.sleep(0.2)
    # Nor does it free what is another's.
    assert _holder(tmp_path)["token"] == "another"


def test_a_lock_that_somebody_deleted_is_written_again(tmp_path):
    with Lock(tmp_path, **QUICK) as lock:
        (tmp_path / "train.lock").unlink()
        lock.require()
        time.sleep(0.5)
        assert (tmp_path / "train.lock").exists()


def test_of_many_that_start_at_once_one_holds_the_lock(tmp_path):
    _leave(tmp_path, pid=os.getpid(), started="1")
    code = f"""
        import sys
        from components import UserError
        from workdir.lock import Lock
        try:
            with Lock({str(tmp_path)!r}, renewal=0.05):
                print("held", flush=True)
                sys.stdin.read()
        except UserError:
            print("refused", flush=True)
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(3)]
    said = [process.stdout.readline() for process in processes]
    for process in processes:
        process.communicate()
    assert sorted(said) == ["held\n", "refused\n", "refused\n"]


def test_the_processes_of_a_run_are_refused_together(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"""
        import sys
        import jax
        jax.distributed.initialize("127.0.0.1:{port}", 2, int(sys.argv[1]))
        from components import UserError
        from workdir.lock import Lock
        from parallel.processes import wait_for_all
        with Lock({str(tmp_path / "free")!r}, renewal=0.05) as lock:
            lock.require()
            wait_for_all("both are in")
        try:
            with Lock({str(tmp_path)!r}, renewal=0.05):
                print("held")
        except UserError as error:
            print(error)
    """
    (tmp_path / "free").mkdir()
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with Lock(tmp_path, **QUICK):
        both = [
            subprocess.Popen(
                [*command, str(i)], cwd=ROOT, env=environment(1), stdout=subprocess.PIPE, text=True
            )
            for i in range(2)
        ]
        first, second = (process.communicate(timeout=100)[0] for process in both)
    assert "is being trained by process" in first and "process 0 was refused" in second
    assert not (tmp_path / "free" / "train.lock").exists()
