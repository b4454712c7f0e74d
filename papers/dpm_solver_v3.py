"""Zheng, Lu, Chen, Zhu (2023), DPM-Solver-v3, arXiv 2310.13268: solvers beside each other on CIFAR-10.

DPM-Solver, DPM-Solver++, UniPC, DDIM, Heun as that paper ran them, all on the same two models.
"""

from papers.published import Checkpoint, Column, Figure, Mark, Protocol, Row, Table, sampler, split

_SOURCE = "Zheng et al. 2023 (arXiv 2310.13268)"
_SDE = "ScoreSDE"
_MODELS = {_SDE: "vp/cifar10_ddpmpp_deep_continuous", "EDM": "edm/cifar10_uncond_vp"}
_CALLS = (5, 6, 8, 10, 12, 15, 20, 25)
_V3 = "DPM-Solver-v3 is none of the solvers; --mode=calibrate fits one to a run"
_COPIED = "another paper's own figures"
_PROTOCOL = Protocol(
    checkpoint=Checkpoint.RELEASED,
    t_min="1e-3 to 15 steps, 1e-4 above (their repository); no last denoising step",
)


def _log_snr(predictor, steps):
    return sampler(predictor, steps, grid="log_snr", final_denoise=False)


def _row(label, model, figures, settings, note=None):
    """settings: calls -> overrides, or the reason why there are none."""
    texts = split(figures)
    found = []
    for text, calls in zip(texts, _CALLS[: len(texts)], strict=True):
        if text == "-":
            found.append(text)
        elif isinstance(settings, str):
            found.append(Figure(text, cannot=settings))
        else:
            last = {} if calls <= 15 or model == "EDM" else {"sde.sampling_t_min": 1e-4}
            found.append(Figure(text, {**settings(calls), **last}))
    return Row(f"{model}, {label}", tuple(found), _MODELS[model], note=note)


def _heun(calls):
    # 2 calls a step, and the last one Euler's.
    return sampler({"name": "edm", "order": 2}, max(1, calls // 2), grid={"name": "rho", "rho": 7.0})


def _multistep(predictor):
    return lambda calls: _log_snr(predictor, calls)


_PLUS = _multistep({"name": "dpm_solver++", "order": 3})
_UNIPC = _multistep({"name": "unipc", "order": 3, "variant": "bh2"})

TABLE1 = Table(
    "Solvers by calls, CIFAR-10, FID",
    f"{_SOURCE}, table 1",
    Mark.READ,
    tuple(Column(f"{calls} calls") for calls in _CALLS),
    (
        _row("DEIS (its authors' own)", _SDE, "15.37 | - | - | 4.17 | - | 3.37 | 2.86 | -", _COPIED),
        _row("DPM-Solver++", _SDE, "28.53 | 13.48 | 5.34 | 4.01 | 4.04 | 3.32 | 2.90 | 2.76", _PLUS),
        _row("UniPC", _SDE, "23.71 | 10.41 | 5.16 | 3.93 | 3.88 | 3.05 | 2.73 | 2.65", _UNIPC),
        _row("DPM-Solver-v3", _SDE, "12.76 | 7.40 | 3.94 | 3.40 | 3.24 | 2.91 | 2.71 | 2.64", _V3),
        _row("Heun's 2nd", "EDM", "320.80 | 103.86 | 39.66 | 16.57 | 7.59 | 4.76 | 2.51 | 2.12", _heun),
        _row("DPM-Solver++", "EDM", "24.54 | 11.85 | 4.36 | 2.91 | 2.45 | 2.17 | 2.05 | 2.02", _PLUS),
        _row("UniPC", "EDM", "23.52 | 11.10 | 3.86 | 2.85 | 2.38 | 2.08 | 2.01 | 2.00", _UNIPC),
        _row("DPM-Solver-v3", "EDM", "12.21 | 8.56 | 3.50 | 2.51 | 2.24 | 2.10 | 2.02 | 2.00", _V3),
    ),
    _PROTOCOL,
    note="UniPC there is the better of its variants bh1 and bh2 at each number of calls; bh2 here. Its own "
    "abstract (arXiv 2302.04867) has 3.87 at 10 calls on ScoreSDE.",
)  # fmt: skip


TABLE12 = Table(
    "Single-step (S) against multistep (M), CIFAR-10, ScoreSDE, FID",
    f"{_SOURCE}, table 12",
    Mark.READ,
    TABLE1.columns,
    (
        _row(
            "DPM-Solver (S)", _SDE, "290.51 | 23.78 | 23.51 | 4.67 | 4.97 | 3.34 | 2.85 | 2.70",
            _multistep("dpm_solver_fast"),
        ),
        _row(
            "DPM-Solver (M)", _SDE, "27.40 | 17.85 | 9.04 | 6.41 | 5.31 | 4.10 | 3.30 | 2.98",
            "DPM-Solver with several steps is none of the solvers: it predicts the noise",
        ),
        _row(
            "DPM-Solver++ (S)", _SDE, "51.80 | 38.54 | 12.13 | 6.52 | 6.36 | 4.56 | 3.52 | 3.09",
            "its orders by the number of calls are not printed",
        ),
        _row(
            "DPM-Solver++ (M)", _SDE, "28.53 | 13.48 | 5.34 | 4.01 | 4.04 | 3.32 | 2.90 | 2.76",
            _PLUS,
        ),
        _row(
            "DPM-Solver-v3 (S)", _SDE, "21.83 | 16.81 | 7.93 | 5.76 | 5.17 | 3.99 | 3.22 | 2.96", _V3,
        ),
        _row(
            "DPM-Solver-v3 (M)", _SDE, "12.76 | 7.40 | 3.94 | 3.40 | 3.24 | 2.91 | 2.71 | 2.64", _V3,
        ),
    ),
    _PROTOCOL,
)  # fmt: skip

TABLES = {"table1": TABLE1, "table12": TABLE12}
