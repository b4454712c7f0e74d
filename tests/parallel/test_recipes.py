"""The recipes of docs/clusters.md, run as far as one machine can."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests.conftest import ROOT, TINY, as_flags, environment
from tests.modes.runs import losses, newest

PAGE = (ROOT / "docs" / "clusters.md").read_text()

# What SLURM's srun does: two tasks, which the environment tells apart, and SIGTERM handed on to both.
SRUN = """
export SLURM_JOB_ID={job} SLURM_STEP_NODELIST=127.0.0.1 SLURM_NTASKS=2 SLURM_STEP_NUM_NODES=1
shift
for task in 0 1; do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    tasks+=($!)
done
trap 'kill -TERM "${{tasks[@]}}"' TERM
wait; wait
"""
SCONTROL = 'echo "$@" >> requeued'


def _tools(folder, **programs):
    """A folder with programs that stand in for others."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def _block(first):
    """The indented block of the page that begins with this line."""
    return (
        re.search(rf"^    {re.escape(first)}.*?(?=^\S|\Z)", PAGE, re.M | re.S)[0]
        .replace("\n    ", "\n")
        .strip()
    )


@pytest.mark.slow
def test_the_job_of_slurm_saves_goes_back_into_the_queue_and_resumes(tmp_path):
    job, python = os.getpid(), f'exec "{sys.executable}" "$@"'
    tools = _tools(tmp_path / "tools", srun=SRUN.format(job=job), scontrol=SCONTROL, python=python)
    steps = {"training.steps": 100_000, "checkpoint.every": 10, "training.log_every": 5}
    flags = as_flags(TINY | steps | {"optim.schedule": "constant"})
    script = _block("#!/bin/bash").replace("FILE", f"{ROOT}/configs/digits.py")
    script = script.replace("/shared/runs/NAME", f"{tmp_path}/run {' '.join(map(repr, flags))}")
    script = script.replace("main.py", f"{ROOT}/main.py")
    (tmp_path / "job.sh").write_text(script)
    here = environment(2)
    here |= {"PATH": f"{tools}:{here['PATH']}", "SLURM_JOB_ID": str(job), "PYTHONPATH": str(ROOT)}

    def submitted():
        return subprocess.Popen(["bash", "job.sh"], env=here, cwd=tmp_path, stderr=subprocess.PIPE, text=True)

    def reached(run, step):
        deadline = time.monotonic() + 240
        while (
            not (tmp_path / "run" / "metrics.jsonl").exists()
            or max(losses(tmp_path / "run"), default=0) < step
        ):
            assert time.monotonic() < deadline and run.poll() is None, run.communicate(timeout=10)
            time.sleep(0.1)

    stopped_at = 0
    for requeued in (1, 2):
        run = submitted()
        reached(run, stopped_at + 20)
        run.send_signal(signal.SIGUSR1)
        _, said = run.communicate(timeout=120)
        assert (tmp_path / "requeued").read_text().splitlines() == [f"requeue {job}"] * requeued, said
        assert "Traceback" not in said
        before, stopped_at = stopped_at, max(losses(tmp_path / "run"))
        assert newest(tmp_path / "run") == stopped_at > before
        assert f"resuming at step {before}" in said or not before


@pytest.mark.parametrize(("code", "seconds", "requeued"), [(0, 0, 0), (2, 0, 0), (1, 600, 0), (134, 0, 1)])
def test_a_job_of_slurm_that_failed_at_work_is_tried_again(code, seconds, requeued, tmp_path):
    tools = _tools(tmp_path / "tools", srun=f"sleep 1.1; exit {code}", scontrol=SCONTROL)
    script = _block("#!/bin/bash").replace("SECONDS > 600", f"SECONDS > {seconds}")
    here = {"PATH": f"{tools}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", "-c", script], env=here, cwd=tmp_path, check=False)
    assert done.returncode == code and (tmp_path / "requeued").exists() == bool(requeued)


def test_the_manifest_of_kubernetes_is_of_one_service_and_one_job():
    service, job = yaml.safe_load_all(_block("apiVersion: v1"))
    pod = job["spec"]["template"]["spec"]
    assert service["spec"]["clusterIP"] == "None" and job["spec"]["completionMode"] == "Indexed"
    # A pod is found as <job>-<index>.<service>, and the service by its label.
    name = job["metadata"]["name"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    (volume,), (mount,) = pod["volumes"], pod["containers"][0]["volumeMounts"]
    assert volume["name"] == mount["name"] and f"--workdir={mount['mountPath']}/" in str(pod)
    (container,) = pod["containers"]
    shell, flag, command = container["command"]
    assert (shell, flag) == (
        "sh",
        "-c",
    ) and f"--coordinator={name}-0.{service['metadata']['name']}:" in command
    assert f"--processes={job['spec']['completions']} " in command and job["spec"]["parallelism"] == 4
    assert command.split()[-1] == "--process=$JOB_COMPLETION_INDEX"
