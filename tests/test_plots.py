import base64
import io

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

from fmnotes import ROOT, plots


@pytest.fixture(autouse=True)
def style():
    plots.use_style()
    yield
    plt.close("all")
    plt.rcdefaults()


def line():
    fig, axis = plt.subplots()
    for slope in range(4):
        axis.plot([1, 2, 4], [slope, 2 * slope, 5], label=f"slope {slope}")
    axis.set(xlabel="vocabulary (tokens)", ylabel="compression (bytes/token)", xscale="log")
    axis.legend()
    return fig


def shown(monkeypatch, *arguments):
    """What show() displays: a list of (bundle, metadata)."""
    outputs = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, metadata=None, raw=False: outputs.append((data, metadata))
    )
    plots.show(*arguments)
    return outputs


def test_show_gives_a_small_png_with_alt_text_and_a_caption(monkeypatch):
    (bundle, metadata), (caption, _) = shown(monkeypatch, line(), "It *rises*.", "Four rising lines.")
    assert metadata == {"image/png": {"alt": "Four rising lines."}}
    assert bundle["text/plain"] == "[figure: Four rising lines.]"
    assert caption.data == "<small>It *rises*.</small>"
    png = base64.b64decode(bundle["image/png"])
    picture = Image.open(io.BytesIO(png))
    assert picture.size == (round(6.4 * plots.DPI), round(3.6 * plots.DPI))
    assert len(png) < 40_000 and not picture.info.keys() & {"Software", "Creation Time", "date"}
    assert plt.get_fignums() == [], "an open figure would be displayed a second time"
    assert shown(monkeypatch, line(), "It *rises*.", "Four rising lines.")[0][0] == bundle, "the same in every run"


def test_a_palette_keeps_the_colours_of_a_line_figure(monkeypatch):
    fig, axis = plt.subplots()
    for row, colour in enumerate(plots.COLOURS):
        axis.axhspan(row, row + 0.9, color=colour)
    axis.set(xlabel="x", ylabel="y")
    png = base64.b64decode(shown(monkeypatch, fig, "a", "b")[0][0]["image/png"])
    found = {colour for _, colour in Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 20)}
    wanted = [tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in plots.COLOURS]
    assert all(min(max(abs(a - b) for a, b in zip(w, f, strict=True)) for f in found) <= 4 for w in wanted)


@pytest.mark.parametrize(
    ("caption", "alt", "match"),
    [
        ("", "words", "needs a caption"),
        ("words", " ", "needs alt text"),
        ("words", "words", "are the same"),
    ],
)
def test_caption_and_alt_text_are_needed(caption, alt, match):
    with pytest.raises(ValueError, match=match):
        plots.show(line(), caption, alt)


def test_axes_without_labels_are_refused(monkeypatch):
    fig, axes = plt.subplots(1, 2, sharey=True)
    axes[0].set(xlabel="x", ylabel="y")
    with pytest.raises(ValueError, match="axes 2 of the figure: set a x label"):
        plots.show(fig, "a", "b")
    axes[1].set_xlabel("x")
    assert shown(monkeypatch, fig, "a", "b"), "shared ticks that are not drawn need no label"
    fig, axis = plt.subplots()
    axis.bar([1], [1])
    axis.set(xlabel="x", yticks=[])
    image = axis.imshow(np.eye(2))
    fig.colorbar(image)
    assert shown(monkeypatch, fig, "a", "b"), "nor do axes without ticks, or the bar of colours"
    fig, axis = plt.subplots()
    axis.plot([1, 2])
    fig.supxlabel("x")
    fig.supylabel("y")
    assert shown(monkeypatch, fig, "a", "b"), "one label may serve the whole figure"


def test_image_grid(monkeypatch):
    pictures = [np.full((8, 8, 3), 40 * i, dtype=np.uint8) for i in range(5)]
    fig = plots.image_grid(pictures, titles=[f"picture {i}" for i in range(5)], columns=3)
    assert len(fig.axes) == 6 and [axis.get_title() for axis in fig.axes][4:] == ["picture 4", ""]
    assert [len(axis.images) for axis in fig.axes] == [1] * 5 + [0]
    assert np.array_equal(fig.axes[3].images[0].get_array(), pictures[3])
    assert shown(monkeypatch, fig, "Five greys.", "Five grey squares, from black to light.")
    grey = plots.image_grid([np.full((4, 4), 0.5)]).axes[0].images[0]
    assert grey.get_clim() == (0, 1), "a grey picture is not stretched to its own extremes"


def test_image_grid_errors():
    with pytest.raises(ValueError, match="at least one picture"):
        plots.image_grid([])
    with pytest.raises(ValueError, match="2 pictures but 1 titles"):
        plots.image_grid(np.zeros((2, 4, 4)), titles=["a"])


def test_no_two_colours_look_alike_to_the_colour_blind():
    """As people without red or green cones see them: Viénot, Brettel and Mollon (1999), on linear RGB."""
    rgb = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in plots.COLOURS]) ** 2.2
    lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    protan = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
    deutan = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    for blindness in (np.eye(3), protan, deutan):
        seen = np.clip(rgb @ (np.linalg.inv(lms) @ blindness @ lms).T, 0, 1) ** (1 / 2.2)
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(len(seen), 1)]
        assert distance.min() > 0.2


def test_a_kernel_keeps_the_alt_text():
    code = (
        "from fmnotes.plots import show, use_style\nimport matplotlib.pyplot as plt\nuse_style()\n"
        "fig, axis = plt.subplots()\naxis.plot([1, 2])\naxis.set(xlabel='x', ylabel='y')\n"
        "show(fig, 'A *line*.', 'A rising line.')"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    figure, caption = notebook.cells[0].outputs
    assert figure.metadata["image/png"]["alt"] == "A rising line."
    assert Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"]))).format == "PNG"
    assert caption.data["text/markdown"] == "<small>A *line*.</small>"
