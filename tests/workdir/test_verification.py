"""What is damaged in a checkpoint is found, by name, whatever was done to its files."""

import shutil

import jax
import numpy as np
import pytest

import experiment
import main
from components import UserError
from configs import base
from experiment.create import resolved
from modes import MODES
from tests.workdir.small_runs import CONFIG, small_run, small_state
from tests.workdir.test_checkpoints import _data_files
from workdir import averages, verification
from workdir.checkpoints import Checkpoints, items_of
from workdir.files import checksum, write_json


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The workdir of a run with checkpoints of steps 3 and 7."""
    return small_run(tmp_path_factory.mktemp("saved"), [3, 7])


@pytest.fixture
def workdir(saved, tmp_path):
    """A copy of it."""
    return shutil.copytree(saved, tmp_path / "run")


def _verify(folder, capsys):
    code = main.main(["main.py", "--mode=verify", f"--workdir={folder}"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def _contents(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


def _same(a, b):
    return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


def test_a_whole_run_is_told_to_be_whole_and_nothing_is_touched(workdir, capsys):
    averages.save_snapshot(
        workdir, {"power_0.05": small_state(7).params}, {"step": 7, "provenance": {}, "config": {}}
    )
    (workdir / "metrics.jsonl").write_text('{"step": 3, "loss": 0.5}\n{"step": 7, "lo')
    before = _contents(workdir)
    code, out, _ = _verify(workdir, capsys)
    # step, 2 parameters, 2 averages, 2 moments of each and Adam's own count
    assert code == 0 and "checkpoint 3: good, 10 arrays" in out and "checkpoint 7: good, 10 arrays" in out
    for line in (
        "config.json: good",
        "metrics.jsonl: good, 1 rows and a last one that a kill cut short",
        "ema_snapshots/0000007.npz: good",
        "a restart takes checkpoint 7",
        "all is well",
    ):
        assert line in out
    assert _contents(workdir) == before


def _flip(path, part):
    content = bytearray(path.read_bytes())
    if content:
        content[int(part * len(content))] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "flipped at 1/5": lambda path: _flip(path, 0.2),
    "flipped at 4/5": lambda path: _flip(path, 0.8),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize(
    ("items", "damages"),
    [
        (("params",), list(DAMAGES)[1:]),
        pytest.param(("record", "params", "ema", "optimizer"), list(DAMAGES), marks=pytest.mark.slow),
    ],
)
def test_whatever_changes_a_value_is_found(saved, tmp_path, items, damages):
    good, noticed = saved / "checkpoints" / "7", 0
    files = [path for item in items for path in sorted((good / item).rglob("*")) if path.is_file()]
    for number, (file, damage) in enumerate((file, damage) for file in files for damage in damages):
        folder = tmp_path / str(number) / "checkpoints" / "7"
        shutil.copytree(good, folder)
        DAMAGES[damage](folder / file.relative_to(good))
        found = verification.verify(folder, lambda: items_of(small_state(0))).damages
        noticed += bool(found)
        try:
            restored, _ = Checkpoints(folder.parent.parent, CONFIG, read_only=True).restore(small_state(0))
        except UserError:
            assert found, (file, damage)
        else:
            assert not found and _same(restored, small_state(7)), (file, damage)
        shutil.rmtree(folder)
    assert noticed >= len(files)


def test_damage_is_told_by_step_and_item(workdir, capsys):
    shutil.rmtree(workdir / "checkpoints" / "7" / "optimizer")
    (workdir / "checkpoints" / "3" / "record" / "metadata").write_text("{}")
    code, out, err = _verify(workdir, capsys)
    assert code == 1 and "checkpoint 7, optimizer: DAMAGED: " in out
    assert "checkpoint 3, record: DAMAGED: it does not match its checksum" in out
    assert "no checkpoint is good" in out and err.splitlines()[-1].endswith(
        ": 2 files and checkpoints are damaged. Restore what is damaged from a copy, or begin in another "
        "--workdir."
    )


def test_one_array_that_is_another_is_named_on_verification_and_restoration(saved, workdir, tmp_path, capsys):
    other = jax.tree.map(np.array, small_state(7))
    other.params["second"]["bias"][17] += 1
    checkpoints = Checkpoints(tmp_path / "other", CONFIG)
    checkpoints.save(other)
    checkpoints.finish()
    params = workdir / "checkpoints" / "7" / "params"
    shutil.rmtree(params)
    shutil.copytree(tmp_path / "other" / "checkpoints" / "7" / "params", params)

    code, out, err = _verify(workdir, capsys)
    wrong = "its values are not those that were saved"
    assert [line for line in out.splitlines() if "DAMAGED" in line] == [
        f"checkpoint 7, params, second/bias: DAMAGED: {wrong}"
    ]
    assert code == 1 and "a restart takes checkpoint 3" in out and ": 1 file or checkpoint is damaged." in err
    restored, record = Checkpoints(workdir, CONFIG).restore(small_state(0))
    assert record["step"] == 3 and _same(restored, small_state(3))
    assert f"{params} is damaged (second/bias: {wrong}); moved checkpoint 7" in capsys.readouterr().err


def test_what_a_training_run_deletes_meanwhile_is_not_damaged(workdir, capsys, monkeypatch):
    verify, place = verification.verify, workdir / "checkpoints" / "3"

    def verify_what_goes(folder, template):
        # A folder is not deleted at once.
        shutil.rmtree(place / "ema" if (place / "ema").exists() else place, ignore_errors=True)
        return verify(folder, template)

    monkeypatch.setattr(verification, "verify", verify_what_goes)
    code, out, _ = _verify(workdir, capsys)
    assert code == 0 and "checkpoint 3: a training run has deleted it meanwhile" in out
    assert "DAMAGED" not in out and "checkpoint 7: good" in out


def test_arrays_that_cannot_be_read_are_named(saved, workdir, capsys):
    named = set()
    for file in _data_files(workdir / "checkpoints" / "7" / "params"):
        content = file.read_bytes()
        file.unlink()
        named |= set(verification.unreadable(workdir / "checkpoints" / "7" / "params"))
        file.write_bytes(content)
    assert {"first/kernel", "second/bias"} <= named <= {"", "first/kernel", "second/bias"}
    assert verification.unreadable(workdir / "checkpoints" / "7" / "params") == {}


def test_a_checkpoint_without_digests_is_restored_and_verified_by_item(tmp_path, capsys, tiny_config):
    tiny_config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
    setup = experiment.create(tiny_config, MODES["train"].reads)
    state, config = jax.device_get(setup.create_state()), resolved(tiny_config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workdir.checkpoints.digests", checksum)
        checkpoints = Checkpoints(tmp_path, config)
        checkpoints.save(state)
        checkpoints.finish()
    write_json(tmp_path / "config.json", {"config": tiny_config.to_dict(), "provenance": {}})
    restored, record = Checkpoints(tmp_path, config).restore(setup.state_template())
    assert isinstance(record["checksums"]["params"], str) and _same(restored, state)
    code, out, _ = _verify(tmp_path, capsys)
    count = len(jax.tree.leaves(items_of(state)))
    assert code == 0 and f"checkpoint 0: good, {count} arrays\n" in out

    other = state.replace(params=jax.tree.map(lambda leaf: leaf + 1, state.params))
    checkpoints = Checkpoints(tmp_path / "other", config)
    checkpoints.save(other)
    checkpoints.finish()
    params = tmp_path / "checkpoints" / "0" / "params"
    shutil.rmtree(params)
    shutil.copytree(tmp_path / "other" / "checkpoints" / "0" / "params", params)
    code, out, _ = _verify(tmp_path, capsys)
    assert code == 1 and "checkpoint 0, params: DAMAGED: its arrays do not match their checksum" in out


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", b"{", "config.json: DAMAGED: "),
        ("config.json", None, "config.json: MISSING"),
        ("metrics.jsonl", b'{"step": 1}\n\0\n{"step": 2}\n', "metrics.jsonl: DAMAGED: 1 of its lines"),
        ("metrics.json", b"[", "metrics.json: DAMAGED: "),
        ("ema_snapshots/0000007.npz", b"PK", "ema_snapshots/0000007.npz: DAMAGED: "),
        ("ema_0.05_0000007.npz", b"", "ema_0.05_0000007.npz: DAMAGED: "),
    ],
)
def test_the_other_files_of_a_run_are_told_too(workdir, capsys, name, content, told):
    path = workdir / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    code, out, err = _verify(workdir, capsys)
    assert code == 1 and told in out and ": 1 file or checkpoint is damaged." in err.splitlines()[-1]


def test_a_config_of_another_network_is_told(workdir, capsys):
    config = base.get_config()
    config.model.width = 24
    write_json(workdir / "config.json", {"config": config.to_dict(), "provenance": {}})
    code, out, _ = _verify(workdir, capsys)
    assert code == 1 and "it is not the config of checkpoint 7: model.width: " in out


def test_one_flipped_bit_in_a_snapshot_is_found(tmp_path):
    averages.save_snapshot(
        tmp_path, {"a": small_state(7).params}, {"step": 7, "provenance": {}, "config": {}}
    )
    (path,) = averages.files(tmp_path)
    content = path.read_bytes()
    assert averages.damage(path) == ""
    for part in np.linspace(0.02, 0.98, 60):
        _flip(path, part)
        with np.errstate(all="ignore"):
            damaged = averages.damage(path)
        if not damaged:  # a bit that no array depends on
            with np.load(path) as found:
                assert np.array_equal(found["a/second/bias"], small_state(7).params["second"]["bias"])
        path.write_bytes(content)


def test_what_is_no_run_is_refused_in_one_line(tmp_path, capsys):
    code, out, err = _verify(tmp_path, capsys)
    assert code == 2 and out == "" and err.startswith(f"error: --workdir={tmp_path} holds nothing of a run")
    assert len(err.splitlines()) == 1


def test_a_workdir_may_be_given_by_a_relative_path(workdir, capsys, monkeypatch):
    monkeypatch.chdir(workdir.parent)
    code, out, _ = _verify(workdir.name, capsys)
    assert code == 0 and out == _verify(workdir, capsys)[1]
