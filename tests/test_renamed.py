"""Every field and mode of version 0.1 is answered: it stands, it names a group, or its new name is told."""

import pytest

import main
import overrides
from components import ConfigError
from configs import base, renamed
from modes import MODES
from workdir.files import write_json
from workdir.saved_config import leaves, read_config

OLD_MODES = "train sample eval encode calibrate variance trajectory table check inspect prepare"
OLD_FIELDS = {
    "calibration": ("batch_size fine_steps nfe noises pictures starts "),
    "checkpoint": ("every keep keep_every "),
    "data": (
        "centered channels dequantize directory holdout image_size levels memory_gib random_flip "
        "source threads "
    ),
    "denoiser": ("conditioning parametrization sigma_data variance_head "),
    "ema": ("decays ramp "),
    "encoding": ("interpolations num_images temperatures tolerance "),
    "eval": (
        "batch_size bits_per_dim bound_clip bound_decoder bound_grid bound_images bound_levels "
        "bound_variance continuous_bound dequantizations diagnostic_images diagnostics discrete_bound "
        "loss_levels max_images neighbours num_samples probe probes solver tolerance "
    ),
    "loss": (
        "log_sigma_mean log_sigma_std low_discrepancy min_snr_gamma noise_levels p2_gamma p2_k "
        "reduction sigmoid_bias time_grid time_sampling variance_relative variance_weight weighting "
    ),
    "mixture": ("components dimension name rank side spread "),
    "model": ("attention blocks dropout dtype fourier_scale multipliers name time_embedding width "),
    "optim": ("beta1 beta2 grad_clip learning_rate name schedule warmup weight_decay "),
    "sampling": (
        "absolute_tolerance batch_size churn churn_max churn_min churn_noise corrector corrector_norm "
        "corrector_order corrector_steps data_std eta file final_denoise grid grid_file method nfe "
        "num_samples order power prediction predictor probability_flow published redraw "
        "relative_tolerance restart_max restart_min restart_steps restarts rho rows snr start steps "
        "tau tau_max tau_min temperature threshold threshold_quantile threshold_value times tolerance "
        "toward_zero unic variable variance variance_average variance_file variance_pixels "
        "variance_probes variant "
    ),
    "sde": (
        "beta_max beta_min image_side log_snr_max log_snr_min name noise_levels noise_side "
        "noise_side_high noise_side_low sampling_t_min sigma_max sigma_min t_max t_min "
    ),
    "": ("seed "),
    "training": ("batch_size eval_every jitted_steps log_every network_from parallel sample_every steps "),
    "trajectory": ("batch_size examples grid levels steps "),
    "variance": ("batch_size examples levels "),
}
FIELDS = [f"{group}.{name}".lstrip(".") for group, names in OLD_FIELDS.items() for name in names.split()]
CONFIG = "--config=configs/digits.py"


def test_all_fields_of_the_old_schema_are_here():
    assert len(FIELDS) == len(set(FIELDS)) == 174


@pytest.mark.parametrize("field", FIELDS)
def test_an_old_field_is_taken_or_answered(field):
    config = base.get_config()
    known = dict(leaves(config))
    if field in renamed.FIELDS:
        assert all(new in known or f"{new}.name" in known for new in renamed.FIELDS[field])
        with pytest.raises(ConfigError) as caught:
            main.parse(["main.py", CONFIG, "--workdir=x", f"--config.{field}=1"])
        assert all(f"--config.{new}" in str(caught.value) for new in renamed.FIELDS[field])
        assert len(str(caught.value).splitlines()) == 1
    elif field not in known:
        # A group of that name, which the same flag sets.
        parsed, _, _ = main.parse(["main.py", CONFIG, "--workdir=x", f"--config.{field}=some"])
        assert dict(leaves(parsed))[f"{field}.name"] == "some"


def test_what_is_renamed_has_no_old_meaning():
    known = dict(leaves(base.get_config()))
    assert not set(renamed.FIELDS) & set(known)
    assert set(renamed.FIELDS) <= set(FIELDS)


@pytest.mark.parametrize("flag", renamed.EVALUATORS)
def test_a_flag_of_an_evaluator_is_answered_by_its_name(flag):
    with pytest.raises(ConfigError) as caught:
        main.parse(["main.py", CONFIG, "--workdir=x", f"--config.{flag}=True"])
    assert renamed.EVALUATORS[flag] in str(caught.value) and "eval.evaluators" in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ({}, ("loss", "two_sample", "bits_per_dim")),
        (
            {"eval.bits_per_dim.compute": False, "eval.bound.discrete": True},
            ("loss", "two_sample", "discrete_bound"),
        ),
        ({"eval.diagnostics.compute": True}, ("loss", "two_sample", "bits_per_dim", "diagnostics")),
    ],
)
def test_the_config_of_an_older_run_names_the_evaluators_that_its_flags_chose(flags, names, tmp_path):
    saved = base.get_config().to_dict()
    for missing in ("evaluators", "follow", "sample_quality", "features", "reference"):
        del saved["eval"][missing]
    for path, value in flags.items():
        _, group, name = path.split(".")
        saved["eval"][group][name] = value
    write_json(tmp_path / "config.json", {"config": saved})
    config = read_config(tmp_path, base.get_config(), renamed.upgraded)
    assert config.eval.evaluators == names


@pytest.mark.parametrize("mode", OLD_MODES.split())
def test_an_old_mode_is_taken_or_answered(mode):
    if mode in MODES:
        return
    assert renamed.MODES[mode] in MODES
    with pytest.raises(ConfigError, match=f"--mode={renamed.MODES[mode]} now"):
        main.parse(["main.py", CONFIG, f"--mode={mode}"])


def test_the_closest_name_is_for_what_was_never_a_name():
    with pytest.raises(ConfigError, match='Did you mean "--config.sampling.predictor.order"'):
        main.parse(["main.py", CONFIG, "--workdir=x", "--config.sampling.predictor.ordr=3"])


@pytest.mark.parametrize(
    "form", [["--config.sampling.predictor=edm"], ["--config.sampling.predictor", "edm"]]
)
def test_a_group_is_set_by_its_name_in_either_form(form):
    parsed, _, _ = main.parse(["main.py", CONFIG, "--workdir=x", *form])
    plain, _, _ = main.parse(["main.py", CONFIG, "--workdir=x", "--config.sampling.predictor.name=edm"])
    assert parsed == plain and parsed.sampling.predictor.name == "edm"


def test_every_group_with_a_name_is_set_by_it_and_replaced_by_a_dict():
    config = base.get_config()
    groups = [path for path, named in overrides.groups(config) if named]
    assert {"sde", "model", "optim", "sampling.grid", "eval.bound.variance", "loss.weighting"} <= set(groups)
    for path in groups:
        command = ["main.py", CONFIG, "--workdir=x", "--mode=sample", f"--config.{path}=some"]
        parsed, _, _ = main.parse(command)
        assert dict(leaves(parsed))[f"{path}.name"] == "some"
    replaced = "--config.sampling.predictor={'name': 'edm', 'order': 1}"
    parsed, _, _ = main.parse(["main.py", CONFIG, "--workdir=x", replaced])
    given = {name: value for name, value in parsed.sampling.predictor.items() if value is not None}
    assert given == {"name": "edm", "order": 1}
