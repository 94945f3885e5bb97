"""The stories: sayable and scored exactly, consistent, varied, and neither noise nor a list."""

import math
import re
from collections import Counter
from itertools import islice

import pytest

from fmnotes.museum import stories
from fmnotes.museum.dice import Dice
from fmnotes.museum.ngram import END, NGram, words
from fmnotes.museum.stories_text import PLOTS
from fmnotes.museum.stories_text import words as vocabulary

NAME = re.compile(r"\b(?:" + "|".join(vocabulary.GIRLS + vocabulary.BOYS) + r")\b")


@pytest.fixture(scope="module")
def told() -> list[str]:
    return [row["text"] for row in islice(stories.stream("validation", 1), 1000)]


def plot_of(text: str) -> list[str]:
    return [plot for plot in PLOTS if any(True for _ in stories.grammar().derivations(text, plot))]


# -------------------------------------------------------------------------------------------------------- the language


def test_no_plot_has_a_dead_end_and_every_text_is_sayable_in_one_way():
    grammar, total = stories.grammar(), 0
    for plot in PLOTS:
        dice = Dice(len(plot), 0)
        for number in range(250):
            text, _ = grammar.sample(plot, dice)
            if number % 5 == 0:
                assert len(list(grammar.derivations(text, plot))) == 1, text
            total += 1
    assert total >= 5000


def test_logprob_is_the_probability_of_the_choices_that_were_made(told):
    """Against an independent sampler that adds up its own choices."""
    grammar = stories.grammar()

    class Counting(Dice):
        spent = 0.0

        def below(self, n):
            if not self.weighing:
                self.spent -= math.log(n)
            return super().below(n)

        weighing = False

        def weighted(self, weights):
            self.weighing = True
            index = super().weighted(weights)
            self.weighing = False
            self.spent += math.log(weights[index] / sum(weights))
            return index

    for seed in range(200):
        dice = Counting(seed)
        text, _ = grammar.sample("story", dice)
        assert stories.logprob(text) == pytest.approx(dice.spent, abs=1e-9)


def test_plots_are_about_equally_likely(told):
    plots = Counter(plot for text in told for plot in plot_of(text))
    assert sum(plots.values()) == len(told)  # exactly one each
    mean = len(told) / len(PLOTS)
    assert len(PLOTS) >= 15 and set(plots) == set(PLOTS)
    assert all(abs(count - mean) < 5 * math.sqrt(mean) for count in plots.values())


def test_streams_repeat_and_share_nothing(told):
    assert told[:50] == [row["text"] for row in islice(stories.stream("validation", 1), 50)]
    rows = list(islice(stories.stream("train"), 500))
    assert list(rows[0]) == ["id", "text"] and len({row["id"] for row in rows}) == 500
    others = [row["text"] for split in ("test", "composition") for row in islice(stories.stream(split, 1), 500)]
    texts = told + [row["text"] for row in rows] + others
    assert len(set(texts)) == len(texts)
    with pytest.raises(ValueError, match="no split 'dev'"):
        next(stories.stream("dev"))


# -------------------------------------------------------------------------------------------------------- the manner


def test_texts_are_clean(told):
    for text in told:
        assert text.isascii() and text == text.strip()
        assert not re.search(
            r"  | \n|\n |\n{3}|[{}<>\[\]/|]| [.,!?]|,,|\.\.(?!\.)(?<!\.\.\.)", text.replace("...", "…")
        )
        assert text.count('"') % 2 == 0
        assert not re.search(r"\b[Aa] [aeio]|\b[Aa] u(?!ni)|\b[Aa]n (?!hour)[^aeiou]", text), text
        assert all(re.match(r'"?[A-Z]', paragraph) for paragraph in text.split("\n\n"))
        assert not re.search(
            r'(?<!Mr)(?<!Mrs)(?<!\.\.)[.!?]"? "?[a-z](?!\w* (?:said|asked))', re.sub(r'[!?]" [a-z]', "", text)
        )


def test_length_dialogue_and_words(told):
    lengths = [len(text) for text in told]
    assert min(lengths) >= 600 and max(lengths) <= 1600 and sum(lengths) / len(told) < 1300
    assert sum('"' in text for text in told) > 0.95 * len(told)
    assert len({word for text in told for word in re.findall(r"[a-z]+", text.lower())}) >= 1000


def test_pronouns_agree(told):
    """The children are a girl and a boy; nobody is "she" in a story that has no woman or girl."""
    for text in told:
        names = set(NAME.findall(text))
        women = names & set(vocabulary.GIRLS) or re.search(r"Mrs\.|mother|sister|aunt", text)
        men = names & set(vocabulary.BOYS) or re.search(r"Mr\.|father|brother|uncle", text)
        assert women or not re.search(r"\b(she|her|herself)\b", text, re.I), text
        assert men or not re.search(r"\b(he|his|him|himself)\b", text, re.I), text


# What a sentence does to the thing: (what it says, who must hold it before, who holds it after).
MOVES = (
    ("{who} let {friend} hold the {thing}|{who} gave {friend} the {thing}|carry the {thing}[?]", "who", "friend"),
    ("{friend} gave the {thing} back|Here is your {thing}", "friend", "who"),
    ("{who} put the {thing} on", "who", "bench"),
    ("My {thing}!|remembered the {thing}", "bench", "who"),
    ("still holding the {thing}|your {thing} all the time", "friend", "friend"),
    ("for the {thing}[.] It was|showed the {thing}", "who", "who"),
)


def test_what_is_carried_is_never_in_two_places():
    """Follow the thing through the events by their words alone, and compare with what the story remembers."""
    grammar, moves = stories.grammar(), Counter()
    for seed in range(5000):
        text, facts = grammar.sample("story", Dice(seed, 5))
        if "thing" not in facts or "friend" not in facts:
            continue
        place, patterns = "who", [(pattern.format(**facts), *places) for pattern, *places in MOVES]
        for sentence in re.split(r"(?<=[.!?])\s+(?!It was)", text):
            for pattern, before, after in patterns:
                if re.search(pattern, sentence):
                    assert place == before, text
                    place = after
                    moves[before, after] += 1
        assert place != "bench", text  # what was laid down has been fetched
        assert facts["holder"] == facts[place], text
    assert len(moves) == len(MOVES) and min(moves.values()) >= 5


def test_the_older_exhibit_wins_the_bet():
    """Read from the text alone: what the children claim, what the guide reads out, and who has won."""
    winners = Counter()
    for seed in range(200):
        text, _ = stories.grammar().sample("bet", Dice(seed, 6))
        claim, who, friend = re.search(
            r'The (\w+ \w+) is older," \w+ (\w+).*?, the \w+ \w+ is," \w+ (\w+)', text
        ).groups()
        first, age, age2 = re.search(
            r'"The (\w+ \w+) is ([\w -]+) years old," .*?"the \w+ \w+ ([\w -]+)\."', text
        ).groups()
        older_is_first = vocabulary.AGES.index(age) > vocabulary.AGES.index(age2)
        right = who if (first == claim) == older_is_first else friend
        won, lost = re.search(r"([A-Z]\w+) had won and|So (\w+) had lost", text).groups()
        assert won == right or lost in {who, friend} - {right}, text
        winners[right == who] += 1
    assert min(winners.values()) > 60


# -------------------------------------------------------------------------------------------------------- explanations


def test_a_swapped_name_contradicts(told):
    tried = 0
    for number, text in enumerate(told[:300]):
        names = list(NAME.finditer(text))
        if not names or sum(name[0] == names[-1][0] for name in names) < 2:
            continue
        last = names[-1]
        stranger = next(name for name in vocabulary.GIRLS[number % 30 :] + vocabulary.BOYS if name not in text)
        verdict = stories.explain(text[: last.start()] + stranger + text[last.end() :])
        assert verdict.verdict == "contradicts itself"
        assert last.start() - 3 <= verdict.position <= last.start() + 3  # "Karl" and "Kira" part at their second letter
        assert stranger in verdict.sentence
        tried += 1
    assert tried > 200


def test_a_scrambled_word_is_ungrammatical(told):
    for text in told[:100]:
        word = list(re.finditer(r"[a-z]{6,}", text))[-3]
        broken = text[: word.start()] + "x" + word[0][::-1] + text[word.end() :]
        verdict = stories.explain(broken)
        assert verdict.verdict == "ungrammatical" and stories.logprob(broken) == -math.inf
        assert verdict.position <= word.start() and "x" + word[0][::-1] in broken[verdict.position :]
        assert broken.count(verdict.sentence) == 1


def test_explanations_of_all_kinds():
    text = next(stories.stream("test"))["text"]
    assert stories.explain(text) == stories.Verdict("sayable")
    assert stories.explain(text[:-1]).verdict == "ungrammatical"
    assert stories.explain(text + " The end.").sentence == "The end."
    assert stories.explain("Once upon a time.") == stories.Verdict("ungrammatical", 2, "Once upon a time.")
    assert stories.explain("") == stories.Verdict("ungrammatical", 0, "")


# ------------------------------------------------------------------------------------------- neither noise nor a list


def test_ngram_is_a_distribution_and_counts_right():
    model = NGram(3).fit([words(text) for text in ("a b a b a c", "a b b a", "c a b")])
    for context in ([], [" b"], ["a", " b"], ["never", " seen"], [" b", " a"]):
        p = model.distribution(context)
        assert sum(p.values()) == pytest.approx(1, abs=1e-12) and min(p.values()) > 0
        assert set(p) == {"", END, "a", "c", " a", " b", " c"}
    assert max(p := model.distribution(["a"]), key=p.get) == " b"
    tokens = ["a", " b", " a"]
    steps = [model.distribution(tokens[:i])[token] for i, token in enumerate([*tokens, END])]
    assert model.logprob(tokens) == pytest.approx(sum(map(math.log, steps)))
    spelled = model.logprob(["a", " zz"])  # the unknown token, and three bytes and a stop, each 1 of 257
    known = math.log(
        model.distribution([])["a"] * model.distribution(["a"])[""] * model.distribution(["a", " zz"])[END]
    )
    assert spelled == pytest.approx(known - 4 * math.log(257))
    with pytest.raises(ValueError, match="order 1 or more"):
        NGram(0)
    with pytest.raises(ValueError, match="at least one text"):
        NGram(2).fit([])


def test_kneser_ney_by_hand():
    """Order 2 on "x y x y x z": the bigram counts, minus their discounts, over the continuation counts."""
    model = NGram(2).fit([["x", "y", "x", "y", "x", "z"]])
    # bigrams: ^x 1, xy 2, yx 2, xz 1, z$ 1; n1 = 3, n2 = 2, n3 = 0: Y = 3/7, D1 = 1 - 2Y·2/3, D2 = 2, clipped to 1.9
    d1, d2 = 1 - 2 * (3 / 7) * 2 / 3, 1.9
    # continuations: x 2 (after ^ and y), y 1, z 1, $ 1; n1 = 3, n2 = 1: Y = 3/5, D1 = 1 - 2Y/3, D2 = 2 - 0 clipped
    e1, e2 = 1 - 2 * (3 / 5) / 3, 1.9
    below_y = (1 - e1 + (3 * e1 + e2) / 5) / 5  # five tokens: x, y, z, the end, the unknown
    assert model.distribution(["x"])["y"] == pytest.approx(
        (2 - d2 + (d1 + d2) * ((1 - e1) / 5 + (3 * e1 + e2) / 25)) / 3
    )
    assert below_y == pytest.approx((1 - e1) / 5 + (3 * e1 + e2) / 25)


def test_words_are_lossless(told):
    assert all("".join(words(text)) == text for text in told[:100])


def test_floor_and_five_grams():
    """The floor lies between 0.25 and 0.8 bits per byte, and a 5-gram of 20,000 stories stays 1.3 times above it."""
    held_out = [row["text"] for row in islice(stories.stream("test", 2), 500)]
    size = sum(len(text.encode()) for text in held_out) * math.log(2)
    floor = -sum(map(stories.logprob, held_out)) / size
    assert 0.25 < floor < 0.8
    model = NGram(5).fit([words(row["text"]) for row in islice(stories.stream("train"), 20_000)])
    assert -sum(model.logprob(words(text)) for text in held_out) / size > 1.3 * floor
