"""One look for every figure, and alt text for each.

The colours are six of the eight of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/): without yellow, too pale
for a line, and reddish purple, which comes near to blue for people without red cones. Lines also differ in dash, so
that a grey print keeps them apart.
"""

import base64
import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
DPI = 110

STYLE = {
    "figure.figsize": (6.4, 3.6),
    "figure.dpi": DPI,
    "figure.constrained_layout.use": True,
    "savefig.dpi": DPI,
    "font.size": 12,  # readable where the page shows the figure at half its size
    "axes.titlesize": 13,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=DASHES),
    "grid.alpha": 0.3,
    "lines.linewidth": 2.0,
    "lines.markersize": 6,
    "legend.frameon": False,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
}


def use_style() -> None:
    """Draw every following figure in the project's style."""
    plt.rcdefaults()
    plt.rcParams.update(STYLE)


def show(fig: Figure, caption: str, alt: str) -> None:
    """Display a figure with its caption beneath, and close it.

    The figure becomes one ``image/png`` output whose metadata hold ``{"image/png": {"alt": alt}}``: the place where
    nbconvert's templates look for alt text (its ``classic`` and ``basic`` ones put it into the page; JupyterLab 4 and
    the ``lab`` template do not read it yet). The same figure gives the same bytes in every run: the PNG has no date
    and no version in it.

    Args:
        fig: a matplotlib figure. Every axis that shows ticks must be labelled.
        caption: Markdown, one or two sentences: what is shown, and what to notice.
        alt: what someone who cannot see the figure needs to know; plain text.

    Raises:
        ValueError: if the caption or the alt text is empty, they are the same, or an axis has ticks but no label.
    """
    from IPython.display import Markdown, display

    for what, text in {"a caption": caption, "alt text": alt}.items():
        if not text.strip():
            raise ValueError(f"the figure needs {what}: a sentence about what it shows")
    if caption.strip() == alt.strip():
        raise ValueError("caption and alt text are the same: the alt text must say what the picture shows")
    _check_labels(fig)
    bundle = {"image/png": base64.b64encode(_png(fig)).decode(), "text/plain": f"[figure: {alt}]"}
    display(bundle, metadata={"image/png": {"alt": alt}}, raw=True)
    display(Markdown(f"<small>{caption}</small>"))
    plt.close(fig)


def image_grid(images: Sequence[np.ndarray], titles: Sequence[str] = (), columns: int = 4, size: float = 1.6) -> Figure:
    """A contact sheet of pictures.

    Args:
        images: arrays (height, width, 3) or (height, width), uint8 or floats in 0 … 1.
        titles: one for each picture, or none.
        columns: pictures in a row.
        size: the width of a picture, in inches.

    Raises:
        ValueError: if there are no pictures, or not as many titles as pictures.
    """
    if not len(images):
        raise ValueError("image_grid needs at least one picture")
    if len(titles) not in (0, len(images)):
        raise ValueError(f"there are {len(images)} pictures but {len(titles)} titles")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = size + 0.25 * max((title.count("\n") + 1 for title in titles), default=0)
    fig, axes = plt.subplots(rows, columns, figsize=(size * columns, height * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image in zip(axes.flat, images, strict=False):
        image = np.asarray(image)
        grey = {"cmap": "gray", "vmin": 0, "vmax": 255 if image.dtype == np.uint8 else 1}
        axis.imshow(image, **(grey if image.ndim == 2 else {}))
    for axis, title in zip(axes.flat, titles, strict=False):
        axis.set_title(title, fontsize=9)
    return fig


def _png(fig: Figure) -> bytes:
    """A small PNG without metadata; with a palette of 256 colours where the figure holds no pictures."""
    from PIL import Image

    file = io.BytesIO()
    fig.savefig(file, format="png", dpi=DPI)
    picture = Image.open(file).convert("RGB")
    if not any(axis.images for axis in fig.axes):
        picture = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file = io.BytesIO()
    picture.save(file, format="png", optimize=True)
    return file.getvalue()


def _check_labels(fig: Figure) -> None:
    for number, axis in enumerate(fig.axes, start=1):
        if not axis.axison or axis.get_label() == "<colorbar>":
            continue
        for name, side, supplied in (("x", axis.xaxis, fig.get_supxlabel()), ("y", axis.yaxis, fig.get_supylabel())):
            ticks = side.get_visible() and any(tick.label1.get_visible() for tick in side.get_major_ticks())
            if ticks and not side.get_label_text() and not supplied and len(side.get_majorticklocs()):
                raise ValueError(f"axes {number} of the figure: set a {name} label with its unit, set_{name}label(...)")
