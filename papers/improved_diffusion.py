"""Nichol, Dhariwal (2021), Improved DDPM, arXiv 2102.09672: tables 1, 2 and 4."""

from papers.published import Checkpoint, Code, Column, Images, Mark, Metric, Protocol, Row, Table, split

_SOURCE = "Nichol & Dhariwal 2021 (arXiv 2102.09672)"
_SEEN = "seen in a public reading note"
_COLUMNS = (Column("NLL", Metric.BOUND), Column("FID"))
_CIFAR10, _IMAGENET = "improved_diffusion/cifar10", "improved_diffusion/imagenet64"


def _levels(count, schedule):
    """All of `count` levels, in training, sampling and the bound."""
    return {
        "sde": {"name": schedule, "noise_levels": count},
        "loss.noise_levels": count,
        "sampling.steps": count - 1,
        "eval.bound.levels": count,
    }


_MEAN_ALONE = {
    "denoiser.variance_head": "none",
    "loss.variance_weight": 0.0,
    "sampling.variance": {"name": "large"},
    "eval.bound.variance": {"name": "large"},
}
_SHORT = {"training.steps": 200_000}


def _row(label, figures, config, *overrides):
    merged = {path: value for part in overrides for path, value in part.items()}
    return Row(label, split(figures), config, merged)


_PROTOCOL = Protocol(images=Images.TRAINING, code=Code.UNSTATED, checkpoint=Checkpoint.LAST)

TABLE1 = Table(
    "Unconditional ImageNet 64x64: iterations, timesteps, schedule, objective",
    f"{_SOURCE}, table 1; {_SEEN}",
    Mark.SECONDARY,
    _COLUMNS,
    (
        _row("200K, 1K, linear, L_simple", "3.99 | 32.5", f"{_IMAGENET}_cosine_hybrid", _SHORT, _MEAN_ALONE,
             _levels(1000, "ddpm")),
        _row("200K, 4K, linear, L_simple", "3.77 | 31.3", f"{_IMAGENET}_cosine_hybrid", _SHORT, _MEAN_ALONE,
             _levels(4000, "ddpm")),
        _row("200K, 4K, linear, L_hybrid", "3.66 | 32.2", f"{_IMAGENET}_cosine_hybrid", _SHORT,
             _levels(4000, "ddpm")),
        _row("200K, 4K, cosine, L_simple", "3.68 | 27.0", f"{_IMAGENET}_cosine_hybrid", _SHORT, _MEAN_ALONE),
        _row("200K, 4K, cosine, L_hybrid", "3.62 | 28.0", f"{_IMAGENET}_cosine_hybrid", _SHORT),
        _row("200K, 4K, cosine, L_vlb", "3.57 | 56.7", f"{_IMAGENET}_cosine_vlb", _SHORT),
        _row("1.5M, 4K, cosine, L_hybrid", "3.57 | 19.2", f"{_IMAGENET}_cosine_hybrid"),
        _row("1.5M, 4K, cosine, L_vlb", "3.53 | 40.1", f"{_IMAGENET}_cosine_vlb"),
    ),
    Protocol(
        samples=10_000, images=Images.TRAINING, code=Code.UNSTATED, checkpoint=Checkpoint.LAST
    ),
    note="FID of 10,000 samples, about 2 points above that of 50,000.",
)  # fmt: skip

TABLE2 = Table(
    "CIFAR-10, 500K iterations: timesteps, schedule, objective",
    f"{_SOURCE}, table 2; {_SEEN}",
    Mark.SECONDARY,
    _COLUMNS,
    (
        _row("1K, linear, L_simple", "3.73 | 3.29", f"{_CIFAR10}_linear_simple"),
        _row("4K, linear, L_simple", "3.37 | 2.90", f"{_CIFAR10}_linear_simple", _levels(4000, "ddpm")),
        _row("4K, linear, L_hybrid", "3.26 | 3.07", f"{_CIFAR10}_cosine_hybrid", _levels(4000, "ddpm"),
             {"model.dropout": 0.1}),
        _row("4K, cosine, L_simple", "3.26 | 3.05", f"{_CIFAR10}_cosine_simple"),
        _row("4K, cosine, L_hybrid", "3.17 | 3.19", f"{_CIFAR10}_cosine_hybrid"),
        _row("4K, cosine, L_vlb", "2.94 | 11.47", f"{_CIFAR10}_cosine_vlb"),
    ),
    _PROTOCOL,
)  # fmt: skip

TABLE4 = Table(
    "Class-conditional ImageNet 64x64, 250 steps",
    f"{_SOURCE}, table 4; {_SEEN}",
    Mark.SECONDARY,
    (Column("FID"), Column("precision", Metric.PRECISION), Column("recall", Metric.RECALL)),
    (
        Row("BigGAN-deep (100M)", ("4.06", "0.86", "0.59")),
        Row("Improved Diffusion, small (100M)", ("6.92", "0.77", "0.72")),
        Row("Improved Diffusion, large (270M)", ("2.92", "0.82", "0.71"), f"{_IMAGENET}_conditional"),
    ),
    _PROTOCOL,
)

TABLES = {"table1": TABLE1, "table2": TABLE2, "table4": TABLE4}
