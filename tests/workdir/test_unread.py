"""Fields that nothing reads: refused where they are set, and nothing in the config of an older run."""

import json

import pytest

import experiment
from configs import base
from workdir.compatibility import config_changes
from workdir.saved_config import leaves, read_config
from workdir.unread import unread

TRAINING = ("training", "loss", "optim")
MUON = {"optim.name": "muon"}
HALF_LIFE = {"ema.half_life_images": 1e5}
HEAD = {"denoiser.variance_head": "residual", "loss.variance_weight": 1.0}


def _config(tiny_config, fields):
    tiny_config.update_from_flattened_dict(fields)
    return tiny_config


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("optim.momentum", 0.9, MUON),
        ("optim.momentum", 0.95, MUON),
        ("ema.half_life_ramp", 0.1, HALF_LIFE),
        ("ema.ramp", False, {"ema.decays": (0.9,)}),
        ("loss.noise_levels", 10, {"loss.time_grid": "discrete"}),
        ("loss.noise_levels", 10, {"loss.time_sampling.name": "loss_history"}),
        ("loss.variance_relative", False, HEAD),
    ],
)
def test_a_field_that_nothing_reads_is_refused_and_taken_where_it_is_read(tiny_config, field, value, read):
    elsewhere = {"ema.decays": (), "ema.power_stds": (0.1,)} if field == "ema.ramp" else {}
    (line,) = experiment.problems(_config(tiny_config, {field: value, **elsewhere}), TRAINING)
    assert line.startswith(f"{field}={value} is set, and nothing reads it without")
    assert experiment.problems(_config(tiny_config, read), TRAINING) == []


def test_every_field_is_in_the_schema_and_its_reader_is_named_as_the_schema_has_it():
    known = dict(leaves(base.get_config()))
    groups = {path.rpartition(".")[0] for path in known}
    for field, reader in unread(base.get_config()).items():
        assert field in known
        named = [word.split("=")[0] for word in reader.split() if "." in word.split("=")[0]]
        assert named and all(name in known or name in groups for name in named)


def test_an_older_run_loads_and_goes_on_though_its_config_has_what_nothing_reads(tmp_path, tiny_config):
    old = json.loads(json.dumps(tiny_config.to_dict()))
    old["optim"]["momentum"] = 0.95
    old["ema"]["half_life_ramp"] = 0.2
    old["loss"]["noise_levels"] = 5
    (tmp_path / "config.json").write_text(json.dumps({"config": old}))
    found = read_config(tmp_path, base.get_config())
    assert found == tiny_config and experiment.problems(found, TRAINING) == []
    assert config_changes(old, tiny_config) == []


def test_what_is_read_of_an_older_run_stays(tmp_path, tiny_config):
    _config(tiny_config, {**MUON, **HALF_LIFE, "ema.half_life_ramp": 0.2, "optim.momentum": 0.9})
    old = json.loads(json.dumps(tiny_config.to_dict()))
    (tmp_path / "config.json").write_text(json.dumps({"config": old}))
    assert read_config(tmp_path, base.get_config()) == tiny_config
    old["ema"]["half_life_ramp"] = 0.05
    assert config_changes(old, tiny_config) == ["ema.half_life_ramp: 0.05 -> 0.2"]
