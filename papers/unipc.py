"""Zhao, Bai, Rao, Zhou, Lu (2023), UniPC, arXiv 2302.04867: CIFAR-10 at 10 calls, of its abstract.

papers/dpm_solver_v3.py has UniPC at further numbers of calls, as another paper ran it.
"""

from papers.published import Checkpoint, Column, Mark, Protocol, Row, Table, sampler

ABSTRACT = Table(
    "UniPC at 10 calls, unconditional CIFAR-10, FID",
    "Zhao et al. 2023 (arXiv 2302.04867), abstract",
    Mark.READ,
    (
        Column(
            "10 calls",
            overrides=sampler(
                {"name": "unipc", "order": 3, "variant": "bh2"}, 10, grid="log_snr", final_denoise=False
            ),
        ),
    ),
    (Row("UniPC", ("3.87",), "vp/cifar10_ddpmpp_deep_continuous"),),
    Protocol(checkpoint=Checkpoint.RELEASED, t_min="the abstract does not say; 1e-3 in the config"),
    note="Order and variant are not in the abstract: 3 and bh2, as later papers run it.",
)

TABLES = {"abstract": ABSTRACT}
