"""Forms are told apart by the names in a file, and damaged files are refused in one line."""

import os
import pickle
import re
import signal

import flax.serialization
import numpy as np
import pytest

from importers import checkpoint, diffusers, flax_msgpack, safetensors, unpickling
from importers.refusal import RefusedFile
from tests.conftest import ROOT
from tests.importers.published import checkpoint as published
from tests.importers.written import dumps, persistent_object
from tests.modes.published_files import Tensors, zip_file

WIDE = "9" * 5_000


def _file(path, thing, storages):
    path.write_bytes(zip_file(thing, storages))
    return path


@pytest.mark.parametrize(
    ("family", "case", "form"),
    [
        ("song_pytorch", "ncsnpp_256", "score_sde_pytorch"),
        ("edm", "ncsnpp", "edm"),
        ("edm", "dhariwal", "edm"),
        ("edm2", "classes", "edm2"),
        ("adm", "published", "adm"),
        ("ddim", "unet", "ddim"),
        ("diffusers", "unet", "diffusers"),
        ("ncsn", "ncsnv2_256", "ncsn"),
    ],
)
def test_a_bare_state_has_its_form_in_its_names(tmp_path, family, case, form):
    tensors = Tensors()
    arrays = published(family, case)
    found = checkpoint.read(_file(tmp_path / "x.pt", tensors.of(arrays), tensors.storages))
    assert found.form == form and found.averages == {} and found.step is None
    assert found.side == (8 if form in ("edm", "edm2") else None)
    assert not any(name.startswith(("module.", "model.")) for name in found.parameters)


def test_a_second_head_within_analytic_dpm_s_file_is_refused_by_name(tmp_path):
    tensors = Tensors()
    arrays = {"input_blocks.0.0.weight": np.ones((2, 2), np.float32), "before_out.x": np.ones(2, np.float32)}
    states = {"eps_model": tensors.of(arrays)}
    path = _file(tmp_path / "x.pth", {"models_states": states, "ema_models_states": states}, tensors.storages)
    with pytest.raises(RefusedFile, match=r"second head, before_out\.x"):
        checkpoint.read(path)


def test_another_preconditioning_is_told_of(tmp_path):
    from tests.modes.published_files import _parameter

    state = {"_parameters": {"enc.8x8_conv.weight": _parameter(np.ones((2, 2, 3, 3), np.float32))}}
    network = {"_modules": {"model": persistent_object("SongUNet", state)}}
    path = tmp_path / "baseline.pkl"
    path.write_bytes(dumps({"ema": persistent_object("VPPrecond", network)}))
    found = checkpoint.read(path)
    assert found.form == "edm" and "VPPrecond" in found.notes[0]


def _flax():
    tree = {"Dense_0": {"kernel": np.ones((3, 2), np.float32), "bias": np.ones(2, np.float32)}}
    state = {"step": np.int32(7), "optimizer": {"target": tree}, "params_ema": tree}
    return flax.serialization.msgpack_serialize(state)


def test_flax_s_state_is_read(tmp_path):
    path = tmp_path / "checkpoint_7"
    path.write_bytes(_flax())
    found = checkpoint.read(path)
    assert found.form == "score_sde" and found.step == 7 and list(found.averages) == [""]
    assert set(found.parameters) == {"Dense_0/kernel", "Dense_0/bias"} and found.count == 8


def test_a_damaged_state_of_flax_is_read_or_refused_in_one_line(tmp_path):
    content, path, generator = _flax(), tmp_path / "checkpoint_7", np.random.default_rng(0)
    variants = [content[:length] for length in range(0, len(content), 5)]
    for _ in range(600):
        changed = bytearray(content)
        for place in generator.integers(0, len(content), generator.integers(1, 4)):
            changed[place] = generator.integers(0, 256)
        variants.append(bytes(changed))
    variants += [
        content + b"\x00",
        b"\xdf\xff\xff\xff\xff",
        b"\x81" * 100_000,
        b"\x81\xa1x" * 2_000 + b"\x01",
    ]
    for variant in variants:
        path.write_bytes(variant)
        try:
            checkpoint.read(path)
        except RefusedFile as refused:
            assert len(str(refused).splitlines()) == 1 and str(path) in str(refused)


@pytest.mark.parametrize(
    "reader", [checkpoint.read, checkpoint.read_json, safetensors.read, flax_msgpack.read, unpickling.load]
)
def test_nobody_waits_for_a_pipe(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe")

    def late(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(2)
    try:
        with pytest.raises(RefusedFile, match="no regular file"):
            reader(tmp_path / "pipe")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "name",
    [
        f"model.enc.{WIDE}x{WIDE}_conv.weight",
        f"enc.{WIDE}x{WIDE}_conv.weight",
        f"unet.enc.{WIDE}x{WIDE}_conv.weight",
        f"input_blocks.0.0.{WIDE}",
        f"all_modules.{WIDE}.weight",
        f"Dense_{WIDE}/kernel",
        f"down_blocks.{WIDE}.resnets.0.conv1.weight",
    ],
)
def test_a_name_with_thousands_of_digits_is_read_or_refused(tmp_path, name):
    path = tmp_path / "x.pkl"
    for known in (
        (),
        ("enc.8x8_conv.weight",),
        ("up_blocks.0", "down_blocks.0.x", f"up_blocks.0.attentions.{WIDE}.x"),
    ):
        path.write_bytes(pickle.dumps({each: np.ones(2, np.float32) for each in (name, *known)}))
        try:
            found = checkpoint.read(path)
        except RefusedFile as refused:
            assert len(str(refused)) < 1_000
        else:
            assert found.side in (None, 8) and not diffusers._idle(found.parameters)


def test_patterns_of_names_bound_how_many_digits_they_take():
    for path in (ROOT / "importers").glob("*.py"):
        assert not re.search(r"\\d|\[0-9\][+*]", path.read_text()), path
