"""From an image file to uint8 pixels of one shape.

Known failures that this is made for:

- Pillow reads 16-bit colour as 8 bits without a word: such files are refused, whatever their mode.
- Cameras and editors write EXIF blocks with impossible entries into sound images: the orientation alone is
  read, and an unreadable one is none.
- What lies below transparent pixels is arbitrary: where the alpha channel is dropped, they get a background.
- A file may hold another format than its suffix says; the formats of the suffixes alone are tried, for others
  (EPS) run programs.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageColor

from data.source import DataError

FORMAT_OF_SUFFIX = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_FORMATS = tuple(sorted(set(FORMAT_OF_SUFFIX.values())))
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# Those of Pillow, which all average over the pixels that a smaller image leaves out.
FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258
_EXIF = b"Exif\0\0"
# Pillow warns of odd metadata, of which nothing is used, and of large images, which are refused or read.
warnings.filterwarnings("ignore", module=r"PIL\.")
# What undoes each orientation (EXIF 2.3, section 4.6.4 A).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def preparation(config, size, channels):
    """What `fit` takes beside an image, by the subtree `data`; `decode` and `recipe` take the same."""
    return size, channels, config.background, config.crop, config.crop_corner, config.resize


def decode(content, name, *how):
    """The image in the bytes of a file as uint8 [size, size, channels]; see `fit`.

    Args:
      content: bytes; name: of the file, for messages; how: see `preparation`.

    Raises:
      DataError: in one line, whatever is wrong with the file.
    """
    try:
        with _open(content) as image:
            return fit(image, *how)
    except Image.UnidentifiedImageError:
        reason = f"it is none of {', '.join(_FORMATS)}"
    # Decoders of damaged files raise anything.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    raise DataError(f"{name} cannot be used: {reason}. Remove or replace it")


def _open(content):
    try:
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    except Exception:
        # Pillow looks for the resolution in a JPEG's EXIF block, and may trip over it.
        if not content.startswith(b"\xff\xd8"):
            raise
        plain, exif = _without_metadata(content)
        image = Image.open(io.BytesIO(plain), formats=("JPEG",))
        image.info["exif"] = exif
        return image


def _without_metadata(content):
    """(The bytes of a JPEG file without what says nothing about its pixels, its EXIF block)."""
    kept, exif, at = [content[:2]], b"", 2
    # Up to the start of the scan, a file is segments: marker, length, content.
    while content[at : at + 1] == b"\xff" and content[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        marker, segment = content[at + 1], content[at:end]
        if segment[4:].startswith(_EXIF):
            exif = segment[4:]
        # APP0 and APP14 say how colours are stored.
        if not (0xE1 <= marker <= 0xEF and marker != 0xEE):
            kept.append(segment)
        at = end
    return b"".join((*kept, content[at:])), exif


def fit(image, size, channels, background="white", crop=None, corner=None, resize=None):
    """A PIL image as uint8 [size, size, channels]: a square of it, resized.

    The recipe is Pillow's: BOX in one step for shrinking, BICUBIC for enlarging; size None keeps the image as
    it is. Where `channels` have no alpha, transparent pixels show the background.

    Args:
      background: a colour as Pillow writes them.
      crop: side of the square; None: the largest that there is.
      corner: (left, top) of the square; None: it is centred.
      resize: key of FILTERS; None: by size, as above.

    Raises:
      ValueError: the image has more than 8 bits a channel, or the square is not within it.
    """
    if _bits(image) > 8:
        raise ValueError(f"it has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")
    turn = _turn(image)
    if image.format == "TIFF":
        # After the pixels Pillow reads all metadata of a TIFF, and turns it itself.
        image.load_end = lambda: None
    image.load()
    image = image if turn is None else image.transpose(turn)
    if MODES[channels][-1] != "A" and image.has_transparency_data:
        image = image.convert("RGBA")
        below = Image.new("RGBA", image.size, ImageColor.getrgb(background))
        image = Image.alpha_composite(below, image).convert("RGB")
    image = image.convert(MODES[channels])
    if size is not None:
        box = _square(image, crop, corner)
        side = box[2] - box[0]
        if crop or resize:
            # Filters that are wider than a pixel see beyond the box that Pillow resizes.
            image, box = image.crop(box), (0, 0, side, side)
        if (image.size, side) != ((size, size), size):
            method = FILTERS[resize or ("box" if side >= size else "bicubic")]
            image = image.resize((size, size), method, box=box)
    array = np.asarray(image, np.uint8)
    return array.reshape(*array.shape[:2], channels)


def _square(image, crop, corner):
    """(left, top, right, bottom) of the square of an image that is resized."""
    side = crop or min(image.size)
    left, top = corner or ((image.width - side) // 2, (image.height - side) // 2)
    if left < 0 or top < 0 or left + side > image.width or top + side > image.height:
        at = f" at data.crop_corner={corner}" if corner else ""
        raise ValueError(
            f"it has {image.width} x {image.height} pixels, without a square data.crop={crop}{at}"
        )
    return left, top, left + side, top + side


def recipe(size, channels, background, crop=None, corner=None, resize=None):
    """What `fit` does, in words. Runs compare it: another wording is another preparation of the data."""
    alpha = "" if MODES[channels][-1] == "A" else f", transparent pixels on {background}"
    square = "largest centred square" if crop is None else f"centred square of side {crop}"
    if corner:
        square = f"square of side {crop} from column {corner[0]} and row {corner[1]} on"
    method = f"Pillow {resize.upper()}" if resize else "Pillow BOX when shrinking, BICUBIC when enlarging"
    return f"{square}, {method}, side {size}{alpha}"


def _bits(image):
    """Bits a channel in the file of an image that is opened and not yet decoded."""
    if image.mode.startswith("I") or image.mode == "F":
        return 16
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
    # Of PNG, Pillow's name of the stored form: RGB;16B is decoded to 8 bits, and then nothing tells.
    stored = getattr(image, "tile", ()) if image.format == "PNG" else ()
    return 16 if any(";16" in str(tile[3]) for tile in stored) else 8


def _turn(image):
    """What undoes the EXIF orientation of an image, or None where it is upright or that cannot be read."""
    try:
        metadata = image.tag_v2 if image.format == "TIFF" else image.getexif()
        orientation = metadata.get(_ORIENTATION)
        # Stored twice, it is a tuple.
        orientation = orientation[0] if isinstance(orientation, tuple) else orientation
        return _UPRIGHT.get(orientation)
    except Exception:  # odd blocks raise anything, and say nothing about the pixels
        return None
