"""The published checkpoints that are known by their file's name: experiment, place, licence, figure.

Places and licences were read in the authors' READMEs. Figures are those of the READMEs, of EDM2's
generate_images.py, and for EDM and improved-diffusion of the papers, as the experiments have them. No sizes
are published, and digests of pytorch_diffusion's alone. docs/weights.md shows this table; a test holds that
the two agree.
"""

import fnmatch
from pathlib import PurePath
from typing import NamedTuple

_MIT = "MIT (of the repository; the model card adds: for research)"
_NVIDIA = "CC BY-NC-SA 4.0"
_APACHE = "Apache-2.0 (of the repository)"


class Known(NamedTuple):
    """A published checkpoint.

    Attributes:
      file: how its path ends; * stands for any text within a name.
      experiment: file of configs/.
      paper: authors and year.
      source: address at which its authors publish it, or the folder of it.
      licence: of the weights, as their README says it, or of the repository.
      figure: published for it; None: none is.
      fields: of the config that differ from the experiment's, by dotted path.
      md5: of the file; None: its authors give none.
      note: what differs, in a sentence; or None.
    """

    file: str
    experiment: str
    paper: str
    source: str
    licence: str
    figure: str | None
    fields: dict | None = None
    md5: str | None = None
    note: str | None = None


def find(path):
    """The Known whose name a path has, or None; a longer name wins."""
    parts = PurePath(path).parts
    fitting = [known for known in KNOWN if _fits(parts, PurePath(known.file).parts)]
    return max(fitting, key=lambda known: len(known.file), default=None)


def _fits(parts, pattern):
    ends = parts[-len(pattern) :]
    return len(ends) == len(pattern) and all(map(fnmatch.fnmatchcase, ends, pattern))


def _edm():
    root = "https://nvlabs-fi-cdn.nvidia.com/edm/pretrained"
    figures = {
        "cifar10-32x32-cond-vp": ("cifar10_cond_vp", "FID 1.79 at 35 calls"),
        "cifar10-32x32-cond-ve": ("cifar10_cond_ve", "FID 1.79 at 35 calls"),
        "cifar10-32x32-uncond-vp": ("cifar10_uncond_vp", "FID 1.97 at 35 calls"),
        "cifar10-32x32-uncond-ve": ("cifar10_uncond_ve", "FID 1.98 at 35 calls"),
        "ffhq-64x64-uncond-vp": ("ffhq_64_uncond_vp", "FID 2.39 at 79 calls"),
        "ffhq-64x64-uncond-ve": ("ffhq_64_uncond_ve", "FID 2.53 at 79 calls"),
        "afhqv2-64x64-uncond-vp": ("afhqv2_64_uncond_vp", "FID 1.96 at 79 calls"),
        "afhqv2-64x64-uncond-ve": ("afhqv2_64_uncond_ve", "FID 2.16 at 79 calls"),
        "imagenet-64x64-cond-adm": ("imagenet64_cond_adm", "FID 1.36 at 511 calls"),
    }
    for name, (config, figure) in figures.items():
        file = f"edm-{name}.pkl"
        yield Known(file, f"configs/edm/{config}.py", "Karras et al. 2022", f"{root}/{file}", _NVIDIA, figure)


def _edm2():
    root = "https://nvlabs-fi-cdn.nvidia.com/edm2/posthoc-reconstructions"
    note = "its width is that of the one average in the file"
    presets = {
        "s-1073741-0.075": "FID 1.58",
        "m-2147483-0.060": "FID 1.43",
        "l-1073741-0.040": "FID 1.33",
        "xl-0671088-0.040": "FID 1.33",
        "s-1073741-0.045": "FID 1.01 with autoguidance, as the main network",
        "s-1073741-0.105": "FD_DINOv2 31.85 with autoguidance, as the main network",
        "xs-0134217-0.110": "none alone; it guides s-1073741-0.045",
        "xs-0134217-0.175": "none alone; it guides s-1073741-0.105",
    }
    for name, figure in presets.items():
        size, _, std = name.split("-")
        file = f"edm2-img64-{name}.pkl"
        fields = {"ema.power_stds": (float(std),), "ema.snapshot_every": 0}
        yield Known(
            file,
            f"configs/edm2/imagenet64_{size}.py",
            "Karras et al. 2024",
            f"{root}/{file}",
            _NVIDIA,
            figure,
            fields,
            note=note,
        )


def _openai():
    guided = "https://openaipublic.blob.core.windows.net/diffusion/jul-2021"
    improved = "https://openaipublic.blob.core.windows.net/diffusion/march-2021"
    unconditional = {"model.class_conditional": False}
    # The experiment of 256 has their process and every other field.
    larger = {"data.image_size": 512, "model.multipliers": (0.5, 1, 1, 2, 2, 4, 4)}
    for file, config, figure, fields in (
        ("64x64_diffusion.pt", "imagenet64", "FID 2.07", None),
        ("128x128_diffusion.pt", "imagenet128", "FID 2.97 with classifier guidance", None),
        ("256x256_diffusion.pt", "imagenet256", "FID 4.59 with classifier guidance", None),
        ("256x256_diffusion_uncond.pt", "imagenet256", None, unconditional),
        ("512x512_diffusion.pt", "imagenet256", "FID 7.72 with classifier guidance", larger),
    ):
        experiment = f"configs/adm/{config}.py"
        yield Known(file, experiment, "Dhariwal & Nichol 2021", f"{guided}/{file}", _MIT, figure, fields)
    guides = "a classifier, which guides the network of this experiment"
    for side, fields in ((64, None), (128, None), (256, None), (512, larger)):
        file, experiment = f"{side}x{side}_classifier.pt", f"configs/adm/imagenet{min(side, 256)}.py"
        paper = "Dhariwal & Nichol 2021"
        yield Known(file, experiment, paper, f"{guided}/{file}", _MIT, None, fields, note=guides)
    for file, config, figure in (
        (
            "imagenet64_uncond_100M_1500K.pt",
            "imagenet64_cosine_hybrid",
            "FID of 10,000 samples 19.2; 3.57 bits/dim",
        ),
        ("cifar10_uncond_50M_500K.pt", "cifar10_cosine_hybrid", "FID 3.19; 3.17 bits/dim"),
        ("imagenet64_cond_270M_250K.pt", "imagenet64_conditional", "FID 2.92"),
        (
            "imagenet64_uncond_vlb_100M_1500K.pt",
            "imagenet64_cosine_vlb",
            "FID of 10,000 samples 40.1; 3.53 bits/dim",
        ),
        ("cifar10_uncond_vlb_50M_500K.pt", "cifar10_cosine_vlb", "FID 11.47; 2.94 bits/dim"),
    ):
        experiment, licence = f"configs/improved_diffusion/{config}.py", "MIT (of the repository)"
        paper = "Nichol & Dhariwal 2021"
        yield Known(file, experiment, paper, f"{improved}/{file}", licence, figure)


def _pytorch_diffusion():
    # The network of Ho et al. has two attentions more than that of the experiment, and no such choice.
    fields = {"model.name": "unet", "model.resample_with_convolution": None}
    for file, identity, md5, figure in (
        (
            "ema_diffusion_cifar10_model",
            "2e4f01e2d9ee49bab1d5",
            "1fa350b952534ae442b1d5235cce5cd3",
            "FID 3.21",
        ),
        ("diffusion_cifar10_model", "869980b53bf5416c8a28", "82ed3067fd1002f5cf4c339fb80c4669", "FID 12.14"),
    ):
        yield Known(
            f"{file}/model-790000.ckpt",
            "configs/vp/ddpm/cifar10.py",
            "Ho et al. 2020",
            f"https://heibox.uni-heidelberg.de/f/{identity}/?dl=1",
            "MIT (of the repository that converted it)",
            figure,
            fields,
            md5,
            "averages alone" if file.startswith("ema_") else "no averages",
        )


def _score_sde():
    # Folder there, experiment, figures, and the folders of the JAX and of the PyTorch checkpoints.
    drive = "https://drive.google.com/drive/folders"
    # Of all folders: where the README should link ve/cifar10_ncsnpp, it links the statistics of CIFAR-10.
    all_jax = "1RAG8qpOTURkrqXKwdAR1d6cU9rwoQYnH"
    for folder, config, figure, jax, pytorch in (
        ("ve/cifar10_ncsnpp", None, "FID 2.45", all_jax, "1sP4GwvrYiI-sDPTp7sKYzsxJLGVamVMZ"),
        (
            "ve/cifar10_ncsnpp_continuous",
            None,
            "FID 2.38",
            "1Ko7hOCMIM6yFShJCIU4LBsF0sfjWuafa",
            "1b0gy_LLgO_DaQBgoWXwlVnL_rcAUgREh",
        ),
        (
            "ve/cifar10_ncsnpp_deep_continuous",
            None,
            "FID 2.20",
            "1rvziylUQiXWyOF1jVhGxzgGmtp1oTNT5",
            "11s6A_xM7qiztdj8AHQWqaIAUSC3I7uX2",
        ),
        (
            "vp/cifar10_ddpm",
            "vp/ddpm/cifar10",
            "FID 3.24; by the ODE 3.37; 3.28 bits/dim",
            "1vzeGmgCj95_04MTDh6aa5BI098Q8ybO5",
            "1zDKcy3xbsN3F4AfyB_DfY_1oho89iKcf",
        ),
        (
            "vp/cifar10_ddpm_continuous",
            "vp/ddpm/cifar10_continuous",
            "by the ODE FID 3.69; 3.21 bits/dim",
            "1qTZXghJxo8t5gTN52FuAWO6YABu2ElTN",
            "1RHNxW1qY-mTr0JMAE5t4V181Hi_aVWXK",
        ),
        (
            "vp/cifar10_ddpmpp",
            None,
            "FID 2.78",
            "14AhlnhRryO7XqjrHEtHZRcb_v_bEUd7X",
            "1zOVj03ZBcq339p5QEKJPh2bBrxR_HOCM",
        ),
        (
            "vp/cifar10_ddpmpp_continuous",
            None,
            "FID 2.55; by the ODE 3.93; 3.16 bits/dim",
            "1ikbUY_K4Rc2-lPz7baPxdEXtx76Xn5Ov",
            "1xYjVMx10N9ivQQBIsEoXEeu9nvSGTBrC",
        ),
        (
            "vp/cifar10_ddpmpp_deep_continuous",
            None,
            "FID 2.41; by the ODE 3.08; 3.13 bits/dim",
            "1F74y6G_AGqPw8DG5uhdO_Kf9DCX1jKfL",
            "1ZMLBiu9j7-rpdTQu8M2LlHAEQq4xRYrj",
        ),
        (
            "subvp/cifar10_ddpm_continuous",
            None,
            "by the ODE FID 3.56; 3.05 bits/dim",
            "1Qk6SaMq3EFnMH1rr2OdFZU5IzDKYbskh",
            "1DeebpmBkCxlZx89t3z45Te37T7BPOzd2",
        ),
        (
            "subvp/cifar10_ddpmpp_continuous",
            None,
            "FID 2.61; by the ODE 3.16; 3.02 bits/dim",
            "1tDz-jQ-tD5A_UjB1gxzoofo07W0LC1aO",
            "1bLgmnEAZnysRZfWt8qN3omGfijJ_B884",
        ),
        (
            "subvp/cifar10_ddpmpp_deep_continuous",
            None,
            "FID 2.41; by the ODE 2.92; 2.99 bits/dim",
            "1qjKjuZULYu2uN0sP79yTPkOhEvUPhYnU",
            "16QGkviGcizSbIPRk37-YksUhlNIna4Ys",
        ),
        (
            "ve/bedroom_ncsnpp_continuous",
            None,
            None,
            "1tcvR65amqrD65Hn0EPlZqNPiCZh2rg4M",
            "18GmxDvfGR8se9uFucc9uweeVrX_GzuUG",
        ),
        (
            "ve/church_ncsnpp_continuous",
            None,
            None,
            "1h8JayORNKTo8pCCLMr0ZDJkM7U87dKM5",
            "1zVChA0HrnJU66Jkt4P6KOnlREhBMc4Yh",
        ),
        (
            "ve/ffhq_1024_ncsnpp_continuous",
            "ve/ffhq_ncsnpp_continuous",
            None,
            "1GwcthBS4Ry54eA_fIg1hOCfThQ6I3u1L",
            "1ZqLNr_kH0o9DxvwSlrQPMmkrhEnXhBm2",
        ),
        (
            "ve/ffhq_256_ncsnpp_continuous",
            None,
            None,
            "1-2tUJ3tOU2AruyMYPB33x1aWVOQMSygM",
            "1KG72ZKUCUa8dDcA03hOf1BsnK8kBcdPD",
        ),
        (
            "ve/celebahq_256_ncsnpp_continuous",
            None,
            None,
            "1LK2bGXpZBzJKLCcL_NfUKsr8dxT8XVh5",
            "19VJ7UZTE-ytGX6z5rl-tumW9c0Ps3itk",
        ),
    ):
        experiment = f"configs/{config or folder}.py"
        for file, identity in ((f"{folder}/checkpoint_*", jax), (f"{folder}/checkpoint_*.pth", pytorch)):
            yield Known(file, experiment, "Song et al. 2021", f"{drive}/{identity}", _APACHE, figure)


KNOWN = (*_score_sde(), *_edm(), *_edm2(), *_openai(), *_pytorch_diffusion())
