"""The docs are code: their commands parse and are not refused, and the fields and files they name exist."""

import ast
import contextlib
import io
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


def _defined(path):
    """Dotted names of what a file defines at its top and within its classes."""
    for node in ast.parse(path.read_text()).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        yield from (target.id for target in targets if isinstance(target, ast.Name))
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
            inner = node.body if isinstance(node, ast.ClassDef) else ()
            yield from (f"{node.name}.{n.name}" for n in inner if isinstance(n, ast.FunctionDef))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_what_the_docs_name_in_a_file_is_defined_there(path):
    named = re.findall(r"`((?:\w+/)*\w+\.py):([A-Za-z_.]+)`", path.read_text())
    # A config's argument, configs/digits.py:ve, is no name.
    named = [(file, name) for file, name in named if not file.startswith("configs/")]
    assert not [f"{file}:{name}" for file, name in named if name not in set(_defined(ROOT / file))]
    assert named or path.name != "series.md"


def test_every_entry_of_a_table_that_the_series_names_is_in_it():
    from denoisers.heads import VARIANCE_HEADS
    from samplers.time_grids import TIME_GRIDS

    text = (ROOT / "docs" / "series.md").read_text()
    for name, table in (("VARIANCE_HEADS", VARIANCE_HEADS), ("TIME_GRIDS", TIME_GRIDS)):
        entries = re.search(rf":{name}`: ([^|]*) \|", text)[1]
        assert set(re.findall(r"`(\w+)`", entries)) <= set(table)


@pytest.mark.slow
def test_the_code_of_the_series_prints_what_stands_below_it():
    text = (ROOT / "docs" / "series.md").read_text()
    code, printed = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", text, re.S).groups()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    found, quoted = (re.findall(r"\d+\.\d+", lines) for lines in (out.getvalue(), printed))
    assert [float(x) for x in found] == pytest.approx([float(x) for x in quoted], abs=2e-3)
