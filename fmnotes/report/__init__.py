"""The report: a paper about the whole project, set by Typst from the committed records.

    python -m fmnotes.report

writes ``runs/report.pdf``. The text is ``report/report.typ``. No result is typed in it: it asks for each number by the
name of its record, study or checkpoint, and the build fails if there is none. Nor is a comparison: a sentence that
compares stands behind a condition on the same numbers, and the build fails when the condition no longer holds.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from fmnotes import ROOT, runs
from fmnotes.report.facts import PENDING, collect
from fmnotes.report.figures import draw, drawings

MASK = "¤"  # as in report/paper.typ


def build(output: Path, root: Path = ROOT, masked: bool = False, **options) -> None:
    """Set the report.

    Args:
        output: a PDF, or with `format="png"` and `ppi` pages like ``page-{n}.png``.
        root: the project's folder.
        masked: print a sign in the place of each number that is fetched; what digits are left were typed.
        options: what else `typst.compile` takes.

    Raises:
        typst.TypstError: if the text asks for a number that is not there, or says what is no longer true.
        ValueError: if Typst warns, as of a font that it does not have.
    """
    import typst

    facts = collect(root) | {"masked": masked}
    if masked:
        for record in facts["records"].values():
            record |= {key: MASK for key in record if key.endswith(("_shown", "_percent"))}
        facts["version"] = MASK
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for path in (*(root / "report").glob("*.*"), root / "data" / "museum" / "contact_sheet.png"):
            shutil.copy(path, place)
        (place / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        for name, fig in drawings(facts).items():
            draw(fig, place / f"{name}.svg")
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.suffix == ".pdf":
            options = {"pdf_standards": "ua-1"} | options  # what a screen reader needs; figures have alt texts
        options |= {"root": folder, "ignore_system_fonts": True, "timestamp": 0}  # the same bytes on every machine
        _, warnings = typst.compile_with_warnings(str(place / "report.typ"), str(output), **options)
    if warnings:
        raise ValueError("the report is set, but Typst warns: " + "; ".join(warning.message for warning in warnings))


def unmeasured(facts: dict) -> list[str]:
    """What the report has no numbers for yet, and how to make them."""
    found = [f"make study NAME={name}" for name in PENDING if name not in facts["studies"]]
    if not any(name.startswith("quick:system.") for name in facts["records"]):
        found.append("make run NOTEBOOK=06_integration, and commit its records")
    return found


def main() -> int:
    """Write ``runs/report.pdf`` and say what is missing in it; 1 if the text and the numbers have parted."""
    import typst

    output = runs.folder(ROOT) / "report.pdf"
    try:
        build(output)
    except typst.TypstError as error:
        print(f"report/report.typ and the records have parted: {error}", file=sys.stderr)
        return 1
    for command in unmeasured(collect(ROOT)):
        print(f"not measured yet, and said so in the report: {command}", file=sys.stderr)
    print(output.relative_to(ROOT) if output.is_relative_to(ROOT) else output)
    return 0
