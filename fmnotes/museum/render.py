"""Pictures of scenes: 64×64 RGB, drawn from signed distances, with NumPy alone.

The signed distance of a point to a shape is negative inside and positive outside. Measured in pixels it gives an
anti-aliased edge at once: a pixel is covered by clip(½ − distance, 0, 1). The distances are those of elementary
geometry; a catalogue of such functions is I. Quilez, "2D distance functions".

Nothing in a picture is at its ideal value. Each object has its own place in the cell, its own radius, angle and shade;
the ground has its own brightness, tint, slope and clouds, and every pixel its noise. All of it follows from the scene's
seed. An object never leaves its cell, so two never touch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fmnotes.museum.scenes import GRID, MOST_OBJECTS, Scene

if TYPE_CHECKING:  # models train on the museum where jaxtyping is not installed
    from jaxtyping import Float, UInt8

    Array = Float[np.ndarray, "*pixels"]

SIDE = 64  # pixels
CELL = SIDE // GRID
RGB = {
    "red": (205, 35, 45),
    "orange": (245, 135, 25),
    "yellow": (250, 225, 50),
    "green": (40, 160, 70),
    "blue": (45, 85, 210),
    "purple": (150, 60, 185),
    "black": (18, 18, 20),
    "white": (244, 244, 242),
}
RADIUS = {"small": 4.2, "large": 6.5}  # pixels
PLACE = {"small": 2.8, "large": 1.0}  # how far from the middle of its cell an object may stand, in pixels
JITTER = {"radius": 0.35, "angle": 0.25, "shade": 14.0}  # at most: pixels, radians, levels of 255
GROUND = {
    "brightness": 26.0,
    "tint": 14.0,
    "slope": 10.0,
    "clouds": 38.0,
    "noise": 12.0,
}  # at most, in levels of 255 around mid-grey


# ------------------------------------------------------------------ shapes, of radius one, x to the right and y upwards


def circle(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - 0.95


def box(x: Array, y: Array, half_width: float, half_height: float) -> Array:
    x, y = np.abs(x) - half_width, np.abs(y) - half_height
    return np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0)


def square(x: Array, y: Array) -> Array:
    return box(x, y, 0.8, 0.8)


def cross(x: Array, y: Array) -> Array:
    return np.minimum(box(x, y, 0.95, 0.33), box(x, y, 0.33, 0.95))


def triangle(x: Array, y: Array) -> Array:
    """Three half-planes, each 0.5 from the middle, which lies a little low, so that the whole looks centred."""
    y = y + 0.15
    return np.maximum(-y, np.abs(x) * np.sqrt(3) / 2 + y / 2) - 0.5


def star(x: Array, y: Array) -> Array:
    """Five points: fold the plane onto half of one point, and measure from its edge, which runs from tip to notch."""
    angle, radius = np.arctan2(x, y), np.hypot(x, y)
    angle = np.abs(angle - np.round(angle * (5 / (2 * np.pi))) * (2 * np.pi / 5))
    tip, notch = np.array([0, 1.02]), 0.48 * np.array([np.sin(np.pi / 5), np.cos(np.pi / 5)])
    edge = (notch - tip) / np.hypot(*(notch - tip))
    return (radius * np.cos(angle) - tip[1]) * edge[0] - radius * np.sin(angle) * edge[1]


def heart(x: Array, y: Array) -> Array:
    """A square on its tip, and a disc on each of its two upper edges."""
    half, lift = 0.53, y + 0.08
    u, v = (lift + x) / np.sqrt(2), (lift - x) / np.sqrt(2)  # along the two upper edges
    discs = np.minimum(np.hypot(u - half, v), np.hypot(u, v - half)) - half
    return np.minimum(box(u, v, half, half), discs)


DISTANCE: dict[str, Callable[[Array, Array], Array]] = {
    f.__name__: f for f in (circle, square, triangle, star, heart, cross)
}


# ------------------------------------------------------------------------------------------------------------- pictures

_GROUND, _OBJECT = 8, 8  # how many random numbers the ground, and each object, may use
_SETTINGS = _GROUND + MOST_OBJECTS * _OBJECT
_STEP = 8  # pixels from one point of the lattice of clouds to the next
_LATTICE = SIDE // _STEP + 1
_CLOUDS = _LATTICE**2 * 3  # random bytes: one for each level of each point of the lattice
_NOISE = SIDE * SIDE * 3  # random bytes: one for each level of each pixel
_WORDS = _SETTINGS + -(-(_CLOUDS + _NOISE) // 8)  # of eight bytes


def render(scenes: Sequence[Scene]) -> UInt8[np.ndarray, "n 64 64 3"]:
    """Draw scenes: [n, row, column, channel], 0 to 255. The same scene gives the same picture in any company."""
    pictures = np.empty((len(scenes), SIDE, SIDE, 3), np.uint8)
    for start in range(0, len(scenes), 128):  # few enough at a time to stay in the processor's cache
        batch = scenes[start : start + 128]
        words = np.stack([np.random.PCG64(scene.seed).random_raw(_WORDS) for scene in batch])
        settings = ((words[:, :_SETTINGS] >> 40) * 2.0**-23 - 1).astype(np.float32)  # uniform in [-1, 1)
        textures = _UNIFORM[words[:, _SETTINGS:].copy().view(np.uint8)]
        levels = _grounds(settings[:, :_GROUND]) + _clouds(textures[:, :_CLOUDS])
        _draw(levels, batch, settings[:, _GROUND:].reshape(len(batch), MOST_OBJECTS, _OBJECT))
        levels += textures[:, _CLOUDS : _CLOUDS + _NOISE].reshape(levels.shape) * np.float32(GROUND["noise"])
        pictures[start : start + 128] = np.clip(levels, 0, 255, out=levels)
    return pictures


def _grounds(settings: Float[np.ndarray, "n 8"]) -> Float[np.ndarray, "n 64 64 3"]:
    """Mid-grey, made brighter or darker, tinted, and sloping from one side to another."""
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    level = 128 + settings[:, :1] * GROUND["brightness"] + settings[:, 1:4] * GROUND["tint"]
    across = settings[:, 4, None] * ramp * GROUND["slope"]
    down = settings[:, 5, None] * ramp * GROUND["slope"]
    return (level[:, None, None] + (down[:, :, None] + across[:, None, :])[..., None]).astype(np.float32)


_UNIFORM = np.arange(256, dtype=np.float32) / 127.5 - 1  # what a random byte stands for
_BETWEEN = np.maximum(0, 1 - np.abs(np.arange(SIDE)[:, None] + 0.5 - _STEP * np.arange(_LATTICE)) / _STEP).astype(
    np.float32
)


def _clouds(lattice: Float[np.ndarray, "n levels"]) -> Float[np.ndarray, "n 64 64 3"]:
    """Coloured clouds about as large as the objects: levels on a lattice, interpolated (bilinear).

    Without them a linear map of the pixels could subtract the seams between the cells, which are all ground, from their
    middles, and so read off the colour of an object wherever it stands.
    """
    lattice = lattice.reshape(-1, _LATTICE, _LATTICE, 3).transpose(0, 3, 1, 2)
    return (_BETWEEN @ lattice @ _BETWEEN.T).transpose(0, 2, 3, 1) * np.float32(GROUND["clouds"])


def _draw(levels: Float[np.ndarray, "n 64 64 3"], scenes: Sequence[Scene], jitter: Float[np.ndarray, "n 4 8"]) -> None:
    """Blend every object into its cell, all objects of one shape at a time."""
    cells = levels.reshape(len(scenes), GRID, CELL, GRID, CELL, 3)  # a view: drawing into it draws the pictures
    middle = np.arange(CELL, dtype=np.float32) - (CELL - 1) / 2
    for shape, distance in DISTANCE.items():
        things = [(i, k, o) for i, scene in enumerate(scenes) for k, o in enumerate(scene.objects) if o.shape == shape]
        if not things:
            continue
        picture, number = np.array([(i, k) for i, k, _ in things]).T
        row, column = np.array([thing.cell for _, _, thing in things]).T
        random = jitter[picture, number]
        right, down, grown, turned = random[:, :4].T[..., None, None]
        radius = np.array([RADIUS[thing.size] for _, _, thing in things], np.float32)[:, None, None]
        radius = radius + grown * JITTER["radius"]
        place = np.array([PLACE[thing.size] for _, _, thing in things], np.float32)[:, None, None]
        x, y = middle - right * place, -middle[:, None] - down * place
        cos, sin = np.cos(turned * JITTER["angle"]), np.sin(turned * JITTER["angle"])
        covered = np.clip(0.5 - radius * distance((x * cos + y * sin) / radius, (y * cos - x * sin) / radius), 0, 1)
        colour = np.array([RGB[thing.colour] for _, _, thing in things], np.float32)
        colour = colour + (random[:, 4:5] + random[:, 5:8]) / 2 * JITTER["shade"]  # a shared part and one per channel
        ground = cells[picture, row, :, column]
        cells[picture, row, :, column] = ground + covered[..., None] * (colour[:, None, None] - ground)


def contact_sheet(scenes: Sequence[Scene], columns: int, gap: int = 4) -> UInt8[np.ndarray, "height width 3"]:
    """Many pictures on one white sheet, row by row, `gap` pixels apart."""
    rows = -(-len(scenes) // columns)
    step = SIDE + gap
    sheet = np.full((rows * step + gap, columns * step + gap, 3), 255, np.uint8)
    for number, picture in enumerate(render(scenes)):
        top, left = gap + number // columns * step, gap + number % columns * step
        sheet[top : top + SIDE, left : left + SIDE] = picture
    return sheet
