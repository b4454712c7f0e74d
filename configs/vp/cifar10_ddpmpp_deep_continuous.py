"""DDPM++ with twice the blocks, on the VP SDE in continuous time.

    python main.py --config=configs/vp/cifar10_ddpmpp_deep_continuous.py \
        --workdir=runs/vp_cifar10_ddpmpp_deep_continuous --mode=train

DPM-Solver, UniPC and DPM-Solver-v3 report their figures on this model. The steps are those of the released
config, 0.95 million; FID is best long before.

A variation: `--config.loss.weighting=log_snr --config.loss.time_sampling=importance` trains for likelihood
(Song et al. 2021b).
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="tables 2 and 3, DDPM++ cont. (deep, VP)",
    data="CIFAR-10, 32",
    parameters=106_632_579,
    published="FID 2.41, IS 9.68; by the ODE FID 3.08; 3.13 bits/dim",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.vp(config)
    song2021.ddpmpp(config, blocks=8)
    config.training.steps = 950_000
    return config
