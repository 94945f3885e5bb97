"""The grammar against its own enumeration: what it samples, what it scores, and what it refuses."""

import math
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnotes.museum.dice import Dice
from fmnotes.museum.grammar import Alt, Grammar, State, Words

TOYS = Grammar(
    rules={
        "story": [
            "{who:name} has {toy:toy|a}.<event>",
            (2, "{who:name} and {friend:name!who} share {toy:toy|a}.<event>"),
        ],
        "event": [
            (3, ""),
            Alt(2, "<down><event>", lambda f: f.get("holder", "who") == "who"),
            Alt(1, " {friend} takes the {toy}.", lambda f: "friend" in f and f.get("holder", "who") == "who"),
            Alt(5, " It lies on the floor, {mood:mood}.", lambda f: f.get("holder") == "floor"),
        ],
        "down": [Alt(1, " {who} puts it down.", then=lambda f: {"holder": "floor"})],
    },
    domains={
        "name": Words(["Ann", "Bo", "Cy"]),
        "toy": Words(["ball", "egg"]),
        "mood": State(
            lambda f: ["round"] if f["toy"] == "ball" else ["white", "whole"], Words(["round", "white", "whole"])
        ),
    },
)
# Ambiguous on purpose: "aa" can be said in three ways, and no literal tells the alternatives apart.
TWICE = Grammar({"s": ["<x><x>"], "x": [(1, "a"), (2, "aa"), (1, "")]}, {})


def enumerated(grammar: Grammar, start: str) -> dict[str, float]:
    p: dict[str, float] = defaultdict(float)
    for text, probability in grammar.texts(start):
        p[text] += probability
    return p


@pytest.mark.parametrize(("grammar", "start", "size"), [(TOYS, "story", 75), (TWICE, "s", 5)])
def test_probabilities_of_all_texts_sum_to_one_and_logprob_agrees(grammar, start, size):
    p = enumerated(grammar, start)
    assert len(p) == size
    assert sum(p.values()) == pytest.approx(1, abs=1e-12)
    for text, probability in p.items():
        assert grammar.logprob(text, start) == pytest.approx(math.log(probability), abs=1e-12)


def test_logprob_by_hand():
    # plot 1/3, who 1/3, toy 1/2, then of the open events (3 nothing, 2 down) the first
    assert TOYS.logprob("Bo has an egg.", "story") == pytest.approx(math.log(1 / 3 / 3 / 2 * 3 / 5))
    # ... and down 2/5; then of (3 nothing, 5 lies) the second, and one mood of two
    said = "Bo has an egg. Bo puts it down. It lies on the floor, whole."
    assert TOYS.logprob(said, "story") == pytest.approx(math.log(1 / 3 / 3 / 2 * 2 / 5 * 5 / 8 / 2))
    assert TWICE.logprob("aa", "s") == pytest.approx(math.log(1 / 4 * 1 / 4 + 2 * 2 / 4 * 1 / 4))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bo has a egg.",  # the article
        "Bo has an egg. Cy puts it down.",  # another holds it
        "Bo and Bo share a ball.",  # excluded
        "Bo has a ball. Bo takes the ball.",  # there is no friend
        "Bo has a ball. Bo puts it down. It lies on the floor, white.",  # a ball is round
        "Bo has a ball. ",  # more than was said
        "Bo has a bal",  # less
    ],
)
def test_what_cannot_be_said_has_no_probability(text):
    assert TOYS.logprob(text, "story") == -math.inf


def test_samples_come_as_often_as_they_should():
    p, n, dice = enumerated(TOYS, "story"), 40_000, Dice(1)
    seen = Counter(TOYS.sample("story", dice)[0] for _ in range(n))
    assert set(seen) <= set(p)
    chi2 = sum((seen[text] - n * q) ** 2 / (n * q) for text, q in p.items())
    free = len(p) - 1
    assert chi2 < free + 4 * math.sqrt(2 * free)


def test_facts_are_said_and_not_drawn():
    facts = {"who": "Dora"}
    text, after = TOYS.sample("story", Dice(3), facts)
    assert text.startswith("Dora ") and after["who"] == "Dora" and facts == {"who": "Dora"}
    p = defaultdict(float)
    for said, probability in TOYS.texts("story", facts):
        p[said] += probability
    assert sum(p.values()) == pytest.approx(1)
    assert all(TOYS.logprob(said, "story", facts) == pytest.approx(math.log(q)) for said, q in p.items())
    assert TOYS.logprob("Bo has a ball.", "story", facts) == -math.inf


@pytest.mark.parametrize(
    ("text", "strictly", "loosely"),
    [
        ("Bo has an egg. Cy puts it down.", 15, True),  # wrong from "Cy" on
        ("Bo has a ball. Bo puts it down. It lies on the floor, white.", 54, True),
        ("Bo has an egg. Bo puts it up.", 26, False),  # ungrammatical at "up", also for a teller without memory
        ("Bo has an egg.", 14, True),
    ],
)
def test_loose_reading_forgets_but_keeps_the_grammar(text, strictly, loosely):
    assert TOYS.sayable_until(text, "story") == strictly
    assert (TOYS.sayable_until(text, "story", loose=True) == len(text)) is loosely
    if not loosely:
        assert TOYS.sayable_until(text, "story", loose=True) == strictly


def test_loose_reading_is_bounded():
    """Forty choices that all read alike: 2⁴⁰ loose derivations, one of which is followed."""
    names = Words(["Ann", "Bo"])
    step = [f"{{a:name}} ran. <s{i + 1}>" for i in range(40)]
    rules = {f"s{i}": [step[i], step[i].replace("{a:", "{b:")] for i in range(40)} | {"s40": ["End."]}
    grammar = Grammar(rules, {"name": names})
    text = "Ann ran. " * 39 + "Bo ran. End"
    assert grammar.sayable_until(text, "s0", loose=True) == len(text) - 1
    assert grammar.sayable_until(text + ".", "s0", loose=True) == len(text) + 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any), st.integers(0, 2**32))
def test_dice_keep_to_weights(weights, seed):
    dice = Dice(seed)
    drawn = [dice.weighted(weights) for _ in range(50)]
    assert all(weights[index] > 0 for index in drawn)
    again = Dice(seed)
    assert drawn == [again.weighted(weights) for _ in range(50)]
    assert sorted(dice.shuffled(weights)) == sorted(weights)


def test_dice_are_fair():
    dice, n = Dice(7), 30_000
    counts = Counter(dice.below(6) for _ in range(n))
    assert all(abs(counts[face] - n / 6) < 5 * math.sqrt(n / 6) for face in range(6))
    orders = Counter(tuple(dice.shuffled("abc")) for _ in range(n))
    assert len(orders) == 6 and max(orders.values()) < 1.1 * min(orders.values())


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"s": ["Hello <other>"]}, "continues with <other>, which is not a rule"),
        ({"s": ["{x:place}"]}, "draws from 'place', which is not a domain"),
        ({"s": ["{x:name|loud}"]}, "asks for the form |loud"),
    ],
)
def test_a_wrong_template_is_named(rules, message):
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        Grammar(rules, {"name": Words(["Ann"])})


def test_other_mistakes_are_named():
    with pytest.raises(ValueError, match="'Ann' stands twice"):
        Words(["Ann", "Bo", "Ann"])
    with pytest.raises(KeyError, match="said before it is drawn"):
        Grammar({"s": ["{who}"]}, {}).sample("s", Dice(0))
    with pytest.raises(ValueError, match="no alternative of <s> is open"):
        Grammar({"s": [Alt(1, "no", when=lambda facts: False)]}, {}).sample("s", Dice(0))
    with pytest.raises(ValueError, match="nothing is left to say"):
        Grammar({"s": ["{a:name}{b:name!a}"]}, {"name": Words(["Ann"])}).sample("s", Dice(0))
    with pytest.raises(ValueError, match="not all zero"):
        Dice(0).weighted([0, 0])
