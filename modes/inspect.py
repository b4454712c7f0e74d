"""--mode=inspect: what a data set holds, and what to put into a config for it."""

import numpy as np

import data

SAMPLED = 1000


def largest_distance(images, to_model):
    """The largest Euclidean distance between sampled images, in the model's range.

    sigma_max of the VE SDE should be of this size (Song & Ermon 2020, technique 1).
    """
    flat = np.asarray(to_model(images), np.float64).reshape(len(images), -1)
    squares = np.sum(flat**2, axis=1)
    return float(np.sqrt(np.max(squares[:, None] + squares - 2 * flat @ flat.T)))


def run(config, workdir):
    """Prints size, range, mean, spread and suggested settings of `data.source`."""
    splits = {split: data.create(config.data, split) for split in ("train", "test")}
    source = splits["train"]
    data.resolve(config.data, source)
    transform = data.transform(config.data)
    chosen = np.random.default_rng(0).permutation(len(source))
    some = source.images[np.sort(chosen[: 10 * SAMPLED])]
    scaled = np.asarray(transform.to_model(some))
    used = np.unique(some)
    reach = "[-1, 1]" if config.data.centered else "[0, 1]"
    print(f"source            {config.data.source}")
    print(f"recipe            {source.recipe}")
    for split, images in splits.items():
        print(f"{split:18}{len(images)} images of {'x'.join(map(str, images.shape))}")
    if source.labels is not None:
        counts = np.bincount(source.labels, minlength=config.data.classes)
        names = source.label_names or range(len(counts))
        shown = ", ".join(f"{name} ({count})" for name, count in zip(names, counts, strict=False))
        print(f"classes           {config.data.classes}: {shown}")
    print(f"memory            {np.prod(source.images.shape, dtype=np.int64) / 2**20:.1f} MiB as uint8")
    print(f"pixel values      {used.min()}..{used.max()}, {len(used)} in use, of {config.data.pixel_values}")
    print(f"scaled to {reach}  from {scaled.min():.3f} to {scaled.max():.3f}")
    print(f"mean              {scaled.mean():.4f}   by channel {_by_channel(scaled.mean(axis=(0, 1, 2)))}")
    print(f"spread (std)      {scaled.std():.4f}   by channel {_by_channel(scaled.std(axis=(0, 1, 2)))}")
    distance = largest_distance(some[:SAMPLED], transform.to_model)
    print(f"largest distance  {distance:.2f} between {min(len(some), SAMPLED)} sampled images")
    print("suggested")
    unused = data.unused_values(config.data, source)
    if unused:
        print(f"  {unused}")
    print(f"  --config.sde.sigma_max={distance:.3g}          (sde.name=ve)")
    print(f"  --config.denoiser.sigma_data={scaled.std():.3g}    (denoiser.parametrization=edm)")


def _by_channel(values):
    return ", ".join(f"{value:.4f}" for value in values)
