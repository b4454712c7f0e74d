"""Song, Meng, Ermon (2021), DDIM, arXiv 2010.02502: table 1."""

from papers.published import (
    Checkpoint,
    Column,
    Figure,
    Images,
    Mark,
    Protocol,
    Row,
    Table,
    sampler,
    split,
)

_PREDICTORS = {
    "eta = 0.0 (DDIM)": {"sampling.predictor": {"name": "ddim", "eta": 0.0}},
    "eta = 0.2": {"sampling.predictor": {"name": "ddim", "eta": 0.2}},
    "eta = 0.5": {"sampling.predictor": {"name": "ddim", "eta": 0.5}},
    "eta = 1.0": {"sampling.predictor": {"name": "ddim", "eta": 1.0}},
    "sigma-hat": {"sampling.predictor": {"name": "ancestral"}, "sampling.variance": {"name": "large"}},
}
_SUBSEQUENCE = {"CIFAR10": "leading_quadratic", "CelebA": "leading"}
_CONFIGS = {"CIFAR10": "vp/ddpm/cifar10", "CelebA": "ddim/celeba"}


def _row(data, label, figures):
    *few, last = split(figures)
    overrides = {**_PREDICTORS[label], "sampling.grid": {"name": _SUBSEQUENCE[data]}}
    # All 1,000 levels are no sub-sequence.
    everything = Figure(last, {"sampling.grid": {"name": "even"}})
    return Row(f"{data}, {label}", (*few, everything), _CONFIGS[data], overrides, small=data == "CIFAR10")


TABLE1 = Table(
    "Samples by steps S and noise eta, FID",
    "Song, Meng & Ermon 2021 (arXiv 2010.02502), table 1",
    Mark.READ,
    tuple(Column(f"S = {steps}", overrides=sampler(None, steps - 1)) for steps in (10, 20, 50, 100, 1000)),
    (
        _row("CIFAR10", "eta = 0.0 (DDIM)", "13.36 | 6.84 | 4.67 | 4.16 | 4.04"),
        _row("CIFAR10", "eta = 0.2", "14.04 | 7.11 | 4.77 | 4.25 | 4.09"),
        _row("CIFAR10", "eta = 0.5", "16.66 | 8.35 | 5.25 | 4.46 | 4.29"),
        _row("CIFAR10", "eta = 1.0", "41.07 | 18.36 | 8.01 | 5.78 | 4.73"),
        _row("CIFAR10", "sigma-hat", "367.43 | 133.37 | 32.72 | 9.99 | 3.17"),
        _row("CelebA", "eta = 0.0 (DDIM)", "17.33 | 13.73 | 9.17 | 6.53 | 3.51"),
        _row("CelebA", "eta = 0.2", "17.66 | 14.11 | 9.51 | 6.79 | 3.64"),
        _row("CelebA", "eta = 0.5", "19.86 | 16.06 | 11.01 | 8.09 | 4.28"),
        _row("CelebA", "eta = 1.0", "33.12 | 26.03 | 18.48 | 13.93 | 5.98"),
        _row("CelebA", "sigma-hat", "299.71 | 183.83 | 71.71 | 45.20 | 3.26"),
    ),
    Protocol(
        checkpoint=Checkpoint.RELEASED,
        images=Images.UNSTATED,
        t_min="the first level of the sub-sequence, then the last prediction",
    ),
    note="CIFAR10 is the checkpoint of Ho et al. 2020 there; sub-sequences are quadratic on CIFAR10 and "
    "linear on CelebA.",
)

TABLES = {"table1": TABLE1}
