"""What differs between two runs stands in one table, and what is equal does not."""

import json

import pytest

import main
from components import told
from modes import diff
from workdir.files import write_json

PROVENANCE = {
    "version": "0.2.0",
    "packages": {"jax": "0.10.2", "numpy": "2.2"},
    "git_revision": "0123abc",
    "device": "cpu",
    "devices": 1,
}
DATA = {"train": {"images": 60, "contents": "5f" * 32}, "test": {"images": 12, "contents": "a0" * 32}}
MEASURED = {
    "step": 20,
    "loss": {"model": {"value": 2.5, "standard_error": 0.1, "images": 60}},
    "sample_quality": {"fid": {"value": 7.25, "n": 1000}},
}


# What no mode writes, and a damaged or foreign file may hold.
ODD = (
    b"",
    b"[]",
    b"\xff\xfe",
    b'{"config": 3, "provenance": [], "data": 4, "step": "x"}',
    b'{"config": {}, "provenance": {"packages": [1]}, "data": [null, {"train": 3}]}',
    b'{"step": 1e999, "loss": NaN, "value": 1e999, "standard_error": -3, "interval": [null], "n": {}}',
    b"[" * 100_000,
)


def _write(folder, config, provenance=PROVENANCE, data=DATA, rows=((10, 0.5), (20, 0.25)), measured=MEASURED):
    folder.mkdir(parents=True)
    record = {"config": config.to_dict(), "provenance": provenance, "data": [data]}
    write_json(folder / "config.json", record)
    lines = [{"step": step, "loss": loss, "images_per_second": 100.0} for step, loss in rows]
    lines += [{"step": rows[0][0], "held_out_loss": 0.75}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if measured:
        write_json(folder / "metrics.json", measured)
    return folder


def _diff(capsys, *folders):
    code = main.main(["main.py", "--mode=diff", f"--runs={','.join(map(str, folders))}"])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def _cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def _below(lines, heading):
    """The rows below a heading, as cells."""
    (start,) = [number for number, line in enumerate(lines) if line.startswith(heading)]
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith(" "):
            break
        rows.append(_cells(line))
    return rows


def test_what_differs_is_in_the_table_and_the_rest_is_not(tmp_path, tiny_config, capsys):
    a = _write(tmp_path / "a", tiny_config)
    tiny_config.model.width, tiny_config.sde.name = 16, "ve"
    other = {**DATA, "train": {**DATA["train"], "images": 50}}
    provenance = {**PROVENANCE, "packages": {"jax": "0.12.0", "numpy": "2.2"}}
    measured = {**MEASURED, "sample_quality": {"fid": {"value": 6.5, "n": 500}}}
    b = _write(tmp_path / "b", tiny_config, provenance, other, [(10, 0.5), (30, 0.125)], measured)
    before = sorted(tmp_path.rglob("*"))
    code, lines, err = _diff(capsys, a, b)
    assert code == 0 and err == "" and _cells(lines[0]) == [str(a), str(b)]
    config = {row[0]: row[1:] for row in _below(lines, "config: ")}
    assert config["model.width"] == ["8", "16"] and config["sde.name"] == ["vp", "ve"]
    # The chosen class brings its own defaults.
    assert config["sde.beta_max"] == ["20.0", "null"] and config["sde.sigma_max"][0] == "null"
    assert all(name.startswith("sde.") or name == "model.width" for name in config)
    assert _below(lines, "provenance: 1 of 6 entries") == [["packages.jax", "0.10.2", "0.12.0"]]
    assert _below(lines, "data: 1 of 4 entries") == [["train.images", "60", "50"]]
    reached = {row[0]: row[1:] for row in _below(lines, "reached")}
    assert reached["loss"] == ["0.25 (step 20)", "0.125 (step 30)"]
    assert reached["held-out loss"] == ["0.75 (step 10)", "0.75 (step 10)"]
    assert reached["images/s"] == ["100 (step 20)", "100 (step 30)"]
    assert _below(lines, "figures")[1:] == [
        ["loss.model", "2.50 ± 0.10", "2.50 ± 0.10"],
        ["sample_quality.fid", "7.25", "6.5"],
        ["by n", "1000", "500"],
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_field_that_a_run_does_not_know_equals_its_default(tmp_path, tiny_config, capsys):
    a = _write(tmp_path / "a", tiny_config)
    b = _write(tmp_path / "b", tiny_config)
    record = json.loads((b / "config.json").read_text())
    del record["config"]["checkpoint"]["keep_best"]
    record["config"]["sde"]["beta_max"] = 20.0  # the class's own
    write_json(b / "config.json", record)
    _, lines, _ = _diff(capsys, a, b)
    assert [line for line in lines if line.endswith("no difference")] == [
        "config: no difference",
        "provenance: no difference",
        "data: no difference",
    ]


def test_columns_stand_below_each_other(tmp_path, tiny_config, capsys):
    a = _write(tmp_path / "a", tiny_config)
    tiny_config.model.width = 16
    b = _write(tmp_path / "a-much-longer-name", tiny_config)
    _, lines, _ = _diff(capsys, a, b)
    second = lines[0].index(str(b))
    rows = [line for line in lines[1:] if line.startswith(" ")]
    assert rows and all(line[second - 1] == " " and line[second] != " " for line in rows)


def test_a_long_value_is_shown_where_it_differs():
    a, b = "x" * 200 + "left" + "y" * 200, "x" * 200 + "right" + "y" * 200
    for text, word in zip(diff._cut(a, b), ("left", "right"), strict=True):
        assert word in text and len(text) <= diff.WIDEST + 6 and text.startswith("...")
    assert diff._cut("short", "sort") == ("short", "sort")


def test_results_alone_and_damaged_runs_are_compared_as_far_as_they_go(tmp_path, tiny_config, capsys):
    a = _write(tmp_path / "a", tiny_config)
    (tmp_path / "b").mkdir()
    write_json(tmp_path / "b" / "metrics.json", {**MEASURED, "config": tiny_config.to_dict()})
    code, lines, err = _diff(capsys, a, tmp_path / "b")
    assert code == 0 and err == "" and ["step", "20", "20"] in _below(lines, "figures")
    reached = {row[0]: row[1:] for row in _below(lines, "reached")}
    assert reached["state"][1] == "results alone" and reached["loss"] == ["0.25 (step 20)", "-"]
    (a / "config.json").write_text("{")
    (a / "metrics.jsonl").write_text('{"step": 1, "loss": "\\u001b[2J"}\n{"step": 2, "loss": 1}\n')
    code, lines, err = _diff(capsys, a, tmp_path / "b")
    assert code == 0 and f"note: {a}: config.json cannot be read" in err
    assert all(line == "".join(told("", [line])) for line in lines)


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "metrics.jsonl"])
@pytest.mark.parametrize("content", ODD, ids=range(len(ODD)))
def test_no_content_of_a_file_ends_in_a_trace(tmp_path, tiny_config, capsys, name, content):
    a = _write(tmp_path / "a", tiny_config)
    b = _write(tmp_path / "b", tiny_config)
    (b / name).write_bytes(content)
    code, lines, _ = _diff(capsys, a, b)
    assert code == 0 and lines[0].endswith(str(b))


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (None, "needs two runs: --runs=A,B"),
        ("{a}", "must name two runs, parted by a comma"),
        ("{a},", "must name two runs"),
        ("{a},{a},{a}", "must name two runs"),
        ("{a},nowhere", "there is no folder nowhere"),
        ("{a},{empty}", "holds no run: none of config.json, metrics.json, metrics.jsonl"),
        ("ftp://host/a,{a}", "is an address of no store that is known"),
    ],
)
def test_what_is_no_pair_of_runs_is_refused_in_one_line(tmp_path, tiny_config, capsys, runs, words):
    a, empty = _write(tmp_path / "a", tiny_config), tmp_path / "empty"
    empty.mkdir()
    flags = [] if runs is None else [f"--runs={runs.format(a=a, empty=empty)}"]
    assert main.main(["main.py", "--mode=diff", *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and words in captured.err and len(captured.err.splitlines()) == 1


def test_names_of_folders_may_hold_commas(tmp_path, tiny_config, capsys):
    a, b = _write(tmp_path / "a,1", tiny_config), _write(tmp_path / "b,2", tiny_config)
    code, lines, _ = _diff(capsys, a, b)
    assert code == 0 and _cells(lines[0]) == [str(a), str(b)]
