"""Bao, Li, Zhu, Zhang (2022), Analytic-DPM, arXiv 2201.06503: tables 1 and 2."""

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

_SOURCE = "Bao et al. 2022a (arXiv 2201.06503)"
_LS, _CS, _CELEBA, _IMAGENET = "CIFAR10 (LS)", "CIFAR10 (CS)", "CelebA 64x64", "ImageNet 64x64"
_SMALL, _LARGE = "DDPM, sigma^2 = beta-tilde", "DDPM, sigma^2 = beta"
CONFIGS = {
    _LS: "analytic_dpm/cifar10_linear",
    _CS: "analytic_dpm/cifar10_cosine",
    _CELEBA: "analytic_dpm/celeba64",
    _IMAGENET: "analytic_dpm/imagenet64",
}
# Grey levels to which the noise of the last noisy step of DDPM is held; of DDIM it is 1 on all.
PIXELS = {_LS: 2.0, _CS: 1.0, _CELEBA: 2.0, _IMAGENET: 1.0}
MEASURED = "{workdir}/variance.npz"
CALLS = (10, 25, 50, 100, 200, 400, 1000)
# At a small scale one network serves both schedules: its process covers the noise levels of either, and it is
# told log sigma, not a level.
SHARED = {
    "sde": {"name": "cosine", "log_snr_max": 12.0, "log_snr_min": -20.0},
    "denoiser.noise_input": "log_sigma",
    "loss.time_grid": "continuous",
    "loss.noise_levels": 1000,
    "data.dequantize": False,
}


def chain(variance, pixels=None, **of_variance):
    """Overrides of an ancestral chain: in sampling, where the last step is clipped, and in the bound."""
    choice = {"name": variance, **of_variance}
    clipped = choice if pixels is None else {**choice, "pixels": pixels}
    return {
        "sampling.predictor": {"name": "ancestral"},
        "sampling.variance": clipped,
        "eval.bound.variance": choice,
    }


def flow(variance="small", pixels=None, **of_variance):
    """Overrides of DDIM."""
    clipped = {"name": variance, **of_variance, **({} if pixels is None else {"pixels": pixels})}
    return {"sampling.predictor": {"name": "ddim", "eta": 0.0}, "sampling.variance": clipped}


def steps(calls, grid="even"):
    """Overrides of K calls, evenly spaced among the levels, and of the bound on the same levels."""
    return {"sampling.steps": calls - 1, "sampling.grid": grid, "eval.bound.grid": "sampling"}


def _method(label, data):
    return {
        _SMALL: chain("small"),
        _LARGE: chain("large", PIXELS[data]),
        "Analytic-DDPM": chain("analytic", PIXELS[data], file=MEASURED),
        "DDIM": flow(),
        "Analytic-DDIM": flow("analytic", 1.0, file=MEASURED),
    }[label]


def _columns(metric):
    """K of 1,000 levels; ImageNet's K, of 4,000, stand in brackets."""
    of_imagenet = (25, 50, 100, 200, 400, 1000, 4000)
    return tuple(
        Column(f"K = {k} ({n})", metric, small=k != 400) for k, n in zip(CALLS, of_imagenet, strict=True)
    )


def _row(data, label, figures):
    calls = (25, 50, 100, 200, 400, 1000, 4000) if data == _IMAGENET else CALLS
    optimal, _, method = label.partition(" ")
    method = method if optimal in ("ET", "OT") else label
    grid = {"name": "even"}
    if optimal == "OT":
        grid = {"name": "optimal", "file": "{workdir}/optimal_grid.npz"}
    return Row(
        f"{data}, {label}",
        tuple(Figure(text, steps(k, grid)) for text, k in zip(split(figures), calls, strict=True)),
        CONFIGS[data],
        _method(method, data),
        small=data.startswith("CIFAR10") and optimal != "OT",
    )


_PROTOCOL = Protocol(
    checkpoint=Checkpoint.LEAST_FID_1000,
    images=Images.TRAINING,
    code=Code.PYTORCH_FID,
    t_min="level 1, whose mean is shown",
)

TABLE1 = Table(
    "Likelihood under the DDPM forward process, bits/dim of the chain of K steps",
    f"{_SOURCE}, table 1",
    Mark.READ,
    _columns(Metric.BOUND),
    (
        _row(_LS, f"ET {_SMALL}", "74.95 | 24.98 | 12.01 | 7.08 | 5.03 | 4.29 | 3.73"),
        _row(_LS, f"ET {_LARGE}", "6.99 | 6.11 | 5.44 | 4.86 | 4.39 | 4.07 | 3.75"),
        _row(_LS, "ET Analytic-DDPM", "5.47 | 4.79 | 4.38 | 4.07 | 3.84 | 3.71 | 3.59"),
        _row(_LS, f"OT {_LARGE}", "5.38 | 4.34 | 3.97 | 3.82 | 3.77 | 3.75 | 3.75"),
        _row(_LS, "OT Analytic-DDPM", "4.11 | 3.68 | 3.61 | 3.59 | 3.59 | 3.59 | 3.59"),
        _row(_CS, f"ET {_SMALL}", "75.96 | 24.94 | 11.96 | 7.04 | 4.95 | 4.19 | 3.60"),
        _row(_CS, f"ET {_LARGE}", "6.51 | 5.55 | 4.92 | 4.41 | 4.03 | 3.78 | 3.54"),
        _row(_CS, "ET Analytic-DDPM", "5.08 | 4.45 | 4.09 | 3.83 | 3.64 | 3.53 | 3.42"),
        _row(_CS, f"OT {_LARGE}", "5.51 | 4.30 | 3.86 | 3.65 | 3.57 | 3.54 | 3.54"),
        _row(_CS, "OT Analytic-DDPM", "3.99 | 3.56 | 3.47 | 3.44 | 3.43 | 3.42 | 3.42"),
        _row(_CELEBA, f"ET {_SMALL}", "33.42 | 13.09 | 7.14 | 4.60 | 3.45 | 3.03 | 2.71"),
        _row(_CELEBA, f"ET {_LARGE}", "6.67 | 5.72 | 4.98 | 4.31 | 3.74 | 3.34 | 2.93"),
        _row(_CELEBA, "ET Analytic-DDPM", "4.54 | 3.89 | 3.48 | 3.16 | 2.92 | 2.79 | 2.66"),
        _row(_CELEBA, f"OT {_LARGE}", "4.76 | 3.58 | 3.16 | 2.99 | 2.94 | 2.93 | 2.93"),
        _row(_CELEBA, "OT Analytic-DDPM", "2.97 | 2.71 | 2.67 | 2.66 | 2.66 | 2.66 | 2.66"),
        _row(_IMAGENET, f"ET {_SMALL}", "105.87 | 46.25 | 22.02 | 12.10 | 7.59 | 5.04 | 3.89"),
        _row(_IMAGENET, f"ET {_LARGE}", "5.81 | 5.20 | 4.70 | 4.31 | 4.04 | 3.81 | 3.65"),
        _row(_IMAGENET, "ET Analytic-DDPM", "4.78 | 4.42 | 4.15 | 3.95 | 3.81 | 3.69 | 3.61"),
        _row(_IMAGENET, f"OT {_LARGE}", "4.56 | 4.09 | 3.84 | 3.73 | 3.68 | 3.65 | 3.65"),
        _row(_IMAGENET, "OT Analytic-DDPM", "3.83 | 3.70 | 3.64 | 3.62 | 3.62 | 3.61 | 3.61"),
    ),
    Protocol(
        checkpoint=Checkpoint.LEAST_FID_1000, images=Images.TEST, t_min="level 1, decoded to pixels"
    ),
    small=SHARED,
    note="ET: even trajectory; OT: optimal trajectory.",
)  # fmt: skip

TABLE2 = Table(
    "Samples along the even trajectory, FID",
    f"{_SOURCE}, table 2",
    Mark.READ,
    _columns(Metric.FID),
    (
        _row(_LS, _SMALL, "44.45 | 21.83 | 15.21 | 10.94 | 8.23 | 6.43 | 5.11"),
        _row(_LS, _LARGE, "233.41 | 125.05 | 66.28 | 31.36 | 12.96 | 4.86 | 3.04"),
        _row(_LS, "Analytic-DDPM", "34.26 | 11.60 | 7.25 | 5.40 | 4.01 | 3.62 | 4.03"),
        _row(_LS, "DDIM", "21.31 | 10.70 | 7.74 | 6.08 | 5.07 | 4.61 | 4.13"),
        _row(_LS, "Analytic-DDIM", "14.00 | 5.81 | 4.04 | 3.55 | 3.39 | 3.50 | 3.74"),
        _row(_CS, _SMALL, "34.76 | 16.18 | 11.11 | 8.38 | 6.66 | 5.65 | 4.92"),
        _row(_CS, _LARGE, "205.31 | 84.71 | 37.35 | 14.81 | 5.74 | 3.40 | 3.34"),
        _row(_CS, "Analytic-DDPM", "22.94 | 8.50 | 5.50 | 4.45 | 4.04 | 3.96 | 4.31"),
        _row(_CS, "DDIM", "34.34 | 16.68 | 10.48 | 7.94 | 6.69 | 5.78 | 4.89"),
        _row(_CS, "Analytic-DDIM", "26.43 | 9.96 | 6.02 | 4.88 | 4.92 | 5.00 | 4.66"),
        _row(_CELEBA, _SMALL, "36.69 | 24.46 | 18.96 | 14.31 | 10.48 | 8.09 | 5.95"),
        _row(_CELEBA, _LARGE, "294.79 | 115.69 | 53.39 | 25.65 | 9.72 | 3.95 | 3.16"),
        _row(_CELEBA, "Analytic-DDPM", "28.99 | 16.01 | 11.23 | 8.08 | 6.51 | 5.87 | 5.21"),
        _row(_CELEBA, "DDIM", "20.54 | 13.45 | 9.33 | 6.60 | 4.96 | 4.15 | 3.40"),
        _row(_CELEBA, "Analytic-DDIM", "15.62 | 9.22 | 6.13 | 4.29 | 3.46 | 3.38 | 3.13"),
        _row(_IMAGENET, _SMALL, "29.21 | 21.71 | 19.12 | 17.81 | 17.48 | 16.84 | 16.55"),
        _row(_IMAGENET, _LARGE, "170.28 | 83.86 | 45.04 | 28.39 | 21.38 | 17.58 | 16.38"),
        _row(_IMAGENET, "Analytic-DDPM", "32.56 | 22.45 | 18.80 | 17.16 | 16.40 | 16.14 | 16.34"),
        _row(_IMAGENET, "DDIM", "26.06 | 20.10 | 18.09 | 17.84 | 17.74 | 17.73 | 19.00"),
        _row(_IMAGENET, "Analytic-DDIM", "25.98 | 19.23 | 17.73 | 17.49 | 17.44 | 17.57 | 18.98"),
    ),
    _PROTOCOL,
    small=SHARED,
    note="Statistics of CelebA are of 50,000 training images. The 3.04 of CIFAR10 (LS) is better than the "
    "3.17 of Ho et al. 2020 by the architecture of Nichol & Dhariwal 2021.",
)  # fmt: skip

TABLES = {"table1": TABLE1, "table2": TABLE2}
