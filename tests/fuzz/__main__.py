"""make fuzz: every fuzzer, long.

python -m tests.fuzz --overrides=10000 --files=5000 --seed=1
"""

import argparse
import tempfile
from pathlib import Path

from tests.fuzz import files, overrides


def main():
    """Runs them one after the other; the first fault ends in a trace with the command that set it off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overrides", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    codes = overrides.run(given.seed, given.overrides)
    print(
        f"{given.overrides} overrides: {codes.get(0, 0)} commands taken, {codes.get(2, 0)} refused, no trace"
    )
    with tempfile.TemporaryDirectory() as folder:
        refused = files.run(given.seed, given.files, Path(folder))
    print(f"{given.files} files: {given.files - refused} taken, {refused} refused, no trace")


if __name__ == "__main__":
    main()
