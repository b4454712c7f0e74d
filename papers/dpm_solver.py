"""Lu, Zhou, Bao, Chen, Li, Zhu (2022), DPM-Solver, arXiv 2206.00927: table 1, and its headline figures."""

from papers.published import Checkpoint, Column, Figure, Mark, Protocol, Row, Table, sampler, split

_SOURCE = "Lu et al. 2022 (arXiv 2206.00927)"
_DEEP = "vp/cifar10_ddpmpp_deep_continuous"
_CALLS = (12, 18, 24, 30, 36, 42, 48)
_RUNGE_KUTTA = "Runge-Kutta's methods with fixed steps in t, or in log-SNR, are none of the solvers"
_PROTOCOL = Protocol(
    checkpoint=Checkpoint.RELEASED, t_min="1e-3 or 1e-4, the source does not say; 1e-3 in the config"
)


def _solver(order):
    return sampler({"name": "dpm_solver", "order": order}, None, grid="log_snr", final_denoise=False)


def _row(label, figures, order=None):
    texts = split(figures)
    if order is None:
        return Row(label, tuple(Figure(text, cannot=_RUNGE_KUTTA) for text in texts), _DEEP)
    # A step has as many calls as its order.
    found = [
        Figure(text, {**_solver(order), "sampling.steps": calls // order})
        for text, calls in zip(texts, _CALLS, strict=True)
    ]
    return Row(label, tuple(found), _DEEP)


TABLE1 = Table(
    "Solvers of different orders by calls, CIFAR-10, VP deep, FID",
    f"{_SOURCE}, table 1; seen in two public reading notes",
    Mark.SECONDARY,
    tuple(Column(f"{calls} calls") for calls in _CALLS),
    (
        _row("RK2 (t)", "16.40 | 7.25 | 3.90 | 3.63 | 3.58 | 3.59 | 3.54"),
        _row("RK2 (lambda)", "107.81 | 42.04 | 17.71 | 7.65 | 4.62 | 3.58 | 3.17"),
        _row("DPM-Solver-2", "5.28 | 3.43 | 3.02 | 2.85 | 2.78 | 2.72 | 2.69", 2),
        _row("RK3 (t)", "48.75 | 21.86 | 10.90 | 6.96 | 5.22 | 4.56 | 4.12"),
        _row("RK3 (lambda)", "34.29 | 4.90 | 3.50 | 3.03 | 2.85 | 2.74 | 2.69"),
        _row("DPM-Solver-3", "6.03 | 2.90 | 2.75 | 2.70 | 2.67 | 2.65 | 2.65", 3),
    ),
    _PROTOCOL,
)

HEADLINE = Table(
    "DPM-Solver-fast by calls, CIFAR-10, VP deep, FID",
    f"{_SOURCE}, abstract and section 5; seen in a public reading note and a comparison table",
    Mark.SECONDARY,
    tuple(Column(f"{calls} calls") for calls in (10, 12, 15, 20)),
    (
        Row(
            "DPM-Solver-fast",
            tuple(
                Figure(text, sampler("dpm_solver_fast", calls, grid="log_snr", final_denoise=False))
                for text, calls in zip(split("4.70 | 3.75 | 3.24 | 2.87"), (10, 12, 15, 20), strict=True)
            ),
            _DEEP,
        ),
        Row(
            "DPM-Solver-2",
            (Figure("5.94", {**_solver(2), "sampling.steps": 5}), "-", "-", "-"),
            _DEEP,
        ),
    ),
    _PROTOCOL,
)

TABLES = {"table1": TABLE1, "headline": HEADLINE}
