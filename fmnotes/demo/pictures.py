"""Pictures from outside: read with limits, and shown back as the model sees them."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fmnotes.museum.render import SIDE

if TYPE_CHECKING:
    from jaxtyping import UInt8

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_BYTES = 5_000_000
MOST_PIXELS = 40_000_000  # 160 MB when unpacked
GREY = (128, 128, 128)  # around which the grounds of the museum's pictures vary; shines through what is transparent


class PictureError(ValueError):
    """A file that cannot be looked at; the message says why, and what to do."""


def read(file: bytes) -> UInt8[np.ndarray, "64 64 3"]:
    """The picture in a file as the model sees it: whole, turned upright, its edges drawn out to a square.

    Raises:
        PictureError: if it is too large, broken, or no picture.
    """
    if not file:
        raise PictureError("The file is empty: choose a picture.")
    if len(file) > MOST_BYTES:
        raise PictureError(too_large(len(file)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            picture = Image.open(io.BytesIO(file), formats=FORMATS)
        width, height = picture.size  # known from its first bytes, before anything is unpacked
        if width * height > MOST_PIXELS:
            raise PictureError(f"{_most_pixels()} this one has {width:,} × {height:,}. Make it smaller and try again.")
        picture.draft("RGB", (4 * SIDE, 4 * SIDE))  # a JPEG need not be unpacked at full size
        picture = ImageOps.exif_transpose(picture).convert("RGBA")
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"{_most_pixels()} this one claims many more. Make it smaller and try again.") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"This file is no picture that can be read here: choose {_formats()}.") from error
    except Exception as error:  # a broken file may fail in many ways, each decoder's own
        raise PictureError("This picture is broken, it cannot be unpacked: save it anew or choose another.") from error
    ground = Image.new("RGBA", picture.size, (*GREY, 255))
    size = [max(1, round(side * SIDE / max(picture.size))) for side in picture.size]
    fitted = np.asarray(Image.alpha_composite(ground, picture).convert("RGB").resize(size, Image.Resampling.LANCZOS))
    gaps = [(gap // 2, gap - gap // 2) for gap in (SIDE - fitted.shape[0], SIDE - fitted.shape[1])]
    return np.pad(fitted, (*gaps, (0, 0)), mode="edge")  # not in one colour: the model would look at the edges of that


def too_large(size: int) -> str:
    """What to say of a file of so many bytes."""
    most, this = f"{MOST_BYTES / 1e6:.0f} MB", f"{size / 1e6:.1f} MB"
    return f"A picture may have {most} at most, this file has {this}: choose a smaller one."


def _most_pixels() -> str:
    return f"A picture may have {MOST_PIXELS // 10**6} million pixels at most,"


def _formats() -> str:
    return f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"


def packed(picture: UInt8[np.ndarray, "64 64 3"]) -> str:
    """A picture as a `data:` address: what the page shows, and sends back with a question."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def unpacked(address: str) -> UInt8[np.ndarray, "64 64 3"]:
    """A picture from its `data:` address.

    Raises:
        PictureError: if it is none.
    """
    try:
        return read(base64.b64decode(address.partition(";base64,")[2], validate=True))
    except binascii.Error as error:
        raise PictureError("The picture did not arrive whole: choose it again.") from error
