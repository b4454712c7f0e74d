"""What the command line says when something is wrong: one line, exit code 2, nothing started."""

import pytest

import main
from components import UserError
from configs import base, digits
from modes import check


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
        ((DIGITS, "--mode=table"), ["--mode=coefficients now"]),
        (("--workdir=/proc/nowhere", "--mode=sample"), ["--config is missing", "config.json"]),
        (("--config=configs", "--mode=check"), ["no file"]),
        ((*TRAIN, "surplus"), ["surplus"]),
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
