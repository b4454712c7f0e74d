"""The docs are code: their commands parse and are not refused, and the fields and files they name exist."""

import re
import shlex

import pytest

import main
from configs import base, digits
from modes import check
from tests.conftest import ROOT
from workdir.files import write_json
from workdir.saved_config import leaves

DOCS = sorted((ROOT / "docs").glob("*.md"))
COMMANDS = [
    pytest.param(line, id=f"{path.name}:{number}")
    for path in DOCS
    for number, line in enumerate(path.read_text().splitlines(), 1)
    if line.startswith("python main.py ")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_docs_parse(line, tmp_path):
    given = shlex.split(line)[1:]
    if not any(a.startswith(("--config=", "--from=")) for a in given):
        # A command that reads a run takes the run's config.
        write_json(tmp_path / "config.json", {"config": digits.get_config().to_dict()})
        given = [f"--workdir={tmp_path}" if a.startswith("--workdir") else a for a in given]
    config, _, mode = main.parse(given)
    # Files of measurements are written by the commands before.
    refused = [line for line in check.problems(mode, config) if "there is no such file" not in line]
    assert not refused


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_the_fields_and_files_of_the_docs_exist(path):
    config, text = base.get_config(), path.read_text()
    fields = {name for name, _ in leaves(config)}
    fields |= {name.rsplit(".", count)[0] for name in fields for count in range(1, name.count(".") + 1)}
    named = re.findall(rf"`(?:--config\.)?((?:{'|'.join(config)})\.[\w.]+)(?==|`| )", text)
    results = (".png", ".npz", ".json", ".py", ".md", ".csv")  # variance.npz is a file
    unknown = {name for name in named if name not in fields and not name.endswith(results)}
    assert not unknown
    files = re.findall(r"`((?:\w+/)+\w+\.(?:py|md|csv))`", text)
    assert not [name for name in files if not (ROOT / name).exists()]
