"""What the command line says when something is wrong: one line, exit code 2, nothing started."""

import os
import signal
import subprocess
import sys

import pytest

import main
from components import UserError
from configs import base, digits
from modes import check
from tests.conftest import ROOT
from workdir.saved_config import leaves


def _refused(capsys, *arguments):
    code = main.main(["main.py", *arguments])
    error = capsys.readouterr().err.strip()
    assert code == 2 and error.startswith("error: "), error
    return error


DIGITS = "--config=configs/digits.py"
TRAIN = (DIGITS, "--workdir=/proc/nowhere/at/all", "--mode=train")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*TRAIN, "--config.sde.beta_mx=3"), ['"--config.sde.beta_mx"', '"--config.sde.beta_max"']),
        ((*TRAIN, "--config.trainig.steps=3"), ['"--config.training.steps"']),
        ((*TRAIN, f"--config.seed={2**64}"), ["seed=18446744073709551616", "2^64"]),
        ((*TRAIN, "--config.sde.name=vpp"), ['sde.name="vpp"', 'Did you mean "vp"?', "vp, subvp, ve, edm"]),
        ((*TRAIN, "--config.model.name=unett"), ['model.name="unett"', '"unet"']),
        ((*TRAIN, "--config.sde.sigma_max=9"), ["sde.sigma_max", 'sde.name="vp"', "beta_max"]),
        ((*TRAIN, "--config.sampling.predictor=legacy_ancestral", "--config.sde.name=subvp"), ["sub-VP"]),
        ((*TRAIN, "--config.training.jitted_steps=3"), ["training.steps", "training.jitted_steps=3"]),
        ((*TRAIN, "--config.training.batch_size=12"), ["training.batch_size=12", "8 devices", "8 or 16"]),
        (
            (*TRAIN, "--config.loss.weighting=likelihood", "--config.loss.time_grid=discrete"),
            ["loss.weighting", "loss.time_grid"],
        ),
        ((*TRAIN, "--config.training.steps=many"), ["--config.training.steps=many"]),
        ((*TRAIN, "--config.training.steps=-5"), ["training.steps=-5"]),
        ((*TRAIN, "--config.sde.beta_min=30.0"), ["beta_min=30.0"]),
        ((*TRAIN, "--config.model.width=7"), ["width=7"]),
        ((*TRAIN, "--config.data.source=digit"), ['data.source="digit"', '"digits"']),
        ((*TRAIN, "--config.ema.decays=(2.0,)"), ["ema.decays"]),
        ((*TRAIN, "--config.optim.name=adm"), ["optim.name", '"adam"']),
        ((*TRAIN, "--config.ema.decays=(0.9,0.9)"), ["ema.decays"]),
        ((*TRAIN, '--config.ema.decays=("x",)'), ["ema.decays"]),
        ((*TRAIN, "--config.model.multipliers=(1,1.5)"), ["multipliers=(1, 1.5)"]),
        ((*TRAIN, "--config.model.attention=(5,)"), ["side 5 does not occur"]),
        ((*TRAIN, "--config.model.time_embedding=fourier"), ["denoiser.noise_input"]),
        ((*TRAIN, "--config.optim.beta1=1.5"), ["optim.beta1=1.5"]),
        ((*TRAIN, "--config.optim.learning_rate=nan"), ["optim.learning_rate=nan"]),
        ((*TRAIN, "--config.data.pixel_values=5"), ["data.pixel_values=5", "up to 16"]),
        ((*TRAIN, "--config.seed=-1"), ["seed=-1"]),
        ((*TRAIN, "--config.sampling=ddim"), ["--config.sampling is a group", "--config.sampling."]),
        ((*TRAIN, "--config.sampling.snr=0.1"), ["--config.sampling.corrector.snr now"]),
        ((*TRAIN, "--output=x"), ["--output", "--mode=sample, eval"]),
        ((DIGITS, "--mode=trajectory"), ["--mode=optimal_grid now"]),
        (
            ("--workdir=/proc/nowhere", "--mode=sample"),
            ["There is no run in /proc/nowhere", "config.json", "--config="],
        ),
        (("--config=configs", "--mode=check"), ["no file"]),
        ((*TRAIN, "surplus"), ["surplus"]),
        # Numbers that cannot be computed with, wherever they stand.
        ((*TRAIN, "--config.denoiser.sigma_data=nan"), ["denoiser.sigma_data=nan", "number"]),
        ((*TRAIN, "--config.optim.grad_clip=inf"), ["optim.grad_clip=inf", "finite"]),
        ((*TRAIN, "--config.encoding.temperatures=(1e400,)"), ["encoding.temperatures=(inf,)", "finite"]),
        (
            (*TRAIN, "--config.sampling.predictor=edm", "--config.sampling.predictor.churn_noise=inf"),
            ["finite"],
        ),
        ((*TRAIN, "--config.sampling.grid.times=('a','b')"), ["sampling.grid.times", "numbers"]),
        ((*TRAIN, "--config.sde.sigma_min=1e-300"), ["sde.sigma_min=1e-300", "float32"]),
        ((*TRAIN, "--config.eval.bits_per_dim.tolerance=inf"), ["eval.bits_per_dim.tolerance=inf"]),
        ((*TRAIN, "--config.loss.variance_weight=-1"), ["loss.variance_weight=-1.0"]),
        ((*TRAIN, "--config.data.class_frequencies=(-1,)"), ["data.class_frequencies"]),
        ((*TRAIN, "--config.seed", "-1"), ["seed=-1"]),
        ((*TRAIN, "--config.seed=1e20"), ["seed=100000000000000000000", "2^64"]),
        ((*TRAIN, "--config.optim.warmup=4e9"), ["optim.warmup=4000000000", "2147483647"]),
        # Values of another kind than the field's.
        ((*TRAIN, "--config.training.steps=1.5"), ["--config.training.steps=1.5", "whole number"]),
        ((*TRAIN, "--config.training.steps=None"), ["--config.training.steps=None", "whole number"]),
        ((*TRAIN, "--config.training.steps"), ["--config.training.steps=...", "value"]),
        ((*TRAIN, "--config.data.centered=maybe"), ["--config.data.centered=maybe", "True or False"]),
        ((*TRAIN, f"--config.ema.decays={'(' * 9999}"), ["--config.ema.decays=", "numbers in brackets"]),
        ((*TRAIN, "--config.model.name=a\nb"), ["--config.model.name=", "printed"]),
        ((*TRAIN, "--config.sde={'nam': 've'}"), ["--config.sde=", "Its fields: ", "beta_max"]),
        ((*TRAIN, "--config.sampling={'steps': 'x'}"), ["--config.sampling=", "dict of fields"]),
        # More than memory holds.
        ((*TRAIN, "--config.training.batch_size=2147483648"), ["training.batch_size=2147483648", "GiB"]),
        ((*TRAIN, "--config.sampling.num_samples=1e20"), ["sampling.num_samples=1000", "GiB"]),
        ((*TRAIN, "--config.model.blocks=2147483647"), ["blocks=2147483647"]),
        # What is no path of this machine.
        ((DIGITS, "--workdir=gs://bucket/run", "--mode=train"), ["--workdir=", "gs://", "address"]),
        ((DIGITS, "--workdir=x", "--output=s3://bucket", "--mode=sample"), ["--output=", "s3://"]),
        (("--config=gs://bucket/digits.py", "--mode=check"), ["--config=", "gs://"]),
        ((*TRAIN, "--config.data.source=folder:gs://bucket"), ["data.source=", "gs://"]),
        ((*TRAIN, "--config.training.network_from=s3://bucket"), ["training.network_from=", "s3://"]),
        ((DIGITS, "--workdir=x", "--mode=trian"), ['--mode="trian"', '"train"']),
        ((DIGITS, "--mode=train"), ["--workdir"]),
        ((DIGITS, "--workdri=x"), ["workdri"]),
        (("--config=configs/digts.py", "--mode=check"), ["configs/digts.py", "no file"]),
        (("--mode=check",), ["--config is missing"]),
    ],
)
def test_mistakes_are_one_line_that_names_the_field(capsys, arguments, words):
    error = _refused(capsys, *arguments)
    assert len(error.splitlines()) == 1
    for word in words:
        assert word in error


def test_refusals_come_before_anything_is_compiled(capsys, monkeypatch):
    import jax

    def compiled(*_, **__):
        raise AssertionError("something was compiled")

    for config in (["--config.sde.name=vpp"], ["--config.sde.sigma_max=1"], ["--config.sde.beta_mx=1"]):
        monkeypatch.setattr(jax._src.compiler, "backend_compile_and_load", compiled)
        _refused(capsys, *TRAIN, *config)


def test_help_names_every_mode(capsys):
    assert main.main(["main.py", "--help"]) == 0
    text = capsys.readouterr().out
    for mode in main.MODES:
        assert f"--mode={mode}" in text
    assert "--config.sde=ve" in text


def test_a_reader_that_has_enough_of_the_help_breaks_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "main.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_help_needs_no_heavy_import():
    import subprocess
    import sys

    from tests.conftest import ROOT

    script = "import sys, main; main.main(['main.py', '--help']); assert 'jax' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_check_prints_the_config_and_every_refusal(capsys):
    flags = [
        "--config.training.batch_size=12",
        "--config.sampling.corrector.snr=-1.0",
        "--config.optim.name=adm",
    ]
    with pytest.raises(SystemExit) as stop:
        main.main(["main.py", DIGITS, "--mode=check", *flags])
    out = capsys.readouterr().out
    assert stop.value.code == 2
    assert "sde.name = vp" in out and out.count("refused: ") == 3
    assert main.main(["main.py", "--config", "configs/digits.py", "--mode=check"]) == 0
    assert "sde.beta_max = 20.0" in capsys.readouterr().out
    assert main.main(["main.py", DIGITS, "--mode=check"]) == 0
    assert "would refuse nothing" in capsys.readouterr().out


def test_inspect_describes_the_data(capsys):
    assert main.main(["main.py", DIGITS, "--mode=inspect"]) == 0
    out = capsys.readouterr().out
    for words in (
        "images of 8x8x1",
        "of 1797 images are held out",
        "0..16",
        "of 17",
        "sde.sigma_max=",
        "sigma_data=",
    ):
        assert words in out


def test_an_argument_of_the_config_file_chooses_the_sde():
    assert digits.get_config("ve").sde.name == "ve"
    _, _, mode = main.parse(["main.py", "--config=configs/digits.py:subvp", "--mode=check"])
    assert mode == "check"


def test_every_refusal_comes_from_one_function():
    config = base.get_config()
    config.data.image_size = 32
    config.model.attention = (17,)
    with pytest.raises(UserError, match="side 17 does not occur"):
        check.require("train", config)


def test_an_unwritable_workdir_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code = main.main(["main.py", DIGITS, f"--workdir={tmp_path / 'file' / 'run'}", "--mode=train"])
    error = capsys.readouterr().err.strip()
    assert code == 1 and "--workdir" in error and len(error.splitlines()) == 1


def test_sampling_before_training_says_so(tmp_path, capsys):
    code = main.main(["main.py", DIGITS, f"--workdir={tmp_path}", "--mode=sample"])
    assert code == 1 and "--mode=train first" in capsys.readouterr().err


RING = ("--config=configs/gaussian_mixture.py:ring", "--mode=check")


@pytest.mark.parametrize(
    ("mode", "override"),
    [
        ("sample", "sampling.num_samples"),
        ("sample", "sampling.batch_size"),
        ("sample", "mixture.components"),
        ("eval", "eval.loss_levels"),
        ("eval", "eval.max_images"),
        ("eval", "eval.batch_size"),
        ("eval", "eval.bound.levels"),
        ("eval", "eval.two_sample.num_samples"),
        ("variance", "variance.levels"),
        ("variance", "variance.examples"),
        ("optimal_grid", "optimal_grid.levels"),
        ("calibrate", "calibration.noises"),
        ("encode", "encoding.num_images"),
    ],
)
def test_sizes_that_no_memory_holds_are_refused_in_gib(mode, override, capsys):
    with pytest.raises(SystemExit):
        main.main(["main.py", *RING, f"--for={mode}", f"--config.{override}=1e11"])
    refused = [line for line in capsys.readouterr().out.splitlines() if line.startswith("refused: ")]
    assert len(refused) == 1 and f"{override}=100000000000" in refused[0] and "GiB" in refused[0]
    # It is what memory holds that refuses, not the number.
    assert main.main(["main.py", *RING, f"--for={mode}", f"--config.{override}=64"]) == 0


def test_infinity_is_taken_where_it_is_the_class_s_default():
    for predictor, field in (("edm", "churn_max"), ("sa_solver", "tau_max")):
        flags = [f"--config.sampling.predictor={predictor}", f"--config.sampling.predictor.{field}=inf"]
        assert main.main(["main.py", *RING, "--for=sample", *flags]) == 0


@pytest.mark.parametrize(
    ("text", "number"), [("1e5", 100_000), ("1.5e3", 1500), ("2E2", 200), ("1_000", 1000), ("-3", -3)]
)
def test_whole_numbers_may_be_written_with_an_exponent(text, number):
    config, _, _ = main.parse(["main.py", DIGITS, "--workdir=x", f"--config.training.steps={text}"])
    assert config.training.steps == number


def test_none_unsets_what_may_be_left_out():
    flags = ["--config.sampling.nfe=10", "--config.sampling.nfe=None", "--config.sampling.labels=None"]
    config, _, _ = main.parse(["main.py", DIGITS, "--workdir=x", *flags])
    assert config.sampling.nfe is None and config.sampling.labels is None


def test_the_home_folder_stands_for_its_sign_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/homes/someone")
    fields = [name for name in base.PATHS if name != "data.source"]
    flags = [f"--config.{field}=~/x" for field in fields]
    flags += ["--workdir=~/run", "--output=~/out", "--config.data.source=folder:~/photos"]
    config, given, _ = main.parse(["main.py", DIGITS, "--mode=sample", *flags])
    values = dict(leaves(config))
    assert {values[field] for field in fields} == {"/homes/someone/x"}
    assert values["data.source"] == "folder:/homes/someone/photos"
    assert given["workdir"] == "/homes/someone/run" and given["output"] == "/homes/someone/out"


def test_every_file_that_a_class_reads_is_among_the_paths():
    from experiment.create import FAMILIES

    read = {
        f"{path}.{f}"
        for path, table in FAMILIES.items()
        for c in table.values()
        for f in getattr(c, "FILES", ())
    }
    assert read and read <= set(base.PATHS)


BODY = "from configs import digits\n\n\ndef get_config(sde='vp'):\n    config = digits.get_config(sde)\n"


@pytest.mark.parametrize("folder", ["plain", "with:colon", "b.py:c"])
def test_a_config_may_lie_under_a_path_with_a_colon(folder, tmp_path):
    file = tmp_path / folder / "mine.py"
    file.parent.mkdir()
    file.write_text(f"{BODY}    return config\n")
    for argument, name in (("", "vp"), (":ve", "ve")):
        config, _, _ = main.parse(["main.py", f"--config={file}{argument}", f"--workdir={tmp_path}/a:b"])
        assert config.sde.name == name


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("return 3", ["get_config() returns 3", "base.get_config()"]),
        ("return None", ["returns None"]),
        ("return {'seed': 1}", ["{'seed': 1}"]),
        ("return type(config)()", ["is missing", "more"]),
        ("config.training.steps = None; return config", ["training.steps=None", "int"]),
        ("config.training.stepz = 3; return config", ["AttributeError", "stepz"]),
        ("config.training.steps = True; return config", ["training.steps=True", "bool"]),
        ("raise SystemExit(7)", ["SystemExit: 7"]),
        ("return undefined", ["NameError", "undefined"]),
    ],
)
def test_a_config_file_that_gives_something_else_is_one_line(end, words, tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(f"{BODY}    {end}\n")
    error = _refused(capsys, f"--config={file}", f"--workdir={tmp_path}", "--mode=train")
    assert len(error.splitlines()) == 1 and f"--config={file}" in error
    for word in words:
        assert word in error


def test_help_and_a_misspelt_field_import_nothing_heavy():
    for arguments in (["--help"], [DIGITS, "--workdir=x", "--config.sde.beta_mx=1"]):
        script = f"import sys, main; main.main(['main.py', *{arguments}]); assert 'jax' not in sys.modules"
        assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    "record",
    [
        '{"config": 3}',
        '{"config": {"seed": "zero"}}',
        '{"config": {"ema": {"decays": 3}}}',
        '{"config": {"training": 3}}',
        '{"config": {"optim": {"learning_rate": NaN}}}',
        "[" * 100_000,
        "3",
    ],
)
def test_a_record_that_is_none_is_one_line(record, tmp_path, capsys):
    (tmp_path / "config.json").write_text(record)
    error = _refused(capsys, f"--workdir={tmp_path}", "--mode=sample")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("more", ["foo", "--workdir=x"])
def test_the_list_stands_alone(more, capsys):
    assert main.main(["main.py", "--list", more]) == 2
    assert capsys.readouterr().err == f"error: --list stands alone; found --list {more}.\n"
