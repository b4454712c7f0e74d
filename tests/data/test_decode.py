"""From image files to pixels: sound pixels survive odd files, and all else names the file in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from components import UserError
from data.decode import decode, fit, recipe


def _pixels(side=8, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, channels), dtype=np.uint8)


def _file(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _png16(values):
    """A 16-bit PNG of values [H, W, C], C of 1 to 4."""
    height, width, channels = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def _tiff16(values):
    """An uncompressed little-endian TIFF of 16-bit RGB values [H, W, 3]."""
    height, width, _ = values.shape
    pixels = values.astype("<u2").tobytes()
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, None), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(pixels)),
    ]  # fmt: skip
    after = 8 + len(pixels) + 2 + 12 * len(entries) + 4
    directory = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        directory += struct.pack("<HHII", tag, kind, count, after if value is None else value)
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    return head + pixels + directory + b"\0\0\0\0" + struct.pack("<HHH", 16, 16, 16)


def _refusal(content, channels=3):
    with pytest.raises(UserError) as error:
        decode(content, "photos/a.png", 8, channels, "white")
    text = str(error.value)
    assert text.startswith("photos/a.png cannot be used: ") and "\n" not in text
    return text


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_images_of_any_mode_are_refused(channels):
    values = np.random.default_rng(0).integers(0, 4096, (8, 8, channels))
    assert "8 bits" in _refusal(_png16(values))
    if channels == 3:
        assert "8 bits" in _refusal(_tiff16(values))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_8_bit_images_come_back_as_they_are(form):
    pixels = _pixels()
    np.testing.assert_array_equal(decode(_file(Image.fromarray(pixels), form), "a", None, 3, "white"), pixels)


def _exif(*entries, after=b""):
    """An EXIF block of little-endian entries (tag, type, count, four bytes)."""
    body = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + b"\0\0\0\0" + after


TURNED = (0x0112, 3, 1, struct.pack("<HH", 6, 0))
_AFTER_TWO = struct.pack("<I", 8 + 2 + 12 * 2 + 4)
ODD = {
    "signed rational": _exif(TURNED, (0x011A, 10, 1, _AFTER_TWO), after=struct.pack("<ii", -1, 0)),
    "no number": _exif(TURNED, (0x011A, 5, 1, _AFTER_TWO), after=struct.pack("<II", 0, 0)),
    "text for a number": _exif((0x0100, 2, 4, b"abc\0"), TURNED),
    "bytes for text": _exif(TURNED, (0x0131, 7, 4, b"abcd"), (0x010F, 1, 4, b"\1\2\3\4")),
    "number for text": _exif((0x010F, 3, 1, struct.pack("<HH", 5, 0)), TURNED),
    "twice": _exif((0x0112, 3, 2, struct.pack("<HH", 6, 6))),
    "empty resolution": _exif(TURNED, (0x0128, 3, 1, b"\2\0\0\0"), (0x011A, 2, 0, b"\0\0\0\0")),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_exif_block_costs_no_pixel_and_the_orientation_is_read(case):
    # Blocks of one colour each survive JPEG.
    upright = np.kron(np.array([[20, 90], [150, 230]]), np.ones((8, 8))).astype(np.uint8)
    turned = np.rot90(upright).copy()  # a quarter turn, which orientation 6 undoes
    content = _file(Image.fromarray(turned), "JPEG", quality=95, exif=ODD[case])
    found = decode(content, "a.jpg", None, 1, "white")[..., 0]
    assert np.abs(found.astype(int) - upright).max() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone(orientation):
    # What EXIF says: where the first row and the first column of the file are to be seen.
    pixels = _pixels(channels=1)[..., 0]
    views = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.T, 6: np.rot90(pixels, -1), 7: pixels[::-1, ::-1].T, 8: np.rot90(pixels),
    }  # fmt: skip
    tag = Image.Exif()
    tag[0x0112] = orientation
    content = _file(Image.fromarray(pixels), "PNG", exif=tag)
    np.testing.assert_array_equal(decode(content, "a", None, 1, "white")[..., 0], views[orientation])


def test_a_tiff_with_odd_metadata_is_read_and_turned():
    pixels = _pixels()
    for tag, value in ((700, 7), (40965, 10**6), (34853, 3)):
        content = _file(Image.fromarray(pixels), "TIFF", tiffinfo={0x0112: 6, tag: value})
        np.testing.assert_array_equal(decode(content, "a", None, 3, "white"), np.rot90(pixels, -1))


def test_random_exif_blocks_cost_no_pixel():
    rng = np.random.default_rng(0)
    pixels = _pixels(16)
    plain = decode(_file(Image.fromarray(pixels), "JPEG"), "a", None, 3, "white")
    known = [0x0100, 0x0103, 0x010F, 0x0111, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x8769, 0x8825, 0x927C]
    for _ in range(1500):
        entries = []
        for _ in range(rng.integers(0, 6)):
            tag = int(rng.choice(known) if rng.random() < 0.8 else rng.integers(0x0113, 0xFFFF))
            count = int(rng.choice([0, 1, 2, 4, 100, 2**31]))
            entries.append((tag, int(rng.integers(0, 16)), count, rng.bytes(4)))
        exif = _exif(*entries, after=rng.bytes(int(rng.integers(0, 40))))
        content = _file(Image.fromarray(pixels), "JPEG", exif=exif)
        np.testing.assert_array_equal(decode(content, "a", None, 3, "white"), plain)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_random_damage_is_one_line_that_names_the_file_or_an_image(form):
    rng = np.random.default_rng(0)
    content = _file(Image.fromarray(_pixels(16)), form)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content[: rng.integers(1, len(content) + 1)])
        for _ in range(rng.integers(0, 8)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        try:
            found = decode(bytes(damaged), "photos/a.png", 8, 3, "white")
        except UserError as error:
            refused += 1
            assert str(error).startswith("photos/a.png cannot be used: ") and "\n" not in str(error)
        else:
            assert found.shape == (8, 8, 3) and found.dtype == np.uint8
    assert refused > 0


def test_a_file_of_a_format_that_no_suffix_names_is_not_tried():
    eps = _file(Image.fromarray(_pixels()), "EPS")
    assert "none of" in _refusal(eps) and "none of" in _refusal(_file(Image.fromarray(_pixels()), "PPM"))
    # A suffix may be that of another format among them.
    assert decode(_file(Image.fromarray(_pixels()), "WEBP"), "a.png", 8, 3, "white").shape == (8, 8, 3)


def _hidden_colour():
    """RGBA with a loud colour where it is transparent, and a quiet one where it is not."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., :3] = (255, 0, 255)
    pixels[2:6, 2:6] = (20, 200, 20, 255)
    return pixels


@pytest.mark.parametrize(("background", "colour"), [("white", (255, 255, 255)), ("#102030", (16, 32, 48))])
def test_transparent_pixels_show_the_background(background, colour):
    found = decode(_file(Image.fromarray(_hidden_colour())), "a", None, 3, background)
    assert (found[0, 0] == colour).all() and (found[3, 3] == (20, 200, 20)).all()
    shrunk = decode(_file(Image.fromarray(_hidden_colour())), "a", 1, 3, background)
    mean = 0.75 * np.array(colour) + 0.25 * np.array((20, 200, 20))
    assert np.abs(shrunk[0, 0] - mean).max() <= 1


def test_every_way_to_be_transparent_is_seen_and_alpha_is_kept_where_there_is_room():
    half = Image.fromarray(_hidden_colour())
    grey = Image.fromarray(np.dstack([np.full((8, 8), 9, np.uint8), _hidden_colour()[..., 3]]))
    palette = half.convert("P")
    keyed = Image.new("RGB", (8, 8), (255, 0, 255))
    files = [
        _file(grey),
        _file(palette, transparency=palette.getpixel((0, 0))),
        _file(keyed, transparency=(255, 0, 255)),
        _file(half, "WEBP", lossless=True),
        _file(palette, "GIF", transparency=palette.getpixel((0, 0))),
    ]
    for content in files:
        assert (decode(content, "a", None, 3, "white")[0, 0] == 255).all()
        assert (decode(content, "a", None, 1, "white")[0, 0] == 255).all()
    np.testing.assert_array_equal(decode(_file(half), "a", None, 4, "white")[3, 3], [20, 200, 20, 255])
    assert decode(_file(half), "a", None, 4, "white")[0, 0, 3] == 0


def test_a_square_is_cut_where_its_corner_stands():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(fit(image, 4, 3, crop=4), pixels[2:6, 1:5])
    np.testing.assert_array_equal(fit(image, 4, 3, crop=4, corner=(3, 5)), pixels[5:9, 3:7])
    for crop, corner in ((8, None), (4, (4, 0)), (4, (0, 6))):
        with pytest.raises(ValueError, match="data.crop"):
            fit(image, 4, 3, crop=crop, corner=corner)


def _triangles(source, target):
    """[target, source] weights of the linear filter that is as wide as the shrinking asks for."""
    scale = source / target
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centres[:, None]) / scale
    weights = np.maximum(1 - distance, 0)
    return weights / weights.sum(axis=1, keepdims=True)


def test_faces_are_cut_and_shrunk_as_the_score_sde_code_does():
    # Its 140 central pixels of 178 x 218, and an antialiased bilinear filter, here written out.
    pixels = np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    weights = _triangles(140, 64)
    expected = np.einsum("ih,hwc,jw->ijc", weights, pixels[39:179, 19:159].astype(float), weights)
    found = fit(Image.fromarray(pixels), 64, 3, crop=140, resize="bilinear")
    assert np.abs(found - expected).max() <= 1


def test_the_recipe_tells_every_cut_and_filter_from_the_others():
    choices = [(), (140,), (128, (25, 57)), (128, (25, 56)), (140, None, "bilinear"), (140, None, "box")]
    assert len({recipe(64, 3, "white", *choice) for choice in choices}) == len(choices)
