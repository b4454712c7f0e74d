"""Pictures of images, and what all figures share."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

BLUE, ORANGE, GREY = "#20639b", "#e07a1f", "#888888"


def pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot

    matplotlib.pyplot.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    return matplotlib.pyplot


def full_range(images, pixel_values):
    """uint8 images with values 0..pixel_values-1 in 0..255, which is what readers of image files expect."""
    if pixel_values == 256:
        return images
    return (np.arange(pixel_values) * (255 / (pixel_values - 1))).round().astype(np.uint8)[images]


def rgb(images, pixel_values):
    """The same [N, h, w, 3], grey repeated and alpha left out: what tools that compute an FID take."""
    images = full_range(images, pixel_values)
    return np.repeat(images[..., :1], 3, axis=-1) if images.shape[-1] < 3 else images[..., :3]


def grid(images, pixel_values, columns=None, gap=1):
    """One uint8 picture [H, W, 3 or 4] of images [N, h, w, c] with values 0..pixel_values-1."""
    images = np.asarray(images)
    count, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    images = full_range(images, pixel_values)
    if channels == 1:
        images = np.repeat(images, 3, axis=-1)
    elif channels == 2:
        images = np.concatenate([np.repeat(images[..., :1], 3, axis=-1), images[..., 1:]], axis=-1)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, images.shape[-1]), 128)
    canvas = canvas.astype(np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


def rows(images, pixel_values):
    """One picture of rows of images, [n, h, w, c] each with their own n; what they leave free is grey."""
    width = max(map(len, images))
    canvas = np.full((len(images), width, *images[0].shape[1:]), (pixel_values - 1) // 2, np.uint8)
    for row, found in zip(canvas, images, strict=True):
        row[: len(found)] = found
    return grid(canvas.reshape(-1, *canvas.shape[2:]), pixel_values, width)


def samples(images, pixel_values, labels=None):
    """One picture of samples [N, h, w, c]: a square, or one row a class where they have labels [N]."""
    if labels is None:
        return grid(images, pixel_values)
    return rows([images[labels == label] for label in np.unique(labels)], pixel_values)


def save_picture(path, picture, smallest_side=480):
    """Writes a uint8 picture as PNG, enlarged by a whole factor so that tiny images can be seen."""
    factor = max(1, round(smallest_side / min(picture.shape[:2])))
    large = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    Image.fromarray(large).save(Path(path), optimize=True)


def save_samples(folder, images, pixel_values):
    """Writes images [N, h, w, c] into a folder as one PNG each, by number, of their size and in 0..255."""
    digits = max(6, len(str(len(images) - 1)))
    for number, image in enumerate(images):
        picture = full_range(image, pixel_values)
        picture = picture[..., 0] if picture.shape[-1] == 1 else picture
        Image.fromarray(picture).save(Path(folder) / f"{number:0{digits}d}.png")


def for_page(path, most_bytes=400_000, most_side=1_200):
    """A picture file as a page embeds it: as it is, or smaller and as JPEG where it is large.

    Returns:
      (content, media type, (width, height), whether it was made smaller).

    Raises:
      ValueError: the file is no whole picture; the message is one line.
    """
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            media, size = Image.MIME.get(picture.format, "image/png"), picture.size
            if len(content) <= most_bytes and max(size) <= 2 * most_side:
                return content, media, size, False
            picture = picture.convert("RGB")
    except UnidentifiedImageError:
        raise ValueError("it is no picture") from None
    except Exception as error:  # what Pillow raises for damaged bytes has no common kind
        raise ValueError((str(error).strip() or type(error).__name__).splitlines()[0][:200]) from error
    picture.thumbnail((most_side, most_side))
    small = io.BytesIO()
    picture.save(small, "JPEG", quality=85)
    return small.getvalue(), "image/jpeg", picture.size, True
