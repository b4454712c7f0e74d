"""Karras, Aittala, Lehtinen, Hellsten, Aila, Laine (2024), EDM2: ImageNet 64x64, without guidance.

The figures are those of the authors' repository, which the experiments of configs/edm2 state.
"""

from papers.published import (
    Checkpoint,
    Code,
    Column,
    Images,
    Mark,
    Protocol,
    Repeats,
    Row,
    Table,
)

TABLE3 = Table(
    "Class-conditional ImageNet 64x64, 63 calls, FID",
    "Karras et al. 2024, table 3 (authors' repository)",
    Mark.READ,
    (Column("FID"),),
    (
        Row("EDM2-S", ("1.58",), "edm2/imagenet64_s"),
        Row("EDM2-M", ("1.43",), "edm2/imagenet64_m"),
        Row("EDM2-L", ("1.33",), "edm2/imagenet64_l"),
        Row("EDM2-XL", ("1.33",), "edm2/imagenet64_xl"),
    ),
    Protocol(
        checkpoint=Checkpoint.LAST,
        repeats=Repeats.LEAST_OF_3,
        images=Images.TRAINING,
        code=Code.STYLEGAN3,
        t_min="sigma = .002; the last step is Euler's into sigma = 0",
    ),
    note="The average has the width that makes FID least: --mode=ema, and its file as restore.file.",
)

TABLES = {"table3": TABLE3}
