"""The rules of CONTRIBUTING.md that a program can see: each takes a notebook and yields what to mend, and how.

They look at committed notebooks, executed by the author. That every cell still runs is nbval's and papermill's work.
"""

import ast
import re
from collections.abc import Callable, Iterator

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

CODE_CELLS, LINES, PARAMETERS, BYTES = 45, 25, 10, 1_000_000
KERNEL = "python3"
# A path from the root of somebody's machine, and no part of an address: https://site/home/x is none.
ABSOLUTE = re.compile(
    r"(?<![\w.:/~<-])(?:/(?:home|root|Users|tmp|mnt|media|opt|private|srv|usr|var|work)/\w|[A-Z]:\\\w)"
)

Rule = Callable[[NotebookNode], Iterator[str]]


def title(nb: NotebookNode) -> Iterator[str]:
    """It opens with a title, the question that it answers, and a summary in Korean."""
    first = nb.cells[0] if nb.cells and nb.cells[0].cell_type == "markdown" else None
    if first is None or not first.source.startswith("# "):
        yield "the first cell is no title: begin with a Markdown cell '# Title'"
    opening = "\n".join(cell.source for cell in nb.cells[:4] if cell.cell_type == "markdown")
    if "?" not in opening:
        yield "the opening asks no question: say under the title which question the notebook answers, with a '?'"
    _, _, summary = opening.partition("한국어 요약")
    if len(re.findall("[가-힣]", summary)) < 40:
        yield "there is no 한국어 요약: add three to five sentences in Korean under that heading, in the opening"


def cost(nb: NotebookNode) -> Iterator[str]:
    """It says what a run takes, as measured."""
    if not any("costs.show(" in cell.source for cell in _code(nb)):
        yield 'no cell shows what a run takes: call costs.show("its_name") in the first cell that imports'


def parameters(nb: NotebookNode) -> Iterator[str]:
    """One cell tagged ``parameters`` defines a few plain values, and they are what the rest uses."""
    tagged = [cell for cell in nb.cells if "parameters" in _tags(cell)]
    if len(tagged) != 1:
        yield f"{len(tagged)} cells carry the tag 'parameters': tag exactly one, and define PROFILE and SEED in it"
        return
    names = []
    for statement in ast.parse(tagged[0].source).body:
        name, value = _assignment(statement)
        if name is None or not _is_literal(value):
            yield f"the parameters cell holds {ast.unparse(statement)!r}: only lines like STEPS = 300 can be replaced"
        names.append(name)
    if missing := {"PROFILE", "SEED"} - set(names):
        yield f"the parameters cell does not define {' and '.join(sorted(missing))}: every notebook has both"
    if len(names) > PARAMETERS:
        yield f"the parameters cell defines {len(names)} names: a reader can turn at most {PARAMETERS} knobs"
    after = _code(nb)[_code(nb).index(tagged[0]) + 1 :]
    uses = [node for cell in after for node in _walk(cell) if isinstance(node, ast.Name) and node.id in names]
    for name in filter(None, names):
        contexts = [type(node.ctx) for node in uses if node.id == name]
        if ast.Store in contexts:
            yield f"{name} is assigned again below the parameters cell: an injected value would have no effect"
        if ast.Load not in contexts:
            yield f"{name} is a parameter that no cell uses: use it, or remove it"
    if any("injected-parameters" in _tags(cell) for cell in nb.cells):
        yield "it holds papermill's injected parameters: commit the notebook, not a copy from runs/"


def executed(nb: NotebookNode) -> Iterator[str]:
    """It was run from top to bottom, once, from a fresh kernel of this environment, and nothing complained."""
    counts = [cell.execution_count for cell in _code(nb)]
    if not counts or counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {_brief(counts)}, not 1, 2, 3 …: execute it with `make outputs NOTEBOOK=...`"
    if (name := nb.metadata.get("kernelspec", {}).get("name")) != KERNEL:
        yield f"its kernel is {name!r}: choose {KERNEL!r}, which everyone has"
    for number, output in _outputs(nb):
        if output.output_type == "error":
            yield f"code cell {number} ends in {output.ename}: mend it, or catch what is meant to fail and print it"
        if output.output_type == "stream" and output.name == "stderr":
            yield f"code cell {number} printed to stderr {_brief(output.text)!r}: mend the cause of the warning"


def places(nb: NotebookNode) -> Iterator[str]:
    """No cell and no output names a place on somebody's machine."""
    texts = [(f"cell {number}", cell.source) for number, cell in enumerate(nb.cells, start=1)]
    for number, output in _outputs(nb):
        texts += [(f"the output of code cell {number}", text) for text in _texts(output)]
    for where, text in texts:
        if found := ABSOLUTE.search(text):
            shown = re.match(r"[^\s'\"(),;<>]+", text[found.start() :])[0]
            yield f"{where} names {_brief(shown)!r}: write paths from the project's folder, and print no others"


def small(nb: NotebookNode) -> Iterator[str]:
    """Cells hold one idea, the whole is read in an hour, and the file is light."""
    for number, cell in enumerate(_code(nb), start=1):
        if (lines := len(cell.source.splitlines())) > LINES:
            yield f"code cell {number} has {lines} lines: split it, or move into fmnotes what it does not teach"
        if not cell.source.strip():
            yield f"code cell {number} is empty: remove it"
    if (count := len(_code(nb))) > CODE_CELLS:
        yield f"it has {count} code cells: more than {CODE_CELLS} are not read in an hour"
    if (size := len(nbformat.writes(nb).encode())) > BYTES:
        yield f"it has {size / 1e6:.1f} MB: draw fewer or smaller figures (≤ {BYTES / 1e6:.0f} MB)"


def figures(nb: NotebookNode) -> Iterator[str]:
    """Every figure says in words what it shows."""
    for number, output in _outputs(nb):
        for kind in [kind for kind in output.get("data", {}) if kind.startswith("image/")]:
            alt = output.metadata.get(kind, {}).get("alt") or output.metadata.get("alt") or ""
            if not alt.strip():
                yield f"code cell {number} draws a figure without alt text: show it with fmnotes.plots.show(fig, ...)"
        for tag in re.findall(r"<img\b[^>]*>", "".join(output.get("data", {}).get("text/html", ""))):
            if not re.search(r"\balt=(['\"])(?!\s*\1)", tag):
                yield f"code cell {number} shows an <img> without alt text: give it alt='what it shows'"


def records_cell(nb: NotebookNode) -> Iterator[str]:
    """The last code cell reports the records, and nbval compares what it prints."""
    cells = _code(nb)
    reporting = [number for number, cell in enumerate(cells, start=1) if ".report()" in cell.source]
    if reporting != [len(cells)]:
        yield f"code cells {reporting} call record.report(): the last one must, and no other"
    if not cells or "nbval-check-output" not in _tags(cells[-1]):
        yield "the last code cell does not carry the tag 'nbval-check-output': nothing would compare its output"
    elif not "".join(text for output in cells[-1].outputs for text in _texts(output)).strip():
        yield "the records cell shows no record: record at least one number, and execute it"


RULES: tuple[Rule, ...] = (title, cost, parameters, executed, places, small, figures, records_cell)


def problems(nb: NotebookNode) -> list[str]:
    """Everything that all rules find."""
    return [problem for rule in RULES for problem in rule(nb)]


def _tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def _code(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def _outputs(nb: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    for number, cell in enumerate(_code(nb), start=1):
        for output in cell.outputs:
            yield number, output


def _texts(output: NotebookNode) -> list[str]:
    """What a reader reads of an output; pictures are no text, also where they are embedded in HTML."""
    if output.output_type == "stream":
        return ["".join(output.text)]
    if output.output_type == "error":
        return ["\n".join(output.traceback)]
    kinds = [kind for kind in output.data if kind.startswith("text/") or kind == "image/svg+xml"]
    return [re.sub(r"data:[\w/+-]+;base64,[\w+/=\s]+", "", "".join(output.data[kind])) for kind in kinds]


def _walk(cell: NotebookNode) -> Iterator[ast.AST]:
    """The syntax tree of a cell, after IPython has turned its %magic and !command into Python."""
    return ast.walk(ast.parse(TransformerManager().transform_cell(cell.source)))


def _assignment(statement: ast.stmt) -> tuple[str | None, ast.expr | None]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id, statement.value
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id, statement.value
    return None, None


def _is_literal(value: ast.expr | None) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError):
        return False
    return value is not None


def _brief(value) -> str:
    text = str(value).strip()
    return text if len(text) <= 60 else text[:60] + "…"
