"""NCSN with technique 5 of Song and Ermon (2020), on CelebA.

    python main.py --config=configs/ve/ncsn/celeba_5.py --workdir=runs/ve_ncsn_celeba_5 --mode=train

Technique 5 is the average of the parameters, at .999. Ten levels from 1 to 0.01, a hundred Langevin steps
at each, no denoising at the end.

The released file fails as shipped: its residual blocks hand a norm its class count twice, and no config
says how many there are, and the resizing calls `tf.round` with two arguments.

A variation: `--config.ema.decays="(0.999,0.0)"` keeps the last parameters beside the average.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song & Ermon 2020",
    row="technique 5",
    data="CelebA, 64",
    parameters=30_117_635,
    published=None,
    seen="paper",
)


def get_config():
    config = song2021.get_config()
    song2021.celeba(config)
    song2021.ve_discrete(config, sigma_max=1.0, levels=10, snr=0.316)
    song2021.ncsn(config)
    song2021.ncsn_training(config, learning_rate=1e-3, decay=0.999)
    config.sampling.corrector.steps = 100
    song2021.without_denoising(config)
    return config
