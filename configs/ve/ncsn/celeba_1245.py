"""NCSN with techniques 1, 2, 4 and 5 of Song and Ermon (2020), on CelebA.

    python main.py --config=configs/ve/ncsn/celeba_1245.py --workdir=runs/ve_ncsn_celeba_1245 --mode=train

Techniques 1, 2 and 4 choose the largest noise, the number of levels and the step (500 levels from 90, five
Langevin steps at each), 5 is the average of the parameters. Only technique 3 lacks, the network that is not
told the level: with it this is configs/ve/ncsnv2/celeba.py.

The released file fails as shipped: its residual blocks hand a norm its class count twice, and no config
says how many there are, and the resizing calls `tf.round` with two arguments.

A variation: `--config.sampling.corrector.steps=1 --config.sampling.predictor=reverse_diffusion`, predictor
and corrector.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song & Ermon 2020",
    row="techniques 1, 2, 4, 5",
    data="CelebA, 64",
    parameters=51_379_715,
    published=None,
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.celeba(config)
    song2021.ve_discrete(config, sigma_max=90.0, levels=500, snr=0.128)
    song2021.ncsn(config)
    song2021.ncsn_training(config, learning_rate=1e-3, decay=0.999)
    config.sampling.corrector.steps = 5
    return config
