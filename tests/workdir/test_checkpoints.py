"""Checkpoints: what is written comes back, and what is damaged is noticed."""

import json
import resource
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import experiment
from components import ConfigError, UserError
from modes import MODES, train
from parallel.mesh import Mesh
from tests.workdir.small_runs import CONFIG, small_run, small_state
from workdir.checkpoints import Checkpoints
from workdir.compatibility import config_changes
from workdir.files import checksum
from workdir.verification import verify


@pytest.fixture
def setup(tiny_config):
    tiny_config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
    return experiment.create(tiny_config, MODES["train"].reads)


def _state(setup, step):
    state = jax.device_get(setup.create_state())
    return state.replace(step=np.int32(step), params=jax.tree.map(lambda a: a + step, state.params))


def _saved(tmp_path, config, setup, steps):
    checkpoints = Checkpoints(tmp_path, config)
    for step in steps:
        checkpoints.save(_state(setup, step))
    checkpoints.finish()
    checkpoints.close()


def _same(a, b):
    return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


def _data_files(folder):
    return sorted(f for f in folder.rglob("*") if f.is_file() and f.parent.name == "d")


def test_the_state_comes_back_bit_for_bit(tmp_path, tiny_config, setup):
    _saved(tmp_path, tiny_config, setup, [3, 7])
    restored, record = Checkpoints(tmp_path, tiny_config).restore(setup.state_template())
    assert _same(restored, _state(setup, 7)) and record["step"] == 7
    assert jax.tree.structure(restored) == jax.tree.structure(_state(setup, 7))
    assert record["provenance"]["packages"]["jax"] == jax.__version__


def test_shards_are_saved_and_read_as_they_lie(tmp_path, tiny_config, setup):
    state, layout = _state(setup, 7), Mesh(4)
    checkpoints = Checkpoints(tmp_path, tiny_config)
    placed = layout.place(state)
    checkpoints.save(layout.to_save(placed))
    # As a step does that takes the state's buffers.
    jax.block_until_ready(jax.jit(lambda s: jax.tree.map(lambda a: a + 1, s), donate_argnums=0)(placed))
    checkpoints.finish()
    template = layout.template(setup.state_template())
    restored, _ = Checkpoints(tmp_path, tiny_config).restore(template)
    assert _same(restored, state)
    for found, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(template), strict=True):
        assert found.sharding == expected.sharding
    assert any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(restored))
    # Whoever evaluates has other devices, or one.
    assert _same(Checkpoints(tmp_path, tiny_config).restore(setup.state_template())[0], state)
    assert not verify(tmp_path / "checkpoints" / "7").damages


def test_only_the_latest_and_the_multiples_are_kept(tmp_path, tiny_config, setup):
    tiny_config.checkpoint.keep, tiny_config.checkpoint.keep_every = 2, 4
    _saved(tmp_path, tiny_config, setup, [2, 4, 6, 8, 10, 11])
    assert sorted(Checkpoints(tmp_path, tiny_config).all_steps()) == [4, 8, 10, 11]


@pytest.mark.parametrize("damage", ["truncated", "missing files", "empty folder", "no record"])
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path, tiny_config, setup, damage, capfd):
    _saved(tmp_path, tiny_config, setup, [3, 7])
    newest = tmp_path / "checkpoints" / "7"
    if damage == "truncated":
        for file in _data_files(newest / "params"):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "missing files":
        for file in _data_files(newest / "params"):
            file.unlink()
    elif damage == "no record":
        shutil.rmtree(newest / "record")
    else:
        shutil.rmtree(newest)
        newest.mkdir()
    checkpoints = Checkpoints(tmp_path, tiny_config)
    restored, record = checkpoints.restore(setup.state_template())
    assert record["step"] == 3 and _same(restored, _state(setup, 3))
    assert (tmp_path / "damaged-checkpoint-7").is_dir()
    error = capfd.readouterr().err
    part = {"truncated": "params", "missing files": "params", "empty folder": "record", "no record": "record"}
    assert f"warning: {newest / part[damage]} is damaged" in error and len(error.splitlines()) == 1
    # The way forward is free: step 7 can be saved again.
    checkpoints.save(_state(setup, 7))
    checkpoints.finish()
    assert sorted(checkpoints.all_steps()) == [3, 7]


def test_no_flipped_bit_is_ever_restored(tmp_path, tiny_config, setup):
    _saved(tmp_path, tiny_config, setup, [7])
    good, noticed = tmp_path / "good", 0
    shutil.move(tmp_path / "checkpoints", good)
    files = _data_files(good / "7" / "params") + _data_files(good / "7" / "optimizer")
    for file in files:
        for part in (0.4, 0.9):
            shutil.copytree(good, tmp_path / "checkpoints", dirs_exist_ok=True)
            copy = tmp_path / "checkpoints" / file.relative_to(good)
            content = bytearray(file.read_bytes())
            content[int(part * len(content))] ^= 4
            copy.write_bytes(content)
            try:
                restored, _ = Checkpoints(tmp_path, tiny_config, read_only=True).restore(
                    setup.state_template()
                )
            except UserError:
                noticed += 1
            else:
                # A bit that no array depends on may pass; a wrong array may not.
                assert _same(restored, _state(setup, 7)), file
    assert noticed >= 2


def test_a_checksum_sees_one_bit(setup):
    params = jax.tree.map(np.array, setup.create_state().params)
    before = checksum(params)
    leaf = params["ResidualBlock_0"]["Conv_0"]["kernel"]
    leaf.view(np.uint8).reshape(-1)[5] ^= 1
    assert checksum(params) != before
    leaf.view(np.uint8).reshape(-1)[5] ^= 1
    assert checksum(params) == before


def test_reading_for_evaluation_changes_nothing_on_disk(tmp_path, tiny_config, setup):
    _saved(tmp_path, tiny_config, setup, [3, 7])
    shutil.rmtree(tmp_path / "checkpoints" / "7" / "ema")
    before = sorted(tmp_path.rglob("*"))
    params, record = Checkpoints(tmp_path, tiny_config, read_only=True).restore_ema(
        setup.params_template(), setup.ema_names
    )
    assert record["step"] == 3 and _same(params, _state(setup, 3).ema["0.999"])
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_but_damage_is_an_error(tmp_path, tiny_config, setup):
    _saved(tmp_path, tiny_config, setup, [3])
    shutil.rmtree(tmp_path / "checkpoints" / "3" / "params")
    with pytest.raises(UserError, match="No checkpoint in"):
        Checkpoints(tmp_path, tiny_config).restore(setup.state_template())
    # Nor does the same command, run again, begin anew as if nothing had been trained,
    with pytest.raises(UserError, match="damaged-checkpoint-3"):
        Checkpoints(tmp_path, tiny_config).restore(setup.state_template())
    # nor is it said of another one that nothing had.
    with pytest.raises(UserError, match="damaged-checkpoint-3"):
        Checkpoints(tmp_path, tiny_config, read_only=True).resolve_data(tiny_config.data)


def test_damaged_records_are_damage_and_no_want_of_training(tmp_path, tiny_config, setup):
    _saved(tmp_path, tiny_config, setup, [3, 7])
    for step in (3, 7):
        (tmp_path / "checkpoints" / str(step) / "record" / "metadata").write_text("null")
    checkpoints = Checkpoints(tmp_path, tiny_config, read_only=True)
    with pytest.raises(UserError, match=r"some are damaged: .*/7/record, .*/3/record") as refusal:
        checkpoints.resolve_data(tiny_config.data)
    assert "--mode=train" not in str(refusal.value)
    tiny_config.restore.step = 3
    with pytest.raises(UserError, match=r"restore.step=3 cannot be read: .*/3/record is damaged"):
        checkpoints.resolve_data(tiny_config.data)


def test_where_nothing_was_trained_it_is_said(tmp_path, tiny_config):
    with pytest.raises(UserError, match="There is no checkpoint in .*Run --mode=train first"):
        Checkpoints(tmp_path, tiny_config, read_only=True).resolve_data(tiny_config.data)


def test_what_a_training_run_deletes_while_it_is_read_is_not_damaged(tmp_path, tiny_config, setup, capfd):
    tiny_config.checkpoint.keep = 1
    _saved(tmp_path, tiny_config, setup, [3])
    reader = Checkpoints(tmp_path, tiny_config, read_only=True)
    _saved(tmp_path, tiny_config, setup, [7])
    assert not (tmp_path / "checkpoints" / "3").exists()
    params, record = reader.restore_ema(setup.params_template(), setup.ema_names)
    assert record["step"] == 7 and _same(params, _state(setup, 7).ema["0.999"])
    assert "damaged" not in capfd.readouterr().err


def test_a_list_made_between_a_deletion_and_the_next_checkpoint_is_not_the_last_word(
    tmp_path, tiny_config, setup, monkeypatch, capfd
):
    _saved(tmp_path, tiny_config, setup, [3, 7])
    newest = tmp_path / "checkpoints" / "7"
    shutil.move(newest, tmp_path / "7")
    reader = Checkpoints(tmp_path, tiny_config, read_only=True)
    shutil.rmtree(tmp_path / "checkpoints" / "3")
    list_again = ocp.CheckpointManager.reload

    def list_and_go_on(manager):
        list_again(manager)
        if not newest.exists():
            shutil.move(tmp_path / "7", newest)

    monkeypatch.setattr(ocp.CheckpointManager, "reload", list_and_go_on)
    _, record = reader.restore_ema(setup.params_template(), setup.ema_names)
    assert record["step"] == 7
    assert "damaged" not in capfd.readouterr().err


def test_sampling_asks_only_for_what_the_parameters_mean(tmp_path, tiny_config, setup):
    _saved(tmp_path, tiny_config, setup, [3])
    tiny_config.data.source, tiny_config.training.batch_size = "npz:moved.npz", 32
    assert Checkpoints(tmp_path, tiny_config, read_only=True).restore_ema(
        setup.params_template(), setup.ema_names
    )
    tiny_config.denoiser.parametrization = "eps"
    with pytest.raises(ConfigError, match="denoiser.parametrization: edm -> eps"):
        Checkpoints(tmp_path, tiny_config, read_only=True).restore_ema(
            setup.params_template(), setup.ema_names
        )


def test_optimizer_settings_may_change_on_resuming(tmp_path, tiny_config, setup):
    _saved(tmp_path, tiny_config, setup, [3])
    tiny_config.optim.update({"learning_rate": 1e-5, "grad_clip": 0.0, "schedule": "constant", "warmup": 0})
    changed = experiment.create(tiny_config, MODES["train"].reads)
    restored, _ = Checkpoints(tmp_path, tiny_config).restore(changed.state_template())
    assert jax.tree.structure(restored) == jax.tree.structure(jax.device_get(changed.create_state()))


def test_a_config_that_matters_is_refused_by_name(tmp_path, tiny_config, setup):
    _saved(tmp_path, tiny_config, setup, [3])
    tiny_config.training.log_every = 7
    tiny_config.training.steps = 12345
    assert Checkpoints(tmp_path, tiny_config).restore(setup.state_template())
    tiny_config.model.width, tiny_config.sde.name = 16, "ve"
    with pytest.raises(ConfigError, match=r"model.width: 8 -> 16; sde.name: vp -> ve"):
        Checkpoints(tmp_path, tiny_config).restore(setup.state_template())
    assert (tmp_path / "checkpoints" / "3").is_dir()


def test_config_changes_see_through_json(tiny_config):
    import json

    saved = json.loads(json.dumps(tiny_config.to_dict()))
    assert config_changes(saved, tiny_config) == []
    tiny_config.model.multipliers = (1, 2)
    assert config_changes(saved, tiny_config) == ["model.multipliers: [1] -> [1, 2]"]


def test_those_with_the_smallest_held_out_loss_are_kept(tmp_path):
    config = CONFIG.copy_and_resolve_references()
    config.checkpoint.keep, config.checkpoint.keep_best = 1, 2
    losses = {1: 0.5, 2: 0.2, 3: float("nan"), 4: 0.3, 5: 0.4, 6: 0.9}
    checkpoints = Checkpoints(tmp_path, config)
    for step in (1, 2, 3, 4):
        # As in a run, the loss is known once the checkpoint is written.
        checkpoints.save(small_state(step))
        checkpoints.measured(step, losses[step])
    checkpoints.finish()
    checkpoints.close()
    assert sorted(checkpoints.all_steps()) == [1, 2, 4]
    # A restart takes the losses from what was recorded.
    rows = [json.dumps({"step": step, "held_out_loss": losses[step]}) for step in (1, 2, 4)]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{row}\n" for row in rows))
    checkpoints = Checkpoints(tmp_path, config)
    for step in (5, 6, 7):
        checkpoints.save(small_state(step))
        checkpoints.measured(step, losses.get(step, 0.0))
    checkpoints.finish()
    assert sorted(checkpoints.all_steps()) == [2, 4, 7]


def test_the_best_need_a_loss_for_each(tiny_config):
    tiny_config.checkpoint.keep_best, tiny_config.checkpoint.every = 1, 10
    for every, refused in ((0, 1), (20, 1), (4, 1), (5, 0), (10, 0)):
        tiny_config.training.eval_every = every
        told = [line for line in train.refusals(tiny_config) if "keep_best=1" in line]
        assert len(told) == refused, (every, told)


def test_a_full_disk_is_seen_before_writing(tmp_path, tiny_config, setup, monkeypatch):
    _saved(tmp_path, tiny_config, setup, [3])
    checkpoints = Checkpoints(tmp_path, tiny_config)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="is full.*checkpoint of step 3 is complete"):
        checkpoints.save(_state(setup, 7))
    restored, _ = Checkpoints(tmp_path, tiny_config).restore(setup.state_template())
    assert int(restored.step) == 3


def test_a_folder_that_somebody_removed_is_made_anew(tmp_path, tiny_config, setup):
    checkpoints = Checkpoints(tmp_path / "run", tiny_config)
    for step in (3, 7):
        checkpoints.save(_state(setup, step))
        checkpoints.finish()
        if step == 3:
            shutil.rmtree(tmp_path / "run")
    checkpoints.close()
    restored, record = Checkpoints(tmp_path / "run", tiny_config).restore(setup.state_template())
    assert _same(restored, _state(setup, 7)) and record["step"] == 7


def test_a_run_goes_on_beside_a_full_disk_and_saves_once_there_is_space(tmp_path, monkeypatch, capfd):
    checkpoints = Checkpoints(small_run(tmp_path, [3]), CONFIG)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        checkpoints.try_save(small_state(5))
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: The disk of ") and "The checkpoint of step 3 is complete." in line
    checkpoints.try_save(small_state(7))
    checkpoints.finish()
    assert checkpoints.all_steps() == [3, 7] and capfd.readouterr().err == ""


def test_a_write_that_failed_is_told_at_the_next_save_which_is_whole(tmp_path, capfd):
    config = CONFIG.copy_and_resolve_references()
    config.checkpoint.keep = 1
    checkpoints = Checkpoints(small_run(tmp_path, [3]), config)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        for step in (5, 6):
            checkpoints.try_save(small_state(step))
        # The first one fails in the background.
        assert not list((tmp_path / "checkpoints").glob("5*"))
        with pytest.raises(UserError, match="Checkpoint 6 could not be written"):
            checkpoints.finish()
        # It takes no other's place before it is complete.
        assert checkpoints.all_steps() == [3]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    checkpoints.try_save(small_state(7))
    checkpoints.finish()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: Checkpoint 5 could not be written") and "step 3 is complete. The" in line
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["7"]
    restored, _ = Checkpoints(tmp_path, CONFIG).restore(small_state(0))
    assert _same(restored, small_state(7))


def test_a_write_that_fails_is_one_clear_error(tmp_path, tiny_config, setup):
    # A file-size limit makes writes fail inside Orbax, as a quota does.
    _saved(tmp_path, tiny_config, setup, [3])
    checkpoints = Checkpoints(tmp_path, tiny_config)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(UserError, match="could not be written.*step 3 is complete"):
            checkpoints.save(_state(setup, 7))
            checkpoints.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    restored, _ = Checkpoints(tmp_path, tiny_config).restore(setup.state_template())
    assert int(restored.step) == 3
