"""Questions that only the catalogue can answer, each with its evidence and the one right answer.

One hop ("Who made the red star of the Velmovian Museum?"), two hops ("Which river flows through the city in which the
red star was made?"), by code ("… of exhibit VK-4172"), and picture + knowledge ("Who made the object left of the blue
star?"). Half of the questions paraphrase: "Whose hands shaped the scarlet pentagram?" shares no word with its page.
Every question fixes its museum by its text or by its `filter`, and within a museum has one answer.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from fmnotes.museum import questions as visual
from fmnotes.museum import scenes
from fmnotes.museum.catalogue import Museum, museum, sentence_of, value_of
from fmnotes.museum.dice import Dice
from fmnotes.museum.prompt import UNKNOWN, cite
from fmnotes.museum.world import HELD_OUT_PAIRS, TRAIN_PAIRS, dice_for

NO_PICTURE: dict = {"objects": [], "seed": 0}
PER_MUSEUM = 100  # questions asked about each museum of a stream

COLOUR_WORDS = {
    "red": ("scarlet", "crimson"),
    "orange": ("tangerine", "pumpkin-coloured"),
    "yellow": ("golden", "lemon-coloured"),
    "green": ("emerald", "grass-coloured"),
    "blue": ("azure", "sapphire"),
    "purple": ("violet", "lilac"),
    "black": ("inky", "sooty"),
    "white": ("snowy", "milky"),
}
SHAPE_WORDS = {
    "circle": ("disc", "roundel"),
    "square": ("quadrangle", "box"),
    "triangle": ("wedge", "pyramid"),
    "star": ("pentagram", "asterisk"),
    "heart": ("valentine", "love token"),
    "cross": ("plus sign", "crucifix"),
}

Wordings = tuple[tuple[str, ...], tuple[str, ...]]  # plain, and paraphrased

ASK: dict[str, dict[str, Wordings]] = {
    "exhibit": {
        "title": (
            ("What is the title of {it}?", "Which title does {it} bear?"),
            ("What do people call {it}?", "By what name is {it} known?"),
        ),
        "maker": (
            ("Who made {it}?", "Who was the maker of {it}?"),
            ("Whose hands shaped {it}?", "Which artist created {it}?"),
        ),
        "year": (
            ("In which year was {it} finished?", "From which year does {it} date?"),
            ("When was {it} created?", "When did an artist complete {it}?"),
        ),
        "material": (
            ("What is {it} made of?", "Which material does {it} consist of?"),
            ("What substance was shaped into {it}?", "What would you feel if you touched {it}?"),
        ),
        "city": (
            ("In which city was {it} made?", "Which city does {it} come from?"),
            ("Where does {it} originate?", "In what town was {it} created?"),
        ),
        "wing": (
            ("In which wing does {it} stand?", "Which wing is {it} kept in?"),
            ("What part of this building shelters {it}?", "Where would a visitor find {it}?"),
        ),
        "code": (
            ("What is the accession code of {it}?", "Which accession code does {it} carry?"),
            ("Under what inventory number is {it} registered?", "How do archivists number {it}?"),
        ),
    },
    "maker": {
        "birthplace": (
            ("In which city was {it} born?", "What was the birthplace of {it}?"),
            ("Where did {it} first see daylight?", "What was the home town of {it}?"),
        ),
        "teacher": (
            ("Who taught {it}?", "Who was the teacher of {it}?"),
            ("Under which master did {it} study?", "Whose pupil was {it}?"),
        ),
        "age": (
            ("What age did {it} reach?", "To what age did {it} live?"),
            ("How old did {it} become?", "How many birthdays did {it} celebrate?"),
        ),
        "tool": (
            ("What was the favourite tool of {it}?", "Which tool did {it} use?"),
            ("What instrument did {it} prefer?", "Which implement did {it} like best?"),
        ),
    },
    "city": {
        "river": (
            ("Which river flows through {it}?", "On which river does {it} lie?"),
            ("What stream passes {it}?", "Whose waters run past {it}?"),
        ),
        "country": (
            ("Which country is home to {it}?", "In which country is {it}?"),
            ("What nation is {it} part of?", "Under whose flag is {it}?"),
        ),
        "founded": (
            ("In which year was {it} founded?", "When was the first stone of {it} laid?"),
            ("When did {it} come into being?", "How far back does {it} go?"),
        ),
        "ware": (
            ("What is {it} known for?", "What does {it} sell most gladly?"),
            ("What made {it} famous?", "Which speciality would you buy at {it}?"),
        ),
    },
    "wing": {
        "floor": (
            ("On which floor is {it}?", "To which floor do the stairs to {it} lead?"),
            ("How high is {it}?", "Which storey holds {it}?"),
        ),
        "paint": (
            ("Which paint covers the walls of {it}?", "What colour are the walls of {it}?"),
            ("Which hue decorates {it}?", "What shade surrounds visitors to {it}?"),
        ),
        "curator": (
            ("Who is the curator of {it}?", "Which curator looks after {it}?"),
            ("Who takes care of {it}?", "Under whose charge is {it}?"),
        ),
        "view": (
            ("What do the windows of {it} look out on?", "On what does {it} look out?"),
            ("What can one see outside {it}?", "Which sight greets those who gaze from {it}?"),
        ),
    },
    "museum": {
        "founder": (
            ("Who founded {it}?", "Who was the founder of {it}?"),
            ("Who established {it}?", "To whom does {it} owe its existence?"),
        ),
        "home": (
            ("In which city does {it} stand?", "What is the home city of {it}?"),
            ("Where is {it} located?", "What town would one visit to see {it}?"),
        ),
        "opened": (
            ("In which year did {it} open its doors?", "When were the doors of {it} opened?"),
            ("When did {it} first welcome visitors?", "Since when has {it} existed?"),
        ),
        "guard": (
            ("By whom is {it} guarded?", "What is {it} guarded by at night?"),
            ("Who keeps watch over {it}?", "Who protects {it} after dark?"),
        ),
    },
}

# The first of two hops: (kind, fact) -> the kind of page that it leads to, and how to speak of what stands there.
LEADS: dict[tuple[str, str], tuple[str, Wordings]] = {
    ("exhibit", "maker"): ("maker", (("the maker of {it}",), ("the artist behind {it}",))),
    ("exhibit", "city"): ("city", (("the city in which {it} was made",), ("the town where {it} originates",))),
    ("exhibit", "wing"): ("wing", (("the wing in which {it} stands",), ("the place where one would find {it}",))),
    ("maker", "birthplace"): ("city", (("the city in which {it} was born",), ("the home town of {it}",))),
    ("museum", "home"): ("city", (("the city in which {it} stands",), ("the town around {it}",))),
}

TYPES = {"one_hop": 9, "two_hop": 6, "picture": 5}
PHRASINGS = {"one_hop": {"paraphrase": 10, "plain": 6, "code": 4}, "picture": {"paraphrase": 1, "plain": 1}}
PHRASINGS["two_hop"] = PHRASINGS["one_hop"]
SUBJECTS = {"one_hop": {"exhibit": 12, "maker": 3, "city": 2, "wing": 2, "museum": 1}, "picture": {"exhibit": 1}}
SUBJECTS["two_hop"] = {"exhibit": 12, "maker": 2, "museum": 1}


def questions(about: Museum, number: int = PER_MUSEUM) -> list[dict]:
    """Different questions about one museum, as rows of the configuration `knowledge`."""
    dice = dice_for("knowledge", about.split, about.seed, about.index)
    pages = {page["id"]: page for page in about.pages()}
    rows: dict[str, dict] = {}
    while len(rows) < number:
        row = _question(about, pages, dice)
        row["id"] = f"{about.split}-{about.seed}-{about.index}-{len(rows)}"
        rows.setdefault(f"{row['question']} {row['objects']}", row)
    return list(rows.values())


def stream(split: str, seed: int = 0) -> Iterator[dict]:
    """Rows of the configuration `knowledge`, without end: 100 on museum 0, 100 on museum 1, and so on."""
    for index in count():
        yield from questions(museum(split, seed, index))


def question_on(about: Museum, pages: Mapping[str, dict], page: Mapping, type_: str, dice: Dice) -> dict:
    """A question that begins at what this page is about, "one_hop" or "two_hop": a row of `knowledge`, without an id.

    Args:
        pages: the museum's, by id.

    Raises:
        ValueError: if two hops are wanted and nothing on such a page leads on to another one.
    """
    kind = page["kind"]
    if type_ == "two_hop" and kind not in SUBJECTS["two_hop"]:
        raise ValueError(f"two hops begin at {', '.join(SUBJECTS['two_hop'])}; this page is about a {kind}")
    phrasing = _weighted(dice, PHRASINGS[type_])
    if kind != "exhibit" and phrasing == "code":
        phrasing = "plain"
    record = about.record(kind, page["subject"])
    return _worded(
        about, pages, dice, type_, phrasing, (kind, record, _spoken_of(kind, record, phrasing, dice)), NO_PICTURE
    )


def _question(about: Museum, pages: Mapping[str, dict], dice: Dice) -> dict:
    type_ = _weighted(dice, TYPES)
    phrasing = _weighted(dice, PHRASINGS[type_])
    kind = "exhibit" if phrasing == "code" else _weighted(dice, SUBJECTS[type_])
    picture = NO_PICTURE
    if type_ == "picture":
        scene, it, subject = _pointed_at(about.split, dice)
        record, picture = about.record(kind, subject), scene.to_row()
    else:
        record = dice.choice(about.records[kind])
        it = _spoken_of(kind, record, phrasing, dice)
    return _worded(about, pages, dice, type_, phrasing, (kind, record, it), picture)


def _worded(
    about: Museum,
    pages: Mapping[str, dict],
    dice: Dice,
    type_: str,
    phrasing: str,
    subject: tuple[str, Mapping[str, str], str],
    picture: dict,
) -> dict:
    """A question of this type about a subject: (its kind, its record, how it is spoken of)."""
    kind, record, it = subject
    by_filter = dice.below(2) == 0
    if kind == "museum" and by_filter:
        it = "the museum"
    names_museum = kind == "museum" or by_filter
    if kind == "exhibit" and type_ != "picture" and not by_filter and dice.below(2):
        it, names_museum = f"{it} of the {about.name}", True
    evidence = [about.page_id(kind, record[kind])]
    variant = int(phrasing == "paraphrase")
    if type_ == "two_hop":
        fact = dice.choice([fact for start, fact in LEADS if start == kind])
        target, names = LEADS[kind, fact]
        it = dice.choice(names[variant]).format(it=it)
        record, kind = about.record(target, record[fact]), target
        evidence.append(about.page_id(kind, record[kind]))
    fact = dice.choice([fact for fact in ASK[kind] if (fact, phrasing) != ("code", "code")])
    question = dice.choice(ASK[kind][fact][variant]).format(it=it)
    if not names_museum:
        question = f"According to the {about.name}, {question[0].lower()}{question[1:]}"
    value = value_of(record, fact)
    return {
        "id": "",
        "museum": about.name,
        "question": question,
        "answer": value,
        "sentence": sentence_of(pages[evidence[-1]], value),
        "type": type_,
        "phrasing": phrasing,
        "needs": "both" if type_ == "picture" else "knowledge",
        "pages": evidence,
        "filter": about.name if by_filter else "",
        **picture,
    }


def _weighted(dice: Dice, weights: Mapping[str, int]) -> str:
    return list(weights)[dice.weighted(list(weights.values()))]


def _spoken_of(kind: str, record: Mapping[str, str], phrasing: str, dice: Dice) -> str:
    """How a question speaks of its subject: by name, by other words for colour and shape, or by code."""
    if phrasing == "code":
        return f"exhibit {value_of(record, 'code')}"
    if kind == "exhibit" and phrasing == "paraphrase":
        colour, shape = record[kind].split()
        return f"the {dice.choice(COLOUR_WORDS[colour])} {dice.choice(SHAPE_WORDS[shape])}"
    return record[kind] if kind in ("maker", "city") else f"the {record[kind]}"


def _pointed_at(split: str, dice: Dice) -> tuple[scenes.Scene, str, str]:
    """A scene, words that point at one of its objects without saying what it is, and the exhibit that it is.

    In the composition split it is one of the pairs that no training picture holds.
    """
    pairs = HELD_OUT_PAIRS if split == "composition" else TRAIN_PAIRS
    while True:
        scene = scenes.sample(dice, split)
        try:
            text, pointed = visual.referring_expression(scene, dice)
        except ValueError:  # four objects alike, placed so that no words mean just one of them
            continue
        if pointed.pair in pairs and not set(pointed.pair) <= set(text.split()):
            return scene, text, " ".join(pointed.pair)


# -------------------------------------------------------------------------------------------------------- right answers


def answer(row: Mapping, pages: Sequence[Mapping]) -> str:
    """The one right answer from these pages, in the order of the prompt: the fact in the page's own words, and where.

    "The red star was made by Talo Brenik. [2]", or "unknown" when a page that the question needs is missing.
    """
    numbers = {page["id"]: number for number, page in enumerate(pages, start=1)}
    if any(page not in numbers for page in row["pages"]):
        return UNKNOWN
    return cite(row["sentence"], numbers[row["pages"][-1]])


def logprob(text: str, row: Mapping, pages: Sequence[Mapping]) -> float:
    """log p(answer | question, pages): there is one right answer, so 0 for it and −∞ for any other."""
    return 0.0 if text == answer(row, pages) else -math.inf


def context(row: Mapping, store: Sequence[Mapping], dice: Dice, size: int = 3, missing: bool = False) -> list[dict]:
    """Pages for a prompt, in random order: the evidence, and others of the store that the filter admits.

    With `missing`, one page of the evidence is left out, so that the right answer is "unknown".
    """
    admitted = {page["id"]: page for page in store if row["filter"] in ("", page["museum"])}
    absent = [page for page in row["pages"] if page not in admitted]
    if absent:
        raise ValueError(f"the store lacks {absent}, the evidence for {row['question']!r}")
    evidence = [admitted.pop(page) for page in row["pages"]]
    if missing:
        evidence.pop(dice.below(len(evidence)))
    if not len(evidence) <= size <= len(evidence) + len(admitted):
        raise ValueError(f"cannot choose {size} pages: {len(evidence)} are needed and {len(admitted)} others are there")
    others = list(admitted.values())
    while len(evidence) < size:
        evidence.append(others.pop(dice.below(len(others))))
    return dice.shuffled(evidence)
