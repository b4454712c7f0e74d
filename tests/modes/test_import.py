"""--mode=import: published files of every form become workdirs; what does not fit is named, unwritten."""

import hashlib
import json
import os
import re
import shlex
import time

import jax
import numpy as np
import pytest

import experiment
import main
from components import ConfigError
from importers import checkpoint, known, safetensors
from modes import MODES, import_checkpoint, import_config
from tests.conftest import ROOT, TINY, as_flags
from tests.importers.test_diffusers import CIFAR10
from tests.importers.written import zip_file
from tests.modes import published_files
from tests.modes.published_files import FILES, STEP, UNKNOWN
from workdir import lock
from workdir.checkpoints import Checkpoints

SAMPLE = {"sampling.num_samples": 2, "sampling.batch_size": 8, "sampling.largest_bias": None}
# Steps of the sampler that the experiment has; those of discrete levels are left as they are.
STEPS = {"vp/cifar10_ddpmpp_continuous/checkpoint_8.pth": 30, "edm-cifar10-32x32-cond-vp.pkl": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("published")


def _equal(found, expected, exactly=True):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    test = np.testing.assert_array_equal if exactly else np.testing.assert_allclose
    more = {} if exactly else {"rtol": 1e-6}
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        test(a, b, **more)


def _weights(workdir):
    """(parameters, averages, record, config) of the run in a workdir."""
    run = experiment.load(workdir)
    checkpoints = Checkpoints(workdir, experiment.resolved(run.config), read_only=True)
    try:
        template = run.experiment.params_template()
        params, averages, record = checkpoints.restore_weights(template, run.experiment.ema_names)
    finally:
        checkpoints.close()
    _equal(run.params, averages[run.experiment.ema_names[0]])
    return params, averages, record, run.config


def _refused(capsys, arguments, workdir, code=(1, 2)):
    assert main.main(arguments) in code
    error = capsys.readouterr().err
    assert not workdir.exists() and "Traceback" not in error
    return error


@pytest.mark.parametrize("file", FILES)
def test_a_file_of_each_form_gives_its_parameters_and_averages(file, folder, tmp_path, capsys):
    path, params, average = published_files.write(folder, file)
    workdir = tmp_path / "run"
    assert main.main(published_files.command(path, workdir)) == 0
    found, averages, record, config = _weights(workdir)
    # Frequencies are angles there and turns here.
    exactly = FILES[file][0] != "edm2"
    _equal(found, params, exactly)
    for tree in averages.values():
        _equal(tree, average, exactly)
    imported = record["imported"]
    assert imported["experiment"] == FILES[file][1] and imported["files"][0]["name"] == path.name
    assert imported["files"][0]["bytes"] == path.stat().st_size and len(imported["files"][0]["sha256"]) == 64
    stepless = ("edm", "edm2", "adm")
    assert record["step"] == (0 if FILES[file][0] in stepless else STEP)
    assert json.loads((workdir / "config.json").read_text())["imported"] == imported
    assert sorted(path.name for path in workdir.iterdir()) == ["checkpoints", "config.json"]
    if file.startswith("edm2"):
        assert list(averages) == ["power_0.11"] and config.ema.power_stds == (0.11,)


@pytest.mark.parametrize("file", STEPS)
def test_an_imported_run_is_sampled_without_a_config(file, folder, tmp_path, capsys):
    path, *_ = published_files.write(folder, file)
    workdir = tmp_path / "a run"
    left = workdir / ".01234567-import" / "checkpoints"  # as a killed import leaves it
    left.mkdir(parents=True)
    assert main.main(published_files.command(path, workdir)) == 0
    assert not left.parent.exists()
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("to sample: "))
    assert f"--workdir={workdir}" in shlex.split(line)
    flags = as_flags({**SAMPLE, "sampling.steps": STEPS[file]})
    assert main.main(["main.py", f"--workdir={workdir}", "--mode=sample", *flags]) == 0
    with np.load(workdir / "samples.npz") as samples:
        assert samples["images"].shape == (2, 8, 8, 3)
        assert ("label" in samples) == ("cond" in file)


@pytest.mark.slow
def test_an_imported_run_is_evaluated_and_trained_on(tmp_path, capsys):
    # Weights of a run on the digits, in the place of published ones: what their data was is not in the file.
    run, workdir = tmp_path / "run", tmp_path / "imported"
    fields = {**TINY, "training.steps": 2, "optim.warmup": 0, "eval.evaluators": "loss,two_sample"}
    digits = ["main.py", "--config=configs/digits.py", *as_flags(fields)]
    assert main.main([*digits, f"--workdir={run}"]) == 0
    assert main.main(["main.py", f"--workdir={run}", "--mode=export"]) == 0
    described = run / "export" / "config.json"
    content = json.loads(described.read_text())
    assert content.pop("data")
    described.write_text(json.dumps(content))
    assert main.main(["main.py", "--mode=import", f"--from={run}/export", f"--workdir={workdir}"]) == 0
    capsys.readouterr()
    assert main.main(["main.py", f"--workdir={workdir}", "--mode=eval"]) == 0
    assert "whether held-out images were trained on is not known" in capsys.readouterr().err
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert "not known" in json.dumps(metrics["data"]["changed_since_training"])
    # Training goes on from it, and a second time from what it has become.
    for steps in (4, 6):
        flags = as_flags({**fields, "training.steps": steps})
        assert main.main(["main.py", "--config=configs/digits.py", f"--workdir={workdir}", *flags]) == 0
        assert f"trained to step {steps}" in capsys.readouterr().err
    assert _weights(workdir)[2]["imported"]["file"] == "export"


def test_what_does_not_fit_is_named_in_a_table_and_nothing_is_written(folder, tmp_path, capsys):
    path, *_ = published_files.write(folder, "64x64_diffusion.pt")
    workdir = tmp_path / "run"
    error = _refused(
        capsys, published_files.command(path, workdir, "--config.model.blocks=2"), workdir, code=(1,)
    )
    lines = error.splitlines()
    assert any("does not fit" in line for line in lines)
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert any(line.startswith("  missing    input_blocks.") for line in lines)
    assert any(line.startswith("  misshapen  ") for line in lines)
    error = _refused(
        capsys, published_files.command(path, workdir, "--config.model.class_conditional=False"), workdir
    )
    assert "unused     label_emb.weight" in error


@pytest.mark.parametrize(
    "file", ["64x64_diffusion.pt", *[name for name in FILES if name.startswith(("v", "edm-"))]]
)
def test_a_cut_file_is_refused_in_one_line(file, folder, tmp_path, capsys):
    path, *_ = published_files.write(folder, file)
    cut = tmp_path / file
    cut.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes()
    cut.write_bytes(content[: len(content) * 2 // 3])
    workdir = tmp_path / "run"
    error = _refused(capsys, published_files.command(cut, workdir), workdir, code=(1,))
    refused = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(refused) == 1 and str(cut) in refused[0]


@pytest.mark.parametrize("file", UNKNOWN)
def test_a_file_of_an_unknown_name_asks_for_its_experiment(file, folder, tmp_path, capsys):
    path, *_ = published_files.write(folder, file)
    workdir = tmp_path / "run"
    arguments = ["main.py", "--mode=import", f"--from={path}", f"--workdir={workdir}"]
    (line,) = _refused(capsys, arguments, workdir, code=(2,)).splitlines()
    assert "--config" in line and "Candidates" in line and "configs/" in line


def test_candidates_are_those_with_as_many_parameters(monkeypatch, tmp_path):
    (tmp_path / "x.pth").touch()
    arrays = {"all_modules.2.weight": np.broadcast_to(np.float32(0), (61_804_419,))}
    found = checkpoint.Checkpoint("score_sde_pytorch", arrays, {})
    monkeypatch.setattr(checkpoint, "read", lambda path: found)
    with pytest.raises(ConfigError) as caught:
        import_config.config_for(tmp_path / "x.pth")
    message = str(caught.value)
    assert "configs/vp/cifar10_ddpmpp_continuous.py" in message
    assert "configs/subvp/cifar10_ddpmpp_continuous.py" in message
    assert "ncsnpp" not in message and "deep" not in message


def test_another_network_s_config_is_refused_by_name(folder, tmp_path, capsys):
    path, *_ = published_files.write(folder, "64x64_diffusion.pt")
    workdir = tmp_path / "run"
    arguments = ["main.py", "--mode=import", f"--from={path}", f"--workdir={workdir}"]
    (line,) = _refused(
        capsys, [*arguments, "--config=configs/vp/ddpm/cifar10.py"], workdir, code=(2,)
    ).splitlines()
    assert 'model.name="ddpm"' in line and "adm" in line
    pickled, *_ = published_files.write(folder, "edm-cifar10-32x32-cond-vp.pkl")
    arguments[2] = f"--from={pickled}"
    error = _refused(capsys, arguments, workdir, code=(2,))
    assert "data.image_size=32" in error and "side 8" in error
    uncertain = published_files.command(pickled, workdir, "--config.denoiser.uncertainty=True")
    assert "denoiser.uncertainty=False" in _refused(capsys, uncertain, workdir, code=(2,))


def test_check_tells_what_import_would_refuse_of_a_file_and_writes_nothing(folder, tmp_path, capsys):
    path, *_ = published_files.write(folder, "64x64_diffusion.pt")
    workdir = tmp_path / "run"

    def both(*more):
        """The refusals of import and of check, in their order."""
        arguments = published_files.command(path, workdir, *more)
        assert main.main(arguments) in (1, 2)
        refused = capsys.readouterr().err.splitlines()
        with pytest.raises(SystemExit):
            main.main([*arguments, "--mode=check", "--for=import"])
        checked = capsys.readouterr().out.splitlines()
        assert not workdir.exists()
        return [
            [
                line.removeprefix(word)
                for line in lines
                if line.startswith((word, "  missing ", "  misshapen ", "  unused "))
            ]
            for lines, word in ((refused, "error: "), (checked, "refused: "))
        ]

    for more in (["--config.model.blocks=2"], ["--config.model.class_conditional=False"]):
        refused, checked = both(*more)
        assert checked == refused and any("input_blocks." in line or "label_emb" in line for line in checked)
    check = [*published_files.command(path, workdir), "--mode=check", "--for=import"]
    assert main.main(check) == 0
    assert "ok: --mode=import would refuse nothing" in capsys.readouterr().out and not workdir.exists()
    assert main.main(published_files.command(path, workdir)) == 0
    with pytest.raises(SystemExit):
        main.main(check)
    assert "holds a run already" in capsys.readouterr().out
    assert main.main(["main.py", f"--from={path}", "--mode=check", "--for=sample"]) == 2
    assert "--from is of --for=import, and this is --for=sample" in capsys.readouterr().err


def test_a_workdir_in_use_is_refused_and_stays_as_it_was(folder, tmp_path, capsys):
    path, *_ = published_files.write(folder, "64x64_diffusion.pt")
    workdir = tmp_path / "run"
    assert main.main(published_files.command(path, workdir)) == 0
    before = (workdir / "config.json").read_bytes()
    capsys.readouterr()
    assert main.main(published_files.command(path, workdir)) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert (workdir / "config.json").read_bytes() == before


def test_what_is_no_checkpoint_of_a_known_form_is_refused(tmp_path, capsys):
    workdir = tmp_path / "run"
    file = tmp_path / "64x64_diffusion.pt"

    def refused(content):
        file.write_bytes(content)
        (line,) = (
            line
            for line in _refused(
                capsys, ["main.py", "--mode=import", f"--from={file}", f"--workdir={workdir}"], workdir
            ).splitlines()
            if line.startswith("error: ")
        )
        return line

    def state(*names):
        tensors = published_files.Tensors()
        arrays = {name: np.ones((2, 2), np.float32) for name in names}
        return zip_file(tensors.of(arrays), tensors.storages)

    assert "second head, out2.0.weight" in refused(state("input_blocks.0.0.weight", "out2.0.weight"))
    assert "without attention pooling" in refused(state("input_blocks.0.0.weight", "out.2.qkv_proj.weight"))
    assert "no code base" in refused(state("layers.0.weight"))
    assert "no arrays" in refused(zip_file({"epoch": 3}))
    assert "no whole checkpoint of Flax" in refused(b"\x85\xa1")
    file.unlink()
    arguments = ["main.py", "--mode=import", f"--from={file}", f"--workdir={workdir}"]
    (line,) = _refused(capsys, arguments, workdir).splitlines()
    assert "no such file" in line


def _run_s_training_state(**parts):
    tensors = published_files.Tensors()
    return zip_file({name: tensors.of(arrays) for name, arrays in parts.items()}, tensors.storages)


@pytest.mark.parametrize("optimizer", ["optimizer", "optimizer_state"])
def test_a_training_state_of_edm_or_edm2_leads_to_its_snapshot(optimizer, tmp_path, capsys):
    file, workdir = tmp_path / "training-state-000001.pt", tmp_path / "run"
    weights = {"enc.8x8_conv.weight": np.ones((2, 2, 3, 3), np.float32)}
    file.write_bytes(_run_s_training_state(net=weights, **{optimizer: {}}))
    arguments = ["main.py", "--mode=import", f"--from={file}", f"--workdir={workdir}"]
    (line,) = _refused(capsys, arguments, workdir, code=(1,)).splitlines()
    assert "network-snapshot-*.pkl" in line


def test_a_snapshot_of_edm2_is_of_the_width_in_its_name(folder, tmp_path, capsys):
    path, *_ = published_files.write(folder, "edm2-img64-xs-0134217-0.110.pkl")
    snapshots = tmp_path / "snapshots"
    snapshots.mkdir()
    for std in ("0.050", "0.100"):
        (snapshots / f"network-snapshot-0000001-{std}.pkl").write_bytes(path.read_bytes())
    flags = published_files.command(path, tmp_path / "run")[4:]
    arguments = ["main.py", "--mode=import", "--config=configs/edm2/imagenet64_xs.py", *flags]
    for number, (more, told) in enumerate(([[], True], [["--config.ema.power_stds=(0.05,)"], False])):
        given = [
            f"--from={snapshots}/network-snapshot-0000001-0.050.pkl",
            f"--workdir={tmp_path / str(number)}",
        ]
        assert main.main([*arguments, *given, *more]) == 0
        assert ("is of width 0.050" in capsys.readouterr().err) == told
    workdir = tmp_path / "several"
    (line,) = _refused(
        capsys, [*arguments, f"--from={snapshots}", f"--workdir={workdir}"], workdir
    ).splitlines()
    assert "Snapshots of EDM2 are imported one by one" in line


WIDE, DEEP = "9" * 5_000, "[" * 100_000
# config.json and scheduler_config.json: what is changed in them, or the whole text.
FOLDERS = [
    ({"layers_per_block": 10**30}, None),
    ({"layers_per_block": 100}, None),
    ({"block_out_channels": [128] * 300, "down_block_types": ["DownBlock2D"] * 300}, None),
    ({"sample_size": 2**70}, None),
    ({"in_channels": 2**40}, None),
    ({"block_out_channels": [2**40] * 4}, None),
    ({"dropout": float("nan")}, None),
    ({"norm_num_groups": {}}, None),
    (DEEP, None),
    ("{" + '"a":{' * 50_000, None),
    (f'{{"layers_per_block": {WIDE}}}', None),
    ("null", None),
    ("ÿ", None),
    (f'{{"a": 1{" " * 2_000_000}}}', None),
    ({}, DEEP),
    ({}, {"num_train_timesteps": 10**12}),
    ({}, {"num_train_timesteps": {}}),
    ({}, {"prediction_type": {}}),
    ({}, {"beta_schedule": [1]}),
    ({}, {"beta_start": float("nan")}),
    ({}, {"beta_end": 1e300}),
    ({}, {"beta_start": True}),
    ({}, {"_class_name": "ScoreSdeVeScheduler"}),
    ({}, {"_class_name": "FlowMatchEulerDiscreteScheduler"}),
    ({}, {"trained_betas": [0.1, 0.2]}),
    ({}, {"rescale_betas_zero_snr": True}),
    ({}, {"thresholding": True}),
    ({}, {"use_flow_sigmas": True}),
    ({}, {"variance_type": "learned_range"}),
    ({}, {"clip_sample": "yes"}),
    ({}, {"clip_sample_range": -1.0}),
    ({}, {"clip_sample_range": 10**400}),
]


@pytest.mark.parametrize(("config", "scheduler"), FOLDERS, ids=lambda thing: str(thing)[:40])
def test_a_hostile_folder_of_diffusers_is_refused_in_two_seconds(
    config, scheduler, tmp_path, capsys, young_heap
):
    folder, workdir = tmp_path / "folder", tmp_path / "run"
    folder.mkdir()
    arrays = {"down_blocks.0.resnets.0.conv1.weight": np.zeros((128, 128, 3, 3), np.float32)}
    safetensors.write(folder / "diffusion_pytorch_model.safetensors", arrays)
    for name, content, usual in (("config", config, CIFAR10), ("scheduler_config", scheduler, {})):
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(usual | content)
            (folder / f"{name}.json").write_text(text)
    start = time.process_time()
    error = _refused(
        capsys, ["main.py", "--mode=import", f"--from={folder}", f"--workdir={workdir}"], workdir
    )
    assert time.process_time() - start < 2
    assert "missing  " not in error and "error: " in error and max(map(len, error.splitlines())) < 500
    if scheduler and scheduler != DEEP:
        # The process itself refuses numbers that it cannot have, by its own field.
        assert next(iter(scheduler)) in error or "sde." in error


def test_weights_of_diffusers_that_are_not_one_whole_folder_lead_to_one(tmp_path, capsys):
    arrays = {"down_blocks.0.resnets.0.conv1.weight": np.zeros((1, 1, 1, 1), np.float32)}
    (tmp_path / "config.json").write_text(json.dumps(CIFAR10))
    for name, given, word in (
        ("diffusion_pytorch_model.fp16.safetensors", tmp_path, "fp16.safetensors is a variant"),
        ("diffusion_pytorch_model-00001-of-00002.safetensors", tmp_path, "one of several files"),
        ("diffusion_pytorch_model.safetensors", None, f"give the folder, --from={tmp_path}"),
    ):
        file = tmp_path / name
        safetensors.write(file, arrays)
        arguments = ["main.py", "--mode=import", f"--from={given or file}", f"--workdir={tmp_path / 'run'}"]
        (line,) = _refused(capsys, arguments, tmp_path / "run").splitlines()
        assert word in line
        file.unlink()


def test_import_needs_a_file(capsys):
    assert main.main(["main.py", "--mode=import", "--workdir=x"]) == 2
    assert "--from=FILE" in capsys.readouterr().err
    assert main.main(["main.py", "--mode=sample", "--workdir=x", "--from=y"]) == 2
    assert "--from is of --mode=import" in capsys.readouterr().err


@pytest.mark.parametrize("entry", known.KNOWN, ids=lambda entry: entry.file)
def test_a_known_file_is_found_by_its_name_and_has_an_experiment(entry):
    path = f"/downloads/{entry.file.replace('*', '8')}"
    assert known.find(path) == entry
    assert (ROOT / entry.experiment).is_file()
    assert entry.source.startswith("https://")
    config = import_config.config_for(path)
    for field, value in (entry.fields or {}).items():
        group, name = field.split(".")
        assert config[group][name] == value


def test_a_file_of_another_digest_than_the_published_one_is_told_of(tmp_path, capsys):
    path = tmp_path / "ema_diffusion_cifar10_model" / "model-790000.ckpt"
    path.parent.mkdir()
    path.write_bytes(b"x")
    found = checkpoint.Checkpoint("ddim", {}, {})
    assert import_checkpoint._provenance(path, found, None)["published_at"] == known.find(path).source
    assert f"has the MD5 {hashlib.md5(b'x').hexdigest()}, and the published" in capsys.readouterr().err
    assert import_checkpoint._provenance(path.rename(path.with_name("y")), found, "z")
    assert "MD5" not in capsys.readouterr().err


def test_a_config_of_another_experiment_than_the_name_is_told_of(tmp_path, capsys):
    path = tmp_path / "vp" / "cifar10_ddpmpp_continuous" / "checkpoint_8.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    found = checkpoint.Checkpoint("score_sde_pytorch", {}, {})
    for given, told in (("subvp", True), ("vp", False)):
        experiment = str(ROOT / "configs" / given / "cifar10_ddpmpp_continuous.py")
        imported = import_checkpoint._provenance(path, found, experiment)
        error = capsys.readouterr().err
        assert ("by its name checkpoint_8.pth is a checkpoint of Song et al. 2021" in error) == told
        assert ("licence" in imported) != told


def test_an_import_at_work_is_called_one(tmp_path, folder, capsys):
    path, *_ = published_files.write(folder, "64x64_diffusion.pt")
    with lock.Lock(tmp_path, work="imported into"):
        assert main.main(published_files.command(path, tmp_path)) == 1
    assert f"is being imported into by process {os.getpid()}" in capsys.readouterr().err


def test_every_known_file_stands_in_the_page_of_weights():
    text = (ROOT / "docs" / "weights.md").read_text()
    for entry in known.KNOWN:
        rows = [line for line in text.splitlines() if f"`{entry.file}`" in line]
        assert any(f"`{entry.experiment}`" in row and entry.source in row for row in rows), entry.file
        assert entry.figure is None or any(entry.figure in row for row in rows), entry.file
        # None is published: each is the number of parameters times the bytes of its form.
        size = next(row.split("|")[2] for row in rows if entry.source in row)
        assert re.fullmatch(r" (-|[0-9.]+ [MG]B) ", size), entry.file


def test_import_reads_what_training_does():
    assert set(MODES["import"].reads) <= set(MODES["train"].reads)
