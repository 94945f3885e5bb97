import json
import re
import shutil
from functools import cache

import matplotlib.pyplot as plt
import pytest
import typst
from pypdf import PdfReader

from fmnotes import ROOT, records, report
from fmnotes.report import facts, figures

SECTIONS = (
    "The question",
    "Method",
    "The museum",
    "The parts",
    "The system",
    "How it is measured",
    "Results, part by part",
    "Retrieval and answers",
    "Real data",
    "The whole system",
    "Ablations of the ingredients",
    "What did not work",
    "Limits",
    "Reproduction",
    "References",
)
NAMES = (  # digits and number words that are no results
    r"GPT-2|gpt2-museum|Flickr8k|CIFAR-10|recall@1|R@10|R@1|R@5|nDCG@10|BLEU-4|BLIP-2|BM25|5-gram|int4|bf16|L2|"
    r"06_integration|− 1 𝐵|log2|first one or five"
)
WORDS = (
    r"three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|hundreds?|thousands?|half|twice|thirds?|tenths?"
)
SAME, NONE = [0.82, 0.79, 0.85], [0, 0, 0]  # a share with its interval
SIGHT = {"sight": [0.94, 0.92, 0.96]}
SYSTEM = {
    "questions": {"sight": 611, "knowledge": 923, "both": 307},
    "arms": {
        "whole": SIGHT | {"knowledge": SAME, "both": [0.713, 0.66, 0.76]},
        "without retrieval: no page": SIGHT | {"knowledge": NONE, "both": NONE},
        "right thing seen": SIGHT | {"knowledge": SAME, "both": [0.8, 0.75, 0.84]},
    },
    "loss": {
        "whole": {"sight": NONE, "knowledge": NONE, "both": NONE},
        "without retrieval: no page": {
            "sight": NONE,
            "knowledge": [-0.82, -0.85, -0.79],
            "both": [-0.71, -0.76, -0.66],
        },
        "right thing seen": {"sight": NONE, "knowledge": NONE, "both": [0.09, 0.05, 0.13]},
    },
    "types": {"one_hop": [0.8567, 600], "two_hop": [0.7, 323], "count": [0.94, 611]},
    "budget": {"route": 0.991, "look": 0.934, "search": 0.92, "read": 0.9, "predicted": 0.766, "measured": 0.713},
}


@cache
def text(path) -> str:
    """A PDF's text in one line, without the numbers of its pages."""
    pages = [re.sub(r"\d\s*$", "", page.extract_text()) for page in PdfReader(path).pages]
    return " ".join(" ".join(pages).replace("\xad", "-").split())


def project(folder, system=None):
    """A project like ours whose records and system study can be changed; the rest is linked."""
    (folder / "data" / "studies").mkdir(parents=True)
    for name in ("report", "fmnotes", "CITATION.cff", "data/checkpoints", "data/museum"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "data" / "records", folder / "data" / "records")
    for path in (ROOT / "data" / "studies").iterdir():
        if path.name not in facts.PENDING:
            (folder / "data" / "studies" / path.name).symlink_to(path)
    if system is not None:
        (folder / "data" / "studies" / "system_ablations").mkdir()
        (folder / "data" / "studies" / "system_ablations" / "results.json").write_text(json.dumps(system))
    return folder


def change(root, profile, name, **new):
    """Change a committed record; no new values: take it away."""
    path = root / "data" / "records" / f"{profile}.json"
    known = json.loads(path.read_text())
    known[name] |= new
    if not new:
        del known[name]
    path.write_text(json.dumps(known))


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    """The tests of other modules share this process."""
    with plt.rc_context():
        yield
        plt.close("all")


@pytest.fixture
def quick_figures(monkeypatch):
    """Figures take most of the time, and these tests do not look at them."""
    empty = "<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'><rect width='5' height='5'/></svg>"
    names = ("studies", "speed", "reading", "system")
    monkeypatch.setattr(report, "drawings", lambda known: dict.fromkeys(names))
    monkeypatch.setattr(report, "draw", lambda figure, path: path.write_text(empty))


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.pdf"
    report.build(path)
    return path


def test_the_report_has_four_to_six_pages_a_title_and_every_section(paper):
    reader = PdfReader(paper)
    assert 4 <= len(reader.pages) <= 6
    assert reader.metadata.title.startswith("What Each Part Loses") and reader.metadata.author == "The fmnotes authors"
    assert reader.trailer["/Root"]["/Lang"] == "en" and "/StructTreeRoot" in reader.trailer["/Root"], "a tagged PDF"
    outline = [line.title for line in flat(reader.outline)]
    assert [name for name in SECTIONS if not any(title.endswith(name) for title in outline)] == []
    found = text(paper)
    for caption in (
        "Figure 1. Pictures of the museum",
        "Figure 2.",
        "Figure 3.",
        "Figure 4.",
        "Table 1. What is shipped",
    ):
        assert caption in found
    for caption in ("Every part beside its limit", "Ways to search", "The same code on real data", "What changes when"):
        assert caption in found
    assert found.count("[1] ") and "Retrieval-Augmented Generation" in found


def flat(outline):
    return [line for part in outline for line in (flat(part) if isinstance(part, list) else [part])]


@pytest.mark.parametrize(
    ("profile", "name", "key"),
    [
        ("quick", "bpe.bytes_per_token", "limit"),
        ("quick", "gpt2_museum.bits_per_byte", "value"),
        ("quick", "gpt2_museum.bits_per_byte", "limit"),
        ("quick", "gpt2.bits_per_byte_5gram", "value"),
        ("quick", "clip.shipped.museum.image_recall_1", "value"),
        ("quick", "clip.shipped.museum.text_recall_1", "limit"),
        ("quick", "vqa.shipped.mlp.composition", "value"),
        ("quick", "vqa.shipped.resampler.blind", "value"),
        ("quick", "rag.quick.fused.recall_at_1", "value"),
        ("quick", "rag.quick.answers.5_found", "value"),
        ("real", "vqa.real.usual", "value"),
        ("real", "captions.real.model.cider", "value"),
        ("real", "rag.real.cranfield.fused_late.ndcg", "value"),
        ("real", "training.transformers_bits_own", "value"),
        ("bench", "bench.gpt2_loss_vs_transformers", "value"),
    ],
)
def test_values_of_records_stand_in_the_text(paper, profile, name, key):
    record = records.load(profile)[name]
    plain, percent = facts.shown(record[key], record["tolerance"]), facts.entry(record)[f"{key}_percent"]
    assert plain in text(paper) or f"{percent} %" in text(paper).replace("\u202f", " ")


def test_what_is_missing_is_said_and_nothing_else_is(paper, tmp_path, quick_figures):
    missing = report.unmeasured(facts.collect(ROOT))
    assert text(paper).count("Not measured yet") == len(missing)
    root = project(tmp_path)
    path = root / "data" / "records" / "quick.json"
    kept = {name: one for name, one in json.loads(path.read_text()).items() if not name.startswith("system.")}
    path.write_text(json.dumps(kept))
    report.build(tmp_path / "without.pdf", root)
    found = text(tmp_path / "without.pdf")
    assert found.count("Not measured yet") == 2 and "make study NAME=system_ablations" in found
    assert len(report.unmeasured(facts.collect(root))) == 2


def test_the_whole_system_is_reported_where_it_is_measured(tmp_path, request):
    root = project(tmp_path, SYSTEM)
    path = root / "data" / "records" / "quick.json"
    known = json.loads(path.read_text())
    known["system.quick.answers"] = known["rag.quick.citation"] | {"value": 0.777, "tolerance": 0.01}
    path.write_text(json.dumps(known))
    report.build(tmp_path / "system.pdf", root)
    found = text(tmp_path / "system.pdf")
    assert "Not measured yet" not in found and len(PdfReader(tmp_path / "system.pdf").pages) <= 6
    assert "Asked 611 questions for sight, 923 for knowledge and 307 for both" in found
    assert "0.71 [0.66, 0.76]" in found and "94 %" in found.replace("\u202f", " "), "in the section and the abstract"
    for part in ("0.991", "0.766", "0.713", "The weakest is read, with 0.900. ", "The system taken apart"):
        assert part in found
    assert "By type: one hop 0.86, two hop 0.70, count 0.94." in found
    assert "1 of the 2 arms that change anything lose beyond chance" in found
    assert "system.quick.answers" in found and "0.777" in found
    request.getfixturevalue("quick_figures")
    without_losses = {key: value for key, value in SYSTEM.items() if key != "loss"}
    (root / "data" / "studies" / "system_ablations" / "results.json").write_text(json.dumps(without_losses))
    report.build(tmp_path / "fewer.pdf", root)
    assert "beyond chance" not in text(tmp_path / "fewer.pdf") and "0.991" in text(tmp_path / "fewer.pdf")


def test_no_number_is_typed(tmp_path, quick_figures):
    report.build(tmp_path / "masked.pdf", project(tmp_path, SYSTEM), masked=True)
    found = text(tmp_path / "masked.pdf")
    assert found.count(report.MASK) > 200
    found = found[: found.index("References [1]")]
    headings = "|".join((*SECTIONS, "Language", "Reading", "Sight", "The code"))
    found = re.sub(rf"\[\d+\]|(Figure|Table) \d|\(1\)|{NAMES}|\d(\.\d)? (?={headings})", "", found)
    assert re.findall(rf".{{0,30}}(?:\d|\b(?:{WORDS})\b).{{0,20}}", found, re.I) == []


def test_the_source_holds_no_decimals_and_no_per_cent():
    source = (ROOT / "report" / "report.typ").read_text(encoding="utf-8")
    source = re.sub(r"//.*|\"[^\"]*\"|\$[^$]*\$", "", source)
    assert re.findall(r"\d+\.\d+(?!em|pt)|\d\s*%", source) == []


def test_alt_texts_hold_no_numbers():
    source = (ROOT / "report" / "report.typ").read_text(encoding="utf-8")
    found = re.findall(r"(?:drawn\(\s*\"\w+\",|alt:|pictures\()\s*\"([^\"]*)\"", source)
    assert len(found) >= 6
    assert [alt for alt in found if re.search(r"\d", re.sub(NAMES, "", alt))] == []


def test_a_changed_record_changes_the_text(paper, tmp_path, quick_figures):
    root = project(tmp_path)
    change(root, "quick", "rag.quick.words.recall_at_1", value=0.5432)
    report.build(tmp_path / "changed.pdf", root)
    before, after = (text(path).replace("\u202f", " ") for path in (paper, tmp_path / "changed.pdf"))
    old = records.load("quick")["rag.quick.words.recall_at_1"]["value"]
    assert f"right page first in {100 * old:.0f} %" in before and "right page first in 54 %" in after
    assert "0.54" not in before and "0.54" in after


def test_a_comparison_that_no_longer_holds_is_not_set(tmp_path, quick_figures):
    root = project(tmp_path)
    change(root, "quick", "rag.quick.fused.recall_at_1", value=0.99)
    with pytest.raises(typst.TypstError, match="no longer true"):
        report.build(tmp_path / "false.pdf", root)


def test_a_record_that_is_missing_is_named(tmp_path, quick_figures):
    root = project(tmp_path)
    change(root, "real", "rag.real.scifact.words.ndcg")
    with pytest.raises(typst.TypstError, match="asks for the record real:rag.real.scifact.words.ndcg"):
        report.build(tmp_path / "missing.pdf", root)


def test_the_same_records_make_the_same_bytes(paper, tmp_path):
    report.build(tmp_path / "again.pdf")
    assert (tmp_path / "again.pdf").read_bytes() == paper.read_bytes()
    assert not PdfReader(paper).metadata.get("/CreationDate"), "a date would part them"


@pytest.mark.parametrize(
    ("value", "tolerance", "expected"),
    [
        (0.2741, 0.01, "0.274"),
        (0.95, 0.05, "0.95"),
        (23.0, 15, "23"),
        (1.41, 0.3, "1.4"),
        (22605568, 0, "22,605,568"),
        (-0.92, 0.05, "−0.92"),
        (0.6, 0.3, "0.6"),
        (6, 0.0, "6"),
    ],
)
def test_a_number_has_the_digits_that_its_tolerance_allows(value, tolerance, expected):
    assert facts.shown(value, tolerance) == expected


def test_what_training_took_is_what_cards_and_recipes_say():
    from fmnotes.studies import clip_museum, connector_museum, gpt2_museum, gpt2_small, retrieval_museum

    found = facts.training(ROOT)
    stages = gpt2_museum.STAGES.values()
    assert found["gpt2-museum"]["steps"] == sum(stage.steps for stage in stages)
    tokens = sum(stage.steps * stage.length * sum(stage.shares.values()) for stage in stages)
    assert found["gpt2-museum"]["million tokens"] == pytest.approx(tokens / 1e6, abs=0.1)
    stages = clip_museum.STAGES.values()
    assert found["clip-museum"]["steps"] == sum(stage.steps for stage in stages)
    assert found["clip-museum"]["pictures"] == sum(stage.steps * stage.pictures for stage in stages)
    recipe = connector_museum.RECIPES["mlp"]
    assert found["connector-museum"]["steps"] == recipe.align + recipe.instruct + recipe.places + recipe.again
    assert found["retrieval-museum"]["steps"] == sum(retrieval_museum.STEPS.values())
    assert found["gpt2-museum-small"]["steps"] == len(gpt2_small.RATES) * gpt2_small.STEPS


def test_parameters_are_counted_from_the_files():
    from safetensors import safe_open

    found = facts.models(ROOT)
    for name, file in (("gpt2-museum", "model"), ("connector-museum/mlp", "adapter_model")):
        with safe_open(ROOT / "data" / "checkpoints" / name / f"{file}.safetensors", "np") as weights:
            count = sum(weights.get_tensor(key).size for key in weights.keys())  # noqa: SIM118
        assert found[name]["adapter" if file.startswith("adapter") else "parameters"] == count


def test_every_reference_is_cited_and_dated():
    entries = re.findall(r"@\w+\{(\w+),(.*?)\n\}", (ROOT / "report" / "references.bib").read_text(), re.S)
    source = (ROOT / "report" / "report.typ").read_text(encoding="utf-8")
    assert len(entries) > 25 and len({key for key, _ in entries}) == len(entries)
    for key, body in entries:
        assert f"@{key}" in source, f"{key} is in references.bib, but nothing cites it"
        assert f"year = {{{key[-4:]}}}" in body and "author =" in body and "title =" in body
        assert re.search(r"(journal|booktitle|publisher|url) =", body), f"{key}: where did it appear?"


def test_figures_are_drawn_from_the_studies_and_the_same_every_time(tmp_path):
    known = facts.collect(ROOT)
    known["studies"]["system_ablations"] = SYSTEM
    drawn = figures.drawings(known)
    assert set(drawn) == {"studies", "speed", "reading", "system"}
    panel = drawn["studies"].axes[0]
    nano = known["studies"]["gpt2_nano"]
    assert [list(line.get_ydata()) for line in panel.lines[: len(nano["gpt2"])]] == list(nano["gpt2"].values())
    ratio = known["records"]["bench:bench.bpe_train_vs_tokenizers"]["value"]
    assert drawn["speed"].axes[0].containers[0][0].get_xdata()[0] == pytest.approx(1 / ratio), (
        "a ratio of times, turned"
    )
    for n in range(2):
        figures.draw(figures.drawings(known)["speed"], tmp_path / f"{n}.svg")
    assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()
