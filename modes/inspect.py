"""--mode=inspect: what a data set holds, and what to put into a config for it."""

import math

import numpy as np

import data
from experiment.run_data import open_splits

SAMPLED = 1000
# Of uint8 images in one batch, and of all between which distances are taken.
BATCH_BYTES, DISTANCE_BYTES = 2**24, 2**28


def pixel_counts(batches):
    """[C, 256] how often each channel of uint8 images [b, H, W, C] has each value, over batches of them."""
    return sum(
        np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(batch, -1, 0)])
        for batch in batches
    )


def largest_distance(images, to_model, block=64):
    """The largest Euclidean distance between sampled images [N, H, W, C], in the model's range.

    sigma_max of the VE SDE should be of this size (Song & Ermon 2020, technique 1).

    Args:
      to_model: from pixels to the model's range; block: images that are in the model's range at once.
    """

    def flat(start):
        part = np.asarray(to_model(images[start : start + block]), np.float64)
        return part.reshape(len(part), -1)

    largest = 0.0
    for first in range(0, len(images), block):
        a = flat(first)
        for second in range(first, len(images), block):
            b = a if second == first else flat(second)
            squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2 * a @ b.T
            largest = max(largest, squares.max())
    return math.sqrt(largest)


def run(config, workdir):
    """Prints size, range, mean, spread and suggested settings of `data.source`."""
    splits = open_splits(config)
    source = splits["train"] = data.hold(config.data, splits["train"])
    data.resolve(config.data, source)
    transform = data.transform(config.data)
    chosen = np.random.default_rng(0).permutation(len(source))
    image_bytes = math.prod(source.shape)
    counts = pixel_counts(_batches(source, np.sort(chosen[: 10 * SAMPLED])))
    # Held-out images are read too: a broken one is told of here, not in the middle of a run.
    for _ in _batches(splits["test"], np.arange(min(len(splits["test"]), 10 * SAMPLED))):
        pass
    used = np.flatnonzero(counts.sum(axis=0))
    # Scaling acts on each value by itself.
    scaled = np.asarray(transform.to_model(np.arange(256)), np.float64)
    mean, spread = _moments(counts.sum(axis=0), scaled)
    channel_mean, channel_spread = zip(*(_moments(channel, scaled) for channel in counts), strict=True)
    reach = "[-1, 1]" if config.data.centered else "[0, 1]"
    print(f"source            {config.data.source}")
    print(f"recipe            {source.recipe}")
    for note in dict.fromkeys(note for split in splits.values() for note in split.notes):
        print(f"note              {note}")
    for split, images in splits.items():
        print(f"{split:18}{len(images)} images of {'x'.join(map(str, images.shape))}")
    if source.labels is not None:
        of_class = np.bincount(source.labels, minlength=config.data.classes)
        names = source.label_names or range(len(of_class))
        shown = ", ".join(f"{name} ({count})" for name, count in zip(names, of_class, strict=False))
        print(f"classes           {config.data.classes}: {shown}")
    print(f"memory            {len(source) * image_bytes / 2**20:.1f} MiB as uint8")
    print(f"pixel values      {used.min()}..{used.max()}, {len(used)} in use, of {config.data.pixel_values}")
    print(f"scaled to {reach}  from {scaled[used].min():.3f} to {scaled[used].max():.3f}")
    print(f"mean              {mean:.4f}   by channel {_by_channel(channel_mean)}")
    print(f"spread (std)      {spread:.4f}   by channel {_by_channel(channel_spread)}")
    some = source.batch(chosen[: min(SAMPLED, max(2, DISTANCE_BYTES // image_bytes))])["image"]
    distance = largest_distance(some, transform.to_model)
    print(f"largest distance  {distance:.2f} between {len(some)} sampled images")
    print("suggested")
    unused = data.unused_values(config.data, source)
    if unused:
        print(f"  {unused}")
    if distance > 0:
        print(f"  --config.sde.sigma_max={distance:.3g}          (sde.name=ve)")
        print(f"  --config.denoiser.sigma_data={spread:.3g}    (denoiser.parametrization=edm)")
    else:
        print("  other images: these are all alike, so that no noise level suits them")


def _batches(source, rows):
    """Images [b, H, W, C] of a source at rows [N], decoded a batch at a time."""
    size = max(1, BATCH_BYTES // math.prod(source.shape))
    for start in range(0, len(rows), size):
        yield source.batch(rows[start : start + size])["image"]


def _moments(counts, values):
    """Mean and standard deviation of values that occur so many times."""
    mean = np.average(values, weights=counts)
    return mean, np.sqrt(np.average((values - mean) ** 2, weights=counts))


def _by_channel(values):
    return ", ".join(f"{value:.4f}" for value in values)
