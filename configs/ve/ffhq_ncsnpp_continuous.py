"""NCSN++ on FFHQ of 1024 x 1024 pixels, on the VE SDE in continuous time.

    python main.py --config=configs/ve/ffhq_ncsnpp_continuous.py \
        --workdir=runs/ve_ffhq_ncsnpp_continuous --mode=train

The released file fails as shipped: it is written for the PyTorch port, imports torch, and lacks the fields
`n_jitted_steps`, `bpd_dataset` and `enable_*` that the JAX code reads; its data is at a path of its
author's machine. Unlike that of CelebA-HQ it averages the loss over pixels in place of half their sum, so
that clipping the gradient at 1 is another thing. It draws 1,024 samples at once, which no device holds;
here 8.

A variation: `--config.model.dtype=bfloat16 --config.model.rematerialization=blocks`.
"""

from configs import song2021
from configs.paper import Paper

PAPER = Paper(
    paper="Song et al. 2021",
    row="released config and checkpoint",
    data="FFHQ, 1024",
    parameters=105_785_880,
    published=None,
    seen="code",
)


def get_config():
    config = song2021.get_config()
    song2021.faces(config, "data_sets/ffhq_1024.zip")
    config.data.image_size = 1024
    song2021.ve(config, sigma_max=1348.0, steps=2_000, snr=0.15)
    song2021.ncsnpp_large_images(config)
    config.model.width = 16
    config.model.multipliers = (1, 2, 4, 8, 16, 32, 32, 32)
    config.model.blocks = 1
    config.loss.reduction = "mean"
    config.ema.decays = (0.9999,)
    config.training.batch_size = 8
    config.sampling.batch_size = 8
    return config
