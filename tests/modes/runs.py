"""What tests of whole training runs read of a workdir."""

import json


def losses(workdir):
    """{step: loss} of its records."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def newest(workdir):
    """The newest step that is saved whole; 0 where there is none."""
    steps = [int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*") if path.name.isdigit()]
    return max(steps, default=0)


def final_checksums(workdir):
    """Checksums of parameters, averages and optimizer state in the newest checkpoint."""
    record = workdir / "checkpoints" / str(newest(workdir)) / "record" / "metadata"
    return json.loads(record.read_text())["checksums"]
