"""Ho, Jain, Abbeel (2020), DDPM, arXiv 2006.11239: tables 1 and 2."""

from papers.published import (
    Checkpoint,
    Code,
    Column,
    Figure,
    Images,
    Mark,
    Metric,
    Protocol,
    Row,
    Table,
)

_SOURCE = "Ho et al. 2020 (arXiv 2006.11239)"
_PROTOCOL = Protocol(
    checkpoint=Checkpoint.LEAST_FID,
    images=Images.TRAINING,
    code=Code.TTUR,
    t_min="level 1 of 1,000, whose mean is shown",
)
_DDPM = "vp/ddpm/cifar10"
_BOUND = {
    "eval.bound.decoder": "pixels",
    "eval.bound.levels": 1000,
    "eval.bound.variance": {"name": "large"},
}
_MU = "a network that predicts the posterior's mean is none of the parametrizations"
# The weighting by which the terms of the bound count, of a fixed variance.
_L = "the bound with a fixed variance is no objective here; its simple form is"
_UNSTABLE = "unstable to train, no figure was printed"

TABLE1 = Table(
    "CIFAR-10",
    f"{_SOURCE}, table 1",
    Mark.READ,
    (
        Column("IS", Metric.INCEPTION_SCORE),
        Column("FID"),
        Column("NLL test (train)", Metric.BOUND, _BOUND),
    ),
    (
        Row("EBM (conditional)", ("8.30", "37.9", "-")),
        Row("JEM (conditional)", ("8.76", "38.4", "-")),
        Row("BigGAN (conditional)", ("9.22", "14.73", "-")),
        Row("StyleGAN2 + ADA v1 (conditional)", ("10.06", "2.67", "-")),
        Row("Diffusion (original)", ("-", "-", "≤ 5.40")),
        Row("Gated PixelCNN", ("4.60", "65.93", "3.03 (2.90)")),
        Row("Sparse Transformer", ("-", "-", "2.80")),
        Row("PixelIQN", ("5.29", "49.46", "-")),
        Row("EBM", ("6.78", "38.2", "-")),
        Row("NCSNv2", ("-", "31.75", "-")),
        Row("NCSN", ("8.87±0.12", "25.32", "-")),
        Row("SNGAN", ("8.22±0.05", "21.7", "-")),
        Row("SNGAN-DDLS", ("9.09±0.10", "15.42", "-")),
        Row("StyleGAN2 + ADA v1", ("9.74±0.05", "3.26", "-")),
        Row(
            "DDPM (L, fixed isotropic Sigma)",
            tuple(Figure(text, cannot=_L) for text in ("7.67±0.13", "13.51", "≤ 3.70 (3.69)")),
            _DDPM,
        ),
        Row("DDPM (L_simple)", ("9.46±0.11", "3.17", "≤ 3.75 (3.72)"), _DDPM),
    ),
    _PROTOCOL,
    note="FID against test images: 5.24 for the last row. Its network has two attentions more than that of "
    "the config (35.7 against 35.2 million parameters).",
)


def _ablation(label, score, fid, cannot=None):
    return Row(label, (Figure(score, cannot=cannot), Figure(fid, cannot=cannot)), _DDPM)


TABLE2 = Table(
    "Parametrization and objective, unconditional CIFAR-10",
    f"{_SOURCE}, table 2",
    Mark.READ,
    (Column("IS", Metric.INCEPTION_SCORE), Column("FID")),
    (
        _ablation("mu-tilde prediction: L, learned diagonal Sigma", "7.28±0.10", "23.69", _MU),
        _ablation("mu-tilde prediction: L, fixed isotropic Sigma", "8.06±0.09", "13.22", _MU),
        _ablation("mu-tilde prediction: ‖mu-tilde - mu-tilde_theta‖²", "-", "-", _UNSTABLE),
        _ablation("eps prediction: L, learned diagonal Sigma", "-", "-", _UNSTABLE),
        _ablation("eps prediction: L, fixed isotropic Sigma", "7.67±0.13", "13.51", _L),
        _ablation("eps prediction: ‖eps - eps_theta‖² (L_simple)", "9.46±0.11", "3.17"),
    ),
    _PROTOCOL,
)

TABLES = {"table1": TABLE1, "table2": TABLE2}
