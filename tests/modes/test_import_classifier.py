"""--mode=import of guided-diffusion's classifiers: the recorded logits and gradients, and no run of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiment
import main
from components import ConfigError
from importers import adm, adm_classifier, mapping
from tests.importers.published import GOLDEN, checkpoint, inputs
from tests.importers.written import zip_file
from tests.modes.published_files import Tensors

# The network that is guided: its images are those of the recorded classifier.
FLAGS = [
    "--config.data.image_size=8",
    "--config.data.channels=2",
    "--config.data.classes=5",
    "--config.model.width=32",
    "--config.model.multipliers=(1,2)",
    "--config.model.head_width=32",
    "--config.model.attention=(4,)",
]


def _import(folder, arrays, workdir, *flags, name="64x64_classifier.pt"):
    tensors = Tensors()
    path = folder / name
    path.write_bytes(zip_file(tensors.of(arrays), tensors.storages))
    return main.main(["main.py", "--mode=import", f"--from={path}", f"--workdir={workdir}", *FLAGS, *flags])


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """(arrays of the file, workdir)."""
    folder = tmp_path_factory.mktemp("classifier")
    arrays = checkpoint("adm", "guide")
    assert _import(folder, arrays, folder / "run") == 0
    return arrays, folder / "run"


def test_logits_and_their_gradient_are_those_of_the_released_code(imported):
    classifier = experiment.load_classifier(imported[1])
    x, noise, label = jnp.asarray(inputs()[0]), jnp.array([3.0, 700.0]), np.array([1, 4])

    def log_probability(x):
        logits = classifier.logits(x, noise)
        return jax.nn.log_softmax(logits)[np.arange(2), label].sum(), logits

    gradient, logits = jax.grad(log_probability, has_aux=True)(x)
    found = {"output": logits, "gradient": gradient}
    with np.load(GOLDEN / "adm.npz") as golden:
        for name, array in found.items():
            expected = golden[f"guide/{name}"]
            assert np.abs(array - expected).max() < 1e-4 * np.sqrt(np.mean(np.square(expected))), name
    with pytest.raises(ValueError, match="x has shape"):
        classifier.logits(x[:, :4], noise)


def test_the_weights_come_back_bit_for_bit_and_the_record_says_what_they_are_of(imported):
    arrays, workdir = imported
    classifier = experiment.load_classifier(workdir)
    template = mapping.template(classifier.network, 8, 2)
    again = mapping.export(classifier.params, adm.rows(classifier.network, template))
    assert set(again) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)
    record = classifier.record
    assert record["imported"]["experiment"] == "configs/adm/imagenet64.py"
    assert record["config"]["sde"]["name"] == "iddpm" and record["config"]["data"]["image_size"] == 8
    assert [path.name for path in workdir.iterdir()] == ["classifier.npz"]


@pytest.mark.parametrize(
    ("mode", "config"),
    [
        ("sample", []),
        ("eval", []),
        ("sample", ["--config=configs/digits.py"]),
        ("train", ["--config=configs/digits.py"]),
        ("train", []),
    ],
)
def test_no_mode_takes_a_classifier_for_a_run(imported, mode, config, capsys):
    workdir = imported[1]
    before = (workdir / "classifier.npz").read_bytes()
    assert main.main(["main.py", f"--mode={mode}", f"--workdir={workdir}", *config]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "holds a classifier" in line and "guides" in line
    assert [path.name for path in workdir.iterdir()] == ["classifier.npz"]
    assert (workdir / "classifier.npz").read_bytes() == before


def test_a_damaged_classifier_is_refused(imported, tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        experiment.load_classifier(tmp_path)
    content = bytearray((imported[1] / "classifier.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "classifier.npz").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as a classifier"):
        experiment.load_classifier(tmp_path)


def test_what_does_not_fit_is_named_and_nothing_is_written(imported, tmp_path, capsys):
    arrays, used = imported
    workdir = tmp_path / "run"

    def refused(arrays, *flags, **more):
        assert _import(tmp_path, arrays, workdir, *flags, **more) in (1, 2)
        assert not workdir.exists()
        return capsys.readouterr().err

    lacking = {name: array for name, array in arrays.items() if name != "middle_block.1.qkv.bias"}
    assert "missing    middle_block.1.qkv.bias" in refused(lacking | {"extra": np.ones(2, np.float32)})
    assert "data.classes=7" in refused(arrays, "--config.data.classes=7")
    assert "data.image_size=16" in refused(
        arrays, "--config.data.image_size=16", "--config.model.attention=(8,)"
    )
    error = refused(arrays, name="renamed.pt")
    assert "side 8" in error and "--config" in error
    assert _import(tmp_path, arrays, used) == 1
    assert "holds a classifier already" in capsys.readouterr().err


def _names(levels, blocks, attends, halves="block"):
    """A file's names and shapes, of 2^level times 64 channels."""
    arrays = {"input_blocks.0.0.weight": (64, 3, 3, 3), "time_embed.0.weight": (256, 64)}
    number, before = 1, 64

    def entry(channels, before, attention):
        name = f"input_blocks.{number}"
        arrays[f"{name}.0.in_layers.2.weight"] = (channels, before, 3, 3)
        arrays[f"{name}.0.emb_layers.1.weight"] = (2 * channels, 256)
        if attention:
            arrays[f"{name}.1.qkv.weight"] = (3 * channels, channels, 1)

    for level in range(levels):
        for _ in range(blocks):
            entry(64 << level, before, level in attends)
            number, before = number + 1, 64 << level
        if level < levels - 1:
            if halves == "block":
                entry(before, before, False)
            elif halves == "op":
                arrays[f"input_blocks.{number}.0.op.weight"] = (before, before, 3, 3)
            number += 1
    arrays |= {"out.2.positional_embedding": (before, 17), "out.2.c_proj.weight": (10, before, 1)}
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in arrays.items()}


@pytest.mark.parametrize("halves", ["block", "op", "mean"])
@pytest.mark.parametrize(("levels", "blocks", "attends"), [(4, 4, (1, 2, 3)), (5, 2, (2,)), (2, 1, (0, 1))])
def test_the_network_is_read_off_the_names(levels, blocks, attends, halves):
    made = adm_classifier.architecture(_names(levels, blocks, attends, halves))
    network, side = made.network, 4 << (levels - 1)
    assert (made.image_side, made.image_channels, network.classes, network.width) == (side, 3, 10, 64)
    assert network.multipliers == tuple(1 << level for level in range(levels)) and network.blocks == blocks
    assert network.attention == tuple(side >> level for level in attends)
    assert network.resample_in_blocks == (halves == "block") and network.scale_shift_norm
    assert network.resample_with_convolution == (halves != "mean")


def test_names_that_more_than_one_network_has_are_refused():
    # Without attention each of two blocks may halve the image before channels change.
    with pytest.raises(ValueError, match="divided into resolutions in [2-9] ways"):
        adm_classifier.architecture(_names(3, 3, ()))
