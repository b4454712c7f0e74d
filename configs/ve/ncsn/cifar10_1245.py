"""NCSN with techniques 1, 2, 4 and 5 of Song and Ermon (2020), on CIFAR-10.

    python main.py --config=configs/ve/ncsn/cifar10_1245.py --workdir=runs/ve_ncsn_cifar10_1245 --mode=train

Techniques 1, 2 and 4 choose the largest noise, the number of levels and the step (232 levels from 50, five
Langevin steps at each), 5 is the average of the parameters. Only technique 3 lacks, the network that is not
told the level: with it this is configs/ve/ncsnv2/cifar10.py.

The released file fails as shipped: its residual blocks hand a norm its class count twice, and no config
says how many there are.

A variation: `--config.sampling.corrector.steps=1 --config.sampling.predictor=reverse_diffusion`, predictor
and corrector.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song & Ermon 2020",
    row="techniques 1, 2, 4, 5",
    data="CIFAR-10, 32",
    parameters=39_750_659,
    published=None,
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.ve_discrete(config, sigma_max=50.0, levels=232, snr=0.176)
    song2021.ncsn(config)
    song2021.ncsn_training(config, learning_rate=1e-3, decay=0.999)
    config.sampling.corrector.steps = 5
    return config
