"""DDPM on its 1,000 levels.

    python main.py --config=configs/vp/ddpm/cifar10.py --workdir=runs/vp_ddpm_cifar10 --mode=train

The VP model of tables 1, 4 and 5, on which predictors and correctors are compared: `docs/samplers.md` has
the fields of each column. It has 35.2 million parameters where Ho et al. have 35.7: two attentions fewer on
the way up. Ho et al. (2020, appendix B) train theirs, 800,000 steps, in 10.6 hours on a TPU v3-8.

A variation: PC1000, `--config.sampling.predictor=reverse_diffusion --config.sampling.variance=small
--config.sampling.corrector=langevin --config.sampling.corrector.snr=0.01` (3.18).
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="tables 1 and 2, DDPM",
    data="CIFAR-10, 32",
    parameters=35_218_947,
    published="FID 3.24; by the ODE FID 3.37; 3.28 bits/dim",
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.vp_discrete(config)
    song2021.ddpm(config)
    return config
