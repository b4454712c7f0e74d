"""Bao, Li, Sun, Zhu, Zhang (2022), covariances with an imperfect mean, arXiv 2206.07309: tables 1 and 3.

SN-DPM and NPR-DPM: heads on the networks of Analytic-DPM.
"""

from papers.analytic_dpm import CONFIGS, MEASURED, PIXELS, SHARED, chain, flow, steps
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
    split,
)

_SOURCE = "Bao et al. 2022b (arXiv 2206.07309)"
_SEEN = "as the SANI paper quotes it"
_CALLS = (10, 25, 50, 100, 200)
_EVEN = {"name": "even"}


def head(kind):
    """Overrides of the training of a head on the network of `training.network_from`."""
    return {
        "denoiser.variance_head": kind,
        "loss.variance_weight": 1.0,
        "training.network_from": "{network}",
    }


HEADS = {"NPR": head("residual"), "SN": head("second_moment"), "OCM": head("covariance")}


_LATER = {
    "OCM": "the covariance's diagonal, matched as in Ou et al. 2024; not in the paper",
    "Jacobian": "two probes of the network's Jacobian; not in the paper",
}


def _row(data, label, figures, mark=None):
    name, _, forward = label.rpartition("-")
    # Unclipped in likelihoods; in samples as Analytic-DPM's rows.
    pixels = PIXELS[data] if forward == "DDPM" else 1.0
    make = chain if forward.startswith("DDPM") else flow
    if name in HEADS:
        settings = {**HEADS[name], **make("predicted", pixels)}
    elif name == "Jacobian":
        settings = chain("jacobian", pixels, probes=2)
    elif name == "Analytic":
        settings = make("analytic", pixels, file=MEASURED)
    else:
        settings = chain("small") if label.startswith("DDPM") else flow()
    return Row(
        f"{data}, {label}",
        tuple(Figure(text, steps(k, _EVEN)) for text, k in zip(split(figures), _CALLS, strict=True)),
        CONFIGS[data],
        settings,
        mark,
        small=data.startswith("CIFAR10"),
        note=_LATER.get(name),
    )


def _later(data):
    """Rows without published figures: later methods on the same networks."""
    return tuple(_row(data, f"{name}-DDPM", "- | - | - | - | -") for name in _LATER)


def _columns(metric):
    return tuple(Column(f"K = {k}", metric) for k in _CALLS)


TABLE1 = Table(
    "Samples along the even trajectory, FID",
    f"{_SOURCE}, table 1; {_SEEN}",
    Mark.SECONDARY,
    _columns(Metric.FID),
    (
        _row("CelebA 64x64", "DDPM beta-tilde", "36.69 | 24.46 | 18.96 | 14.31 | 10.48"),
        _row("CelebA 64x64", "Analytic-DDPM", "28.99 | 16.01 | 11.23 | 8.08 | 6.51"),
        _row("CelebA 64x64", "NPR-DDPM", "28.37 | 15.74 | 10.89 | 8.23 | 7.03"),
        _row("CelebA 64x64", "SN-DDPM", "20.60 | 12.00 | 7.88 | 5.89 | 5.02"),
        _row("CelebA 64x64", "DDIM", "20.54 | 13.54 | 9.33 | 6.60 | 4.96"),
        _row("CelebA 64x64", "Analytic-DDIM", "15.62 | 9.22 | 6.13 | 4.29 | 3.46"),
        _row("CelebA 64x64", "NPR-DDIM", "14.98 | 8.93 | 6.04 | 4.27 | 3.59"),
        _row("CelebA 64x64", "SN-DDIM", "10.20 | 5.48 | 3.83 | 3.04 | 2.85"),
        _row("CIFAR10 (LS)", "NPR-DDPM", "32.35 | 10.55 | 6.18 | 4.52 | 3.57"),
        _row("CIFAR10 (LS)", "SN-DDPM", "24.06 | 6.91 | 4.63 | 3.67 | 3.11"),
        _row("CIFAR10 (LS)", "NPR-DDIM", "13.34 | 5.38 | 3.95 | 3.53 | 3.42"),
        _row("CIFAR10 (LS)", "SN-DDIM", "12.19 | 4.28 | 3.39 | 3.23 | 3.22"),
        *_later("CIFAR10 (LS)"),
        _row("CIFAR10 (CS)", "NPR-DDPM", "19.94 | 7.99 | 5.31 | 4.52 | 4.10"),
        _row("CIFAR10 (CS)", "SN-DDPM", "16.33 | 6.05 | 4.17 | 3.83 | 3.72"),
        _row("CIFAR10 (CS)", "NPR-DDIM", "22.81 | 9.47 | 6.04 | 5.02 | 5.06"),
        _row("CIFAR10 (CS)", "SN-DDIM", "17.90 | 7.36 | 5.16 | 4.63 | 4.63"),
        *_later("CIFAR10 (CS)"),
    ),
    Protocol(
        checkpoint=Checkpoint.LEAST_FID_1000,
        images=Images.TRAINING,
        code=Code.PYTORCH_FID,
        t_min="level 1, whose mean is shown",
    ),
    small=SHARED,
    note="CelebA, DDIM at K = 25: Analytic-DPM prints 13.45. CIFAR10 (CS), SN-DDPM at K = 50: 4.19 in "
    "another quotation. CIFAR10 (LS), SN-DDPM at K = 200: 3.11 as quoted, which may be "
    "a slip for 3.31.",
)

TABLE3 = Table(
    "Likelihood under the DDPM forward process, even trajectory, bits/dim of the chain of K steps",
    f"{_SOURCE}, table 3; {_SEEN}",
    Mark.SECONDARY,
    _columns(Metric.BOUND),
    (
        _row("CIFAR10 (LS)", "NPR-DDPM", "5.40 | 4.64 | 4.25 | 3.98 | 3.79"),
        _row("CIFAR10 (LS)", "SN-DDPM", "30.79 | 11.83 | 7.13 | 5.24 | 4.39"),
        *_later("CIFAR10 (LS)"),
        _row("CIFAR10 (CS)", "NPR-DDPM", "5.03 | 4.33 | 3.99 | 3.76 | 3.59"),
        _row("CIFAR10 (CS)", "SN-DDPM", "90.85 | 19.81 | 9.72 | 6.72 | 5.58"),
        *_later("CIFAR10 (CS)"),
        _row("CelebA 64x64", "NPR-DDPM", "4.46 | 3.78 | 3.40 | 3.11 | 2.89"),
        _row("CelebA 64x64", "SN-DDPM", "18.09 | 8.05 | 5.29 | 4.05 | 3.40"),
    ),
    Protocol(checkpoint=Checkpoint.LEAST_FID_1000, images=Images.TEST, t_min="level 1, decoded to pixels"),
    small=SHARED,
)

TABLES = {"table1": TABLE1, "table3": TABLE3}
