"""Stories: twenty plots about visitors of a museum, told a little differently every time.

A plot (see `stories_text`) is written much as one would tell it:

    - {who} felt <low>, but took {friend}'s hand. "What was the {colour} {shape} like?" {he} <said><softly>.
      "Hold my hand," <said> {who}<softly>. "What was the {colour} {shape} like?" {friend} <reacted>.
    - "As {colour} as {like}," <said> {friend}<softly>, "and made of [clay/glass/wood]."
    + turn
    => here=room2
    - if winner=who: {who} had won.
      if winner=friend: {friend} had won.

`- ` begins a sentence, and the lines below it are other wordings, each equally likely. [a/b/c] is a choice on the spot,
<softly> one from a list of words. {who} is drawn the first time it is said and then remembered, with its pronouns ({he}
for {who}, {fhe} for {friend}), and so is everything in braces: the children find their way in the dark because the red
star is still where it was. {room2} is another room than {room}. `+ turn` is something that may happen in any story (see
`stories_text/shared.py`), `=> here=room2` remembers in silence that they are there now, `if …:` opens a wording only to
stories in which it is true. An empty line begins a paragraph.

All of it becomes one `Grammar`, which can sample a story, score it exactly, and say where a text contradicts itself.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from fmnotes.museum.dice import Dice
from fmnotes.museum.grammar import Alt, Facts, Grammar, State, Words
from fmnotes.museum.stories_text import PLOTS, shared, words
from fmnotes.museum.stories_text.notation import Writer, weighted
from fmnotes.museum.world import COLOURS, SHAPES, dice_for

# --------------------------------------------------------------------------------------------------- what can be drawn

PEOPLE = {"who": "", "friend": "f", "guard": "g", "elder": "e", "kin": "k"}  # how their pronouns are marked: {fhe}
LISTS = {
    "kin": list(words.KIN),
    "guard": words.STAFF,
    "elder": words.ELDERS,
    "room": words.ROOMS,
    "here": words.ROOMS,
    "thing": words.THINGS,
    "food": words.FOODS,
    "animal": words.ANIMALS,
    "pet": words.PET_NAMES,
    "bird": words.BIRDS,
    "town": words.TOWNS,
    "material": words.MATERIALS,
    "spot": words.SPOTS,
    "show": words.SHOWS,
    "prize": words.PRIZES,
    "treasure": words.TREASURES,
    "pattern": words.PATTERNS,
    "tune": words.TUNES,
    "subject": words.SUBJECTS,
    "worker": words.WORKERS,
    "hamper": words.HAMPERS,
    "age": words.AGES,
    "span": words.SPANS,
    "count": words.COUNTS,
    "weekday": words.WEEKDAYS,
    "daytime": words.DAYTIMES,
    "mood": words.MOODS,
    "weather": list(words.WEATHER),
    "night": words.NIGHTS,
    "garment": words.GARMENTS,
    "colour": COLOURS,
    "shape": SHAPES,
}
SEVERAL = ("colour", "shape", "room", "spot", "food", "pattern", "age", "count", "night", "garment")
SOLUTION = {hint: shape for shape, hints in words.HINTS.items() for hint in hints.split(",")}
SILENT = ("judge_contest", "judge_bet", "solve", "solve2")  # rules that say nothing, and settle what follows


def _domains() -> dict[str, Words | State]:
    """Every domain by its name. A variable draws from the domain of its own name, or of its name without the digit."""
    domains: dict[str, Words | State] = {name: Words(values) for name, values in LISTS.items()}
    names = Words(words.GIRLS + words.BOYS)
    domains["who"] = names
    # The two children are a girl and a boy, in either order, so that "she" and "he" never leave a doubt.
    others = {"she": words.BOYS, "he": words.GIRLS}
    domains["friend"] = State(lambda facts: others[words.PRONOUN[facts["who"]]], names)
    domains["third"] = State(lambda f: [n for n in names.values if n not in (f.get("who"), f.get("friend"))], names)
    domains["winner"] = State(lambda facts: [facts["who"], facts["friend"]], names)
    domains["loser"] = State(lambda facts: [], names)  # set by the rules `judge_…`, never drawn
    siblings = {"she": ["brother"], "he": ["sister"]}
    domains["sibling"] = State(lambda facts: siblings[words.PRONOUN[facts["who"]]], Words(["sister", "brother"]))
    for case, (she, he) in enumerate(zip(*words.CASES.values(), strict=True)):
        said = Words([she, he])
        for person, mark in PEOPLE.items():
            domains[mark + he] = State(_pronoun(person, case), said)
        for person in ("winner", "loser"):
            domains[f"{he}_{person}"] = State(_pronoun(person, case), said)
    for digit in ("", "2", "3", "4"):
        domains["like" + digit] = _depends_on("colour" + digit, words.LIKE)
    # A riddle comes before its answer: the rules `solve` and `solve2` remember the shape that it means.
    domains["hint"] = Words(list(SOLUTION))
    domains["hint2"] = State(
        lambda facts: [hint for hint in SOLUTION if SOLUTION[hint] != facts["shape"]], domains["hint"]
    )
    skies = [sky for skies in words.WEATHER.values() for sky in skies]
    domains["sky"] = State(lambda facts: words.WEATHER[facts["weather"]], Words(skies))
    return domains


def _pronoun(person: str, case: int) -> Callable[[Facts], list[str]]:
    return lambda facts: [words.CASES[words.PRONOUN[facts[person]]][case]]


def _depends_on(variable: str, table: dict[str, str]) -> State:
    lists = {value: line.split(",") for value, line in table.items()}
    return State(lambda facts: lists[facts[variable]], Words([said for values in lists.values() for said in values]))


# -------------------------------------------------------------------------------------- what changes, and what is open


def _other_child(facts: Facts) -> Facts:
    return {"loser": facts["friend"] if facts["winner"] == facts["who"] else facts["who"]}


def _older_wins(facts: Facts) -> Facts:
    """`who` has bet on the first exhibit, `friend` on the second."""
    first, second = (words.AGES.index(facts[age]) for age in ("age", "age2"))
    winner, loser = ("who", "friend") if first > second else ("friend", "who")
    return {"winner": facts[winner], "loser": facts[loser]}


def _events(write: Writer) -> None:
    """The rules behind `+ turn` and `+ recall`: small events, open or shut by what has happened, and their echoes."""

    def knows(*needed: str, but: str = "") -> Callable[[Facts], bool]:
        needed = ("who", "friend", *needed)
        return lambda facts: all(name in facts for name in needed) and but not in facts

    def has(what: str, person: str) -> Callable[[Facts], bool]:
        return lambda facts: knows(what)(facts) and facts[what] == facts.get(person, person)

    def gives(what: str, person: str) -> Callable[[Facts], Facts]:
        return lambda facts: {what: facts.get(person, person)}

    for name, text in shared.EVENTS.items():
        write.passage(name, text)
    for name, text in shared.RECALLS.items():
        write.passage("recall_" + name, text)
    for name in ("opening", "mood", "aside", "wear"):
        write.passage(name, getattr(shared, name.upper()))
    write.passage("hold", shared.CARRY)
    write.rules["carry"] = [
        Alt(5, "<hold>", then=gives("holder", "who")),
        Alt(4, "<wear>", knows(), gives("wearer", "who")),
        Alt(2, "<mood>", knows()),
    ]
    write.rules["judge_contest"] = [Alt(1, "", then=_other_child)]
    write.rules["judge_bet"] = [Alt(1, "", then=_older_wins)]
    write.rules["solve"] = [Alt(1, "", then=lambda facts: {"shape": SOLUTION[facts["hint"]]})]
    write.rules["solve2"] = [Alt(1, "", then=lambda facts: {"shape2": SOLUTION[facts["hint2"]]})]
    write.rules["turn"] = [
        Alt(3, "<aside>"),
        Alt(4, "<look>", knows(but="colour4")),
        Alt(6, "<tour>", knows(but="colour4")),
        Alt(4, "<snack>", knows(but="food4")),
        Alt(3, "<here>", knows("here")),
        Alt(7, "<give>", has("holder", "who"), gives("holder", "friend")),
        Alt(4, "<lay>", has("holder", "who"), gives("holder", "bench")),
        Alt(20, "<back>", has("holder", "friend"), gives("holder", "who")),
        Alt(5, "<lend>", has("wearer", "who"), gives("wearer", "friend")),
    ]
    left = has("holder", "bench")  # what lies on a bench is fetched before anything else is said
    echoes = {
        "seen": knows("colour4"),
        "food": knows("food4"),
        "holds_friend": has("holder", "friend"),
        "holds_who": lambda facts: has("holder", "who")(facts) and "kin" in facts,
        "wears_friend": has("wearer", "friend"),
        "wears_who": has("wearer", "who"),
        "mood": knows("mood"),
        "weather": knows("weather"),
        "place": knows("here"),
    }
    weights = {"weather": 1, "place": 1, "wears_friend": 9, "holds_friend": 9}
    write.rules["recall"] = [Alt(1, "<recall_bench> ", left, gives("holder", "who"))] + [
        Alt(weights.get(name, 4), f"<recall_{name}> ", lambda facts, opens=opens: not left(facts) and opens(facts))
        for name, opens in echoes.items()
    ]
    write.rules["recall"].append(Alt(9, "", lambda facts: not left(facts)))


@cache
def grammar() -> Grammar:
    """The grammar of all stories; they start at the rule `story`, and every plot is equally likely."""
    domains = _domains()
    write = Writer(domains, SEVERAL, SILENT)
    for name, line in words.CLASSES.items():
        write.rules[name] = weighted(write.template(line).split("/"))
    _events(write)
    for name, text in PLOTS.items():
        write.passage(name, text)
    write.rules["story"] = [f"<{name}>" for name in PLOTS]
    return Grammar(write.rules, domains)


# ------------------------------------------------------------------------------------------------------- what one asks


def sample(dice: Dice) -> str:
    """A story."""
    return grammar().sample("story", dice)[0]


def stream(split: str, seed: int = 0) -> Iterator[dict[str, str]]:
    """Stories without end, as rows {id, text}. The same split and seed give the same rows; no two splits share dice."""
    dice = dice_for("stories", split, seed)
    number = 0
    while True:
        yield {"id": f"story-{split}-{seed}-{number}", "text": sample(dice)}
        number += 1


def logprob(text: str) -> float:
    """log p(text) in nats: exact, the end of the story included; −∞ if no story reads so."""
    return grammar().logprob(text, "story")


@dataclass(frozen=True)
class Verdict:
    """What is true of a text and, if it is no story, where it first goes wrong: a position, and the sentence there."""

    verdict: Literal["sayable", "contradicts itself", "ungrammatical"]
    position: int | None = None
    sentence: str | None = None


def explain(text: str) -> Verdict:
    """Is this a story; or would it be one, if it remembered who is who, who holds what and where they are; or neither?

    A text that contradicts itself goes wrong where memory and text part; an ungrammatical one where even a teller
    without memory would have to stop (a story that is cut short: at its end).
    """
    if not text:
        return Verdict("ungrammatical", 0, "")
    position = grammar().sayable_until(text, "story")
    if position == len(text):
        return Verdict("sayable")
    loosely = grammar().sayable_until(text, "story", loose=True)
    if loosely == len(text):
        return Verdict("contradicts itself", position, _sentence_at(text, position))
    return Verdict("ungrammatical", loosely, _sentence_at(text, loosely))


_SENTENCE_END = re.compile(r"""(?<!Mr)(?<!Mrs)(?<!\.\.)[.!?]"?(?=\s|$)\s*""")


def _sentence_at(text: str, position: int) -> str:
    """The sentence that holds this position; the last one, if the text ends too early."""
    position += len(text[position:]) - len(text[position:].lstrip())
    start = 0
    for end in (match.end() for match in _SENTENCE_END.finditer(text)):
        if position < end or end == len(text):
            return text[start:end].strip()
        start = end
    return text[start:].strip()
