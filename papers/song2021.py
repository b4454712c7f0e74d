"""Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole (2021), arXiv 2011.13456: tables 1 to 5."""

from papers.published import (
    Checkpoint,
    Code,
    Column,
    Figure,
    Images,
    Mark,
    Metric,
    Protocol,
    Repeats,
    Row,
    Table,
    langevin,
    sampler,
    split,
)

_SOURCE = "Song et al. 2021 (arXiv 2011.13456)"
_FLOW = {"sampling.predictor": {"name": "reverse_diffusion", "probability_flow": True}}
_PREDICTORS = {
    "ancestral sampling": {"sampling.predictor": {"name": "ancestral"}},
    "reverse diffusion": {"sampling.predictor": {"name": "reverse_diffusion"}},
    "probability flow": _FLOW,
}
_VE, _VP = "ve/cifar10_ddpm", "vp/ddpm/cifar10"
_CORRECTOR_ALONE = {"sampling.predictor": {"name": "none"}}
_CHOSEN_BY_SEARCH = "the best of a grid of r in steps of .01, by FID: a setting, not a measurement"
_ROUNDED = "rounds the level that the network is told, floor(i / 2); the levels between are told as they are"

# Cost: P2000, C2000 and PC1000 are equal in calls of the network that move the state.
_P1000 = sampler(None, 999, grid="uniform")
_P2000 = sampler(None, 1999, grid="uniform")


_COLUMNS = (
    Column("P1000", overrides=_P1000),
    Column("P2000", overrides=_P2000),
    Column("C2000", overrides=_P1000),
    Column("PC1000", overrides=_P1000),
)


def _solvers(config, predictor, figures, r_alone, r_pair, rounded=False):
    """A row of tables 1 and 4: figures of P1000, P2000, C2000, PC1000; r of the corrector from table 5."""
    p1000, p2000, c2000, pc1000 = split(figures)
    # Ancestral sampling of DDPM has the variance beta; of SMLD there is one.
    large = predictor == "ancestral sampling" and config == _VP
    own = {**_PREDICTORS[predictor], **({"sampling.variance": {"name": "large"}} if large else {})}
    process = "VE" if config == _VE else "VP"
    alone = {
        **_CORRECTOR_ALONE,
        "sampling.corrector": langevin(r_alone, steps=2),
        "sampling.variance": {"name": "small"},
    }
    shared = None if c2000 != "(same)" else "the corrector alone: the same for all three rows"
    return Row(
        f"{process}, {predictor}",
        (
            p1000,
            Figure(p2000, cannot=_ROUNDED if rounded else None),
            Figure(c2000, alone, cannot=shared),
            Figure(pc1000, {"sampling.corrector": langevin(r_pair)}),
        ),
        config,
        own,
    )


_SAMPLERS = Protocol(
    checkpoint=Checkpoint.UNSTATED,
    repeats=Repeats.MEAN_OF_5,
    images=Images.TRAINING,
    code=Code.TENSORFLOW_GAN,
    t_min="level 1 of 1,000, then one denoising step",
)


def _solver_table(number, title, p2000, note=None, rounded=False):
    """Table 1 or 4, which differ in P2000: a line of six figures."""
    ve_ancestral, ve_diffusion, ve_flow, vp_ancestral, vp_diffusion, vp_flow = split(p2000)
    ancestral, diffusion, flow = _PREDICTORS
    rows = (
        (_VE, ancestral, f"4.98 ± .06 | {ve_ancestral} | 20.43 ± .07 | 3.62 ± .03", 0.22, 0.17),
        (_VE, diffusion, f"4.79 ± .07 | {ve_diffusion} | (same) | 3.60 ± .02", 0.22, 0.16),
        (_VE, flow, f"15.41 ± .15 | {ve_flow} | (same) | 3.51 ± .04", 0.22, 0.17),
        (_VP, ancestral, f"3.24 ± .02 | {vp_ancestral} | 19.06 ± .06 | 3.21 ± .02", 0.27, 0.01),
        (_VP, diffusion, f"3.21 ± .02 | {vp_diffusion} | (same) | 3.18 ± .01", 0.27, 0.01),
        (_VP, flow, f"3.59 ± .04 | {vp_flow} | (same) | 3.06 ± .03", 0.27, 0.04),
    )
    return Table(
        title,
        f"{_SOURCE}, table {number}; r from table 5",
        Mark.READ,
        _COLUMNS,
        tuple(_solvers(*row, rounded=rounded) for row in rows),
        _SAMPLERS,
        fewer=10,
        note=note,
    )


TABLE1 = _solver_table(
    1,
    "Reverse-time SDE solvers, CIFAR-10, FID",
    "4.88 ± .06 | 4.74 ± .08 | 10.54 ± .08 | 3.24 ± .02 | 3.19 ± .02 | 3.23 ± .03",
    "P2000 calls the network between the levels it was trained on, in time interpolated linearly.",
)
TABLE4 = _solver_table(
    4,
    "As table 1, the level rounded for P2000, CIFAR-10, FID",
    "4.92 ± .02 | 4.72 ± .07 | 12.87 ± .09 | 3.11 ± .03 | 3.10 ± .03 | 3.25 ± .04",
    rounded=True,
)


def _ratios(label, config, texts):
    figures = (Figure(text, cannot=_CHOSEN_BY_SEARCH) for text in split(texts))
    return Row(label, tuple(figures), config)


TABLE5 = Table(
    "Signal-to-noise ratio r of the correctors of table 1",
    f"{_SOURCE}, table 5",
    Mark.READ,
    (Column("C2000"), Column("PC1000")),
    (
        _ratios("VE, ancestral sampling", _VE, "0.22 | 0.17"),
        _ratios("VE, reverse diffusion", _VE, "(same) | 0.16"),
        _ratios("VE, probability flow", _VE, "(same) | 0.17"),
        _ratios("VP, ancestral sampling", _VP, "0.27 | 0.01"),
        _ratios("VP, reverse diffusion", _VP, "(same) | 0.01"),
        _ratios("VP, probability flow", _VP, "(same) | 0.04"),
    ),
    _SAMPLERS,
)

_ODE = sampler({"name": "ode", "tolerance": 1e-5}, 999)

TABLE2 = Table(
    "Likelihood of test images and FID by the ODE, CIFAR-10",
    f"{_SOURCE}, table 2",
    Mark.READ,
    (Column("NLL", Metric.BITS_PER_DIM), Column("FID", overrides=_ODE)),
    (
        Row("RealNVP", ("3.49", "-")),
        Row("iResNet", ("3.45", "-")),
        Row("Glow", ("3.35", "-")),
        Row("MintNet", ("3.32", "-")),
        Row("Residual Flow", ("3.28", "46.37")),
        Row("FFJORD", ("3.40", "-")),
        Row("Flow++", ("3.29", "-")),
        Row("DDPM (L)", ("≤ 3.70*", "13.51")),
        Row("DDPM (L_simple)", ("≤ 3.75*", "3.17")),
        Row("DDPM", ("3.28", "3.37"), "vp/ddpm/cifar10"),
        Row("DDPM cont. (VP)", ("3.21", "3.69"), "vp/ddpm/cifar10_continuous"),
        Row("DDPM cont. (sub-VP)", ("3.05", "3.56"), "subvp/cifar10_ddpm_continuous"),
        Row("DDPM++ cont. (VP)", ("3.16", "3.93"), "vp/cifar10_ddpmpp_continuous"),
        Row("DDPM++ cont. (sub-VP)", ("3.02", "3.16"), "subvp/cifar10_ddpmpp_continuous"),
        Row("DDPM++ cont. (deep, VP)", ("3.13", "3.08"), "vp/cifar10_ddpmpp_deep_continuous"),
        Row("DDPM++ cont. (deep, sub-VP)", ("2.99", "2.92"), "subvp/cifar10_ddpmpp_deep_continuous"),
        Row(
            "NCSN++ cont. (VE)",
            ("-", "-"),
            "ve/cifar10_ncsnpp_continuous",
            note="not in the paper's table; the VE process beside the others",
        ),
    ),
    Protocol(
        checkpoint=Checkpoint.LAST,
        repeats=Repeats.MEAN_OF_5,
        images=Images.TEST,
        code=Code.TENSORFLOW_GAN,
        t_min="1e-5 for bits/dim, 1e-3 for FID",
    ),
    {"eval.bits_per_dim.tolerance": 1e-5},
    note="* a bound on the likelihood of discrete data; all others uniformly dequantized. FID is against "
    "training images, bits/dim of test images.",
)

TABLE3 = Table(
    "Sample quality, CIFAR-10",
    f"{_SOURCE}, table 3",
    Mark.READ,
    (Column("FID"), Column("IS", Metric.INCEPTION_SCORE)),
    (
        Row("BigGAN (conditional)", ("14.73", "9.22")),
        Row("StyleGAN2-ADA (conditional)", ("2.42", "10.14")),
        Row("StyleGAN2-ADA (unconditional)", ("2.92", "9.83")),
        Row("NCSN", ("25.32", "8.87 ± .12"), "ve/ncsn/cifar10"),
        Row("NCSNv2", ("10.87", "8.40 ± .07"), "ve/ncsnv2/cifar10"),
        Row("DDPM", ("3.17", "9.46 ± .11")),
        Row("DDPM++", ("2.78", "9.64"), "vp/cifar10_ddpmpp"),
        Row("DDPM++ cont. (VP)", ("2.55", "9.58"), "vp/cifar10_ddpmpp_continuous"),
        Row("DDPM++ cont. (sub-VP)", ("2.61", "9.56"), "subvp/cifar10_ddpmpp_continuous"),
        Row("DDPM++ cont. (deep, VP)", ("2.41", "9.68"), "vp/cifar10_ddpmpp_deep_continuous"),
        Row("DDPM++ cont. (deep, sub-VP)", ("2.41", "9.57"), "subvp/cifar10_ddpmpp_deep_continuous"),
        Row("NCSN++", ("2.45", "9.73"), "ve/cifar10_ncsnpp"),
        Row("NCSN++ cont. (VE)", ("2.38", "9.83"), "ve/cifar10_ncsnpp_continuous"),
        Row("NCSN++ cont. (deep, VE)", ("2.20", "9.89"), "ve/cifar10_ncsnpp_deep_continuous"),
    ),
    Protocol(
        checkpoint=Checkpoint.LEAST_FID,
        images=Images.TRAINING,
        code=Code.TENSORFLOW_GAN,
        t_min="1e-3 on VP and sub-VP, 1e-5 on VE",
    ),
)

TABLES = {"table1": TABLE1, "table2": TABLE2, "table3": TABLE3, "table4": TABLE4, "table5": TABLE5}
