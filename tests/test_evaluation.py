"""Perplexities and cloze tests against plain loops over transformers' logits; cloze items and n-grams by hand."""

import math
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnotes import museum
from fmnotes.bpe import train_bpe
from fmnotes.evaluation import Cloze, ClozeScores, Scores, cloze, cloze_items, distinct, repetition, score
from fmnotes.gpt2 import GPT2, GPT2Config

STORY = "Anna went to the garden with her dog. The dog saw a cat, and so they ran home from the garden."
TOKENIZER = train_bpe(STORY, 280, ["<|endoftext|>"])
END = TOKENIZER.special_tokens["<|endoftext|>"]
CONTEXT = 32


def randomised(dtype=torch.float64, vocab_size=280):
    """A model of which every parameter is random: fresh ones have biases of 0 and norms of 1, which hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    model = GPT2(GPT2Config(vocab_size, CONTEXT, d_model=16, n_layer=2, n_head=2)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.to(dtype)


MODEL = randomised()
THEIRS = MODEL.to_transformers()


@torch.no_grad()
def surprise(ids):
    """-log p of the last id after all others, by transformers, and whether it is the most likely one."""
    logits = THEIRS(torch.tensor([ids[:-1]])).logits[0, -1]
    return F.cross_entropy(logits, torch.tensor(ids[-1])).item(), logits.argmax().item() == ids[-1]


# Perplexity

TEXTS = {
    "shorter than the context": ["The dog ran."],
    "several in one window": ["A cat.", "Ä ö – €", "dog"],
    "longer than the context": [STORY, "They ran  home\n\nto the dog!", STORY[:60], "café"],
}


@pytest.mark.parametrize("stride", [None, 1, 5])
@pytest.mark.parametrize("name", TEXTS)
def test_scores_equal_the_loop_over_tokens(name, stride):
    texts, row, expected = TEXTS[name], [END], []
    for text in texts:
        tokens, nats = [*TOKENIZER.encode(text), END], 0.0
        for token in tokens:
            row.append(token)
            step = stride or CONTEXT
            start = math.ceil(max(0, len(row) - 1 - CONTEXT) / step) * step  # of the first window with this token
            nats += surprise(row[start:])[0]
        expected.append((nats, len(tokens), len(text.split()), len(text.encode())))
    scores = score(MODEL, TOKENIZER, iter(texts), stride)
    nats, *counts = zip(*expected)
    np.testing.assert_allclose(scores.nats, nats, rtol=0, atol=1e-9)
    assert [list(x) for x in (scores.tokens, scores.words, scores.bytes)] == [list(x) for x in counts]


def test_scores_count_words_and_bytes_but_no_end_token_among_them():
    scores = score(MODEL, TOKENIZER, ["Ä ö – €", "dog"])
    assert list(scores.words) == [4, 1]
    assert list(scores.bytes) == [2 + 1 + 2 + 1 + 3 + 1 + 3, 3]
    assert scores.tokens[1] == len(TOKENIZER.encode("dog")) + 1


def test_scores_are_pooled_over_texts():
    ln2 = math.log(2)
    scores = Scores(np.array([6 * ln2, 18 * ln2]), np.array([6, 2]), np.array([5, 1]), np.array([20, 4]))
    assert scores.token_perplexity == pytest.approx(2**3)  # 24 bits in 8 tokens; a mean of both would be (2 + 512) / 2
    assert scores.word_perplexity == pytest.approx(2**4)
    assert scores.bits_per_byte == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_are_summed_in_float64_whatever_the_model(dtype):
    model = randomised(dtype)
    assert score(model, TOKENIZER, [STORY]).nats.dtype == np.float64
    scores = cloze(model, TOKENIZER, [Cloze(STORY, "dog")])
    assert (scores.nats.dtype, scores.right.dtype) == (np.float64, np.bool_)
    row, last = [*TOKENIZER.encode(STORY), *TOKENIZER.encode(" dog")][-CONTEXT - 1 :], TOKENIZER.encode(" dog")[-1]
    with torch.no_grad():
        logits = model(torch.tensor([row[:-1]]))[0, -1].float()
    assert TOKENIZER.encode(" dog") == [last]
    assert scores.nats[0] == pytest.approx(F.cross_entropy(logits, torch.tensor(last)).item(), abs=1e-5)


def test_score_refuses_bad_input():
    with pytest.raises(ValueError, match="there are no texts to score"):
        score(MODEL, TOKENIZER, [])
    with pytest.raises(ValueError, match=r"text 1 has no words, ' \\n': leave such texts out"):
        score(MODEL, TOKENIZER, ["A dog.", " \n", "A cat."])
    with pytest.raises(ValueError, match="text 0 has no words, ''"):
        score(MODEL, TOKENIZER, [""])
    with pytest.raises(TypeError, match=r"not one str: pass \[text\]"):
        score(MODEL, TOKENIZER, STORY)
    with pytest.raises(ValueError, match=r"contains the special token '<\|endoftext\|>'"):
        score(MODEL, TOKENIZER, ["A dog.<|endoftext|>A cat."])
    with pytest.raises(ValueError, match=r"input_ids hold 279, outside the vocabulary of 279 tokens"):
        score(randomised(vocab_size=279), TOKENIZER, ["A dog."])
    with pytest.raises(ValueError, match="stride must lie between 1 and the context_length of 32, not at 33"):
        score(MODEL, TOKENIZER, ["A dog."], stride=33)


# Cloze items


def items(text, least_words=3):
    return cloze_items([text], least_words)


@pytest.mark.parametrize(
    "text, context, word",
    [
        ("Tim saw a boat. He went into the boat.", "Tim saw a boat. He went into the", "boat"),
        ("Tim saw a boat! Was it a\nbig boat?", "Tim saw a boat! Was it a\nbig", "boat"),
        ("Tim's boats... One boat sank. Come, boats...", "Tim's boats... One boat sank. Come,", "boats"),
        ('A boat came.\n\nHe said, "I like the boat."', 'A boat came.\n\nHe said, "I like the', "boat"),
        ("A boat came. “Oh, the boat!” ", "A boat came. “Oh, the", "boat"),
        ("A boat came. He saw the boat. He ran off.", "A boat came. He saw the", "boat"),  # not in the text's last one
        ("A boat, a lake. A red boat. A blue lake.", "A boat, a lake. A red boat. A blue", "lake"),  # the last of two
        ("It is Anna's boat. So he asked Anna.", "It is Anna's boat. So he asked", "Anna"),
        ('"A boat!" said Tim. "Give me the boat!" said Sue.', None, None),  # a mark inside of a sentence
        ("Der Käse. Er mag Käse.", "Der Käse. Er mag", "Käse"),
        ("Milo came. He and Milo saw Mr. Milo.", None, None),  # neither does Mr. end one
        ("Milo came. He and Milo saw Mrs. Milo.", None, None),
        ("A boat came. A boat is no other boat.", None, None),  # in its own sentence, too
        ("A boat came. It is Anna's boat, said Anna.", None, None),
        ("A cat came. He saw the cat.", None, None),  # three letters
        ("Boats came. He saw the boats.", None, None),  # another case
        ("A boathouse burnt. He saw the boat.", None, None),  # only part of a word
        ("A row-boat came. He saw the row-boat.", None, None),  # not letters only
        ("It was 1999 then. It ended in 1999.", None, None),
        ('A boat came. He wrote "boat".', None, None),  # the word is not right before the point
        ("A boat came. He saw the boat", None, None),  # no end
        ("A boat came. He saw the boat.Then he ran", None, None),
        ("A boat came. He saw the  boat.", None, None),  # " boat" would not be how the text goes on
        ("A boat came. He saw the\nboat.", None, None),
        ("A boat came. And he ran away.", None, None),
        ("", None, None),
    ],
)
def test_cloze_items_by_hand(text, context, word):
    assert items(text) == ([Cloze(context, word)] if word else [])


def test_a_word_of_an_earlier_sentence_may_stand_alone():
    assert items("I see a boat. Boat! A big one. Boat!") == [Cloze("I see a boat. Boat! A big one.", "Boat")]


def test_cloze_items_have_enough_words_before():
    text = "A boat came. He saw the boat. One two three boat."
    assert items(text, 9) == [Cloze("A boat came. He saw the boat. One two three", "boat")] == items(text, 10)
    assert items(text, 11) == []
    assert cloze_items([text]) == []
    long = "word " * 29 + "boat. Then"
    assert cloze_items([f"{long} boat."], 31) == [Cloze(long, "boat")] == cloze_items([f"{long} boat.", text])[0:1]
    assert cloze_items([f"{long} boat."], 32) == []


WORDS = st.sampled_from(["Anna", "boat", "lake", "cat", "said", "Anna's", "row-boat", "été", "2024"])
SENTENCES = st.tuples(
    st.lists(WORDS, min_size=1, max_size=5).map(lambda words: [words[0][0].upper() + words[0][1:], *words[1:]]),
    st.sampled_from([".", "!", "?", "...", '."', "?!’"]),
    st.sampled_from([" ", "  ", "\n\n"]),
)


@given(st.lists(SENTENCES, max_size=6), st.integers(0, 8))
def test_cloze_items_equal_the_rule_on_lists_of_words(sentences, least_words):
    expected, text, before = [], "", []
    for words, mark, gap in sentences:
        start = " ".join(words[:-1])
        context = text + start if start else text[:-1]
        parts = [part for word in words[:-1] for part in word.replace("'", "-").split("-")]
        earlier = [part for word in before for part in word.replace("'", "-").split("-")]
        fits = words[-1].isalpha() and len(words[-1]) >= 4 and (start or text.endswith((". ", "! ", "? ", '" ', "’ ")))
        fits = fits and words[-1] in earlier and words[-1] not in parts
        if fits and len(before) + len(words) - 1 >= least_words:
            expected = [Cloze(context, words[-1])]
        text, before = text + " ".join(words) + mark + gap, before + words
    assert items(text, least_words) == expected


def test_cloze_items_of_the_museums_stories():
    texts = [row["text"] for row in islice(museum.stream("stories", "validation"), 100)]
    found = [(text, *item) for text in texts for item in cloze_items([text])]
    assert len(found) > 80
    for text, context, word in found:
        assert text.startswith(f"{context} {word}")
        assert text[len(context) + 1 + len(word)] in ".!?"
        assert word in context
        assert len(context.split()) >= 30
    assert cloze_items(texts) == [Cloze(*item) for _, *item in found]


def test_cloze_items_refuse_a_single_text():
    with pytest.raises(TypeError, match=r"not one str: pass \[text\]"):
        cloze_items(STORY)


# The cloze test


@settings(deadline=None, max_examples=30)
@given(st.text("adgno .", max_size=60), st.text("adegnor", min_size=1, max_size=12))
def test_cloze_equals_the_loop_over_tokens_of_transformers(context, word):
    row, target = [END, *TOKENIZER.encode(context)], TOKENIZER.encode(f" {word}")
    row = row[max(0, len(row) + len(target) - 1 - CONTEXT) :]  # the model's input is all but the last token
    steps = [surprise([*row, *target[: i + 1]]) for i in range(len(target))]
    scores = cloze(MODEL, TOKENIZER, [Cloze(context, word)])
    assert scores.nats[0] == pytest.approx(sum(nats for nats, _ in steps), abs=1e-9)
    assert scores.right[0] == all(first for _, first in steps)


def test_cloze_takes_the_end_token_where_it_fits():
    word = "dog"
    for count, seen in [(CONTEXT - 1, "end"), (CONTEXT, "cut")]:
        context = "z" * count  # a token each, and the word is one token
        assert len(TOKENIZER.encode(context)) == count and len(TOKENIZER.encode(" dog")) == 1
        before = [END, *TOKENIZER.encode(context)] if seen == "end" else TOKENIZER.encode(context)
        expected, _ = surprise([*before, *TOKENIZER.encode(" dog")])
        assert cloze(MODEL, TOKENIZER, [Cloze(context, word)]).nats[0] == pytest.approx(expected, abs=1e-9)


def test_a_word_is_right_if_all_of_its_tokens_are():
    """By a model that knows the story by heart."""
    torch.manual_seed(0)
    ids = torch.tensor([[END, *TOKENIZER.encode(STORY)]])
    model = GPT2(GPT2Config(280, 64, d_model=32, n_layer=1, n_head=2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        model.loss(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
    context, shorter = STORY.removesuffix(" home from the garden."), STORY.removesuffix(" garden.")
    assert TOKENIZER.encode(" home")[0] == TOKENIZER.encode(" hope")[0], "the first token is right in both"
    words = [Cloze(context, "home"), Cloze(context, "hope"), Cloze(context, "xome"), Cloze(shorter, "garden")]
    scores = cloze(model, TOKENIZER, iter(words))
    assert scores.right.tolist() == [True, False, False, True]
    assert scores.accuracy == 0.5
    assert scores.nats[0] < 0.2 < 3 < scores.nats[1]


def test_a_word_of_which_only_the_last_token_is_right_is_wrong():
    def greedy(letter):
        """The letter, and after it what the model would write."""
        row = [END, *TOKENIZER.encode("A dog"), *TOKENIZER.encode(f" {letter}")]
        return letter + TOKENIZER.decode([MODEL(torch.tensor([row]))[0, -1].argmax().item()])

    words = [word for word in map(greedy, "abcdefghijklmnopqrstuvwxyz") if word.isalpha()]
    words = [word for word in words if TOKENIZER.encode(f" {word}")[:-1] == TOKENIZER.encode(f" {word[0]}")]
    assert words
    assert not cloze(MODEL, TOKENIZER, [Cloze("A dog", word) for word in words]).right.any()


def test_accuracy_and_perplexity_by_hand():
    scores = ClozeScores(np.array([True, False, False, False]), np.log([1, 2, 4, 32]))
    assert scores.accuracy == 0.25
    assert scores.perplexity == pytest.approx(4)


def test_cloze_refuses_bad_input():
    with pytest.raises(ValueError, match="there are no cloze items: give longer texts to cloze_items"):
        cloze(MODEL, TOKENIZER, [])
    with pytest.raises(ValueError, match="the word 'z+' has 34 tokens, the model's context_length is 32"):
        cloze(MODEL, TOKENIZER, [Cloze("A dog", "z" * 33)])
    with pytest.raises(ValueError, match=r"input_ids hold 279, outside the vocabulary of 279 tokens"):
        cloze(randomised(vocab_size=279), TOKENIZER, [Cloze("A", "dog")])


# Words that come again


def test_distinct_and_repetition_by_hand():
    assert distinct(["a b a b"], 1) == 2 / 4
    assert distinct(["a b a b"], 2) == 2 / 3
    assert distinct(["a b", "b  a\n", "a"], 2) == 1.0, "no n-gram goes from one text into the next"
    assert distinct(["a b", "a b"], 2) == 1 / 2
    assert repetition("a b c d a b c d") == 1 / 5
    assert repetition("a a a a a", 1) == pytest.approx(4 / 5)
    assert repetition("A a", 1) == 0


SOME_TEXT = st.lists(st.sampled_from("abcd"), max_size=30).map(" ".join)


@given(SOME_TEXT, st.integers(1, 5))
def test_repetition_equals_the_loop(text, n):
    words, before, again, count = text.split(), [], 0, 0
    for i in range(len(words) - n + 1):
        gram = words[i : i + n]
        again, count = again + (gram in before), count + 1
        before.append(gram)
    assert repetition(text, n) == pytest.approx(again / count if count else 0)
    if count:
        assert repetition(text, n) == pytest.approx(1 - distinct([text], n))


@given(st.lists(SOME_TEXT, min_size=1, max_size=5), st.integers(1, 5))
def test_distinct_equals_the_loop(texts, n):
    grams = [" ".join(text.split()[i : i + n]) for text in texts for i in range(len(text.split()) - n + 1)]
    if not grams:
        with pytest.raises(ValueError, match=f"no text has {n} words: there are no {n}-grams to count"):
            distinct(texts, n)
        return
    value = distinct(texts, n)
    assert value == len(set(grams)) / len(grams)
    assert distinct(texts[::-1], n) == value
    assert distinct(texts * 3, n) == pytest.approx(value / 3)


def test_ngrams_refuse_bad_input():
    for call in (lambda: distinct(["a b"], 0), lambda: repetition("a b", 0)):
        with pytest.raises(ValueError, match="n-grams have 1 word or more, not 0"):
            call()
    with pytest.raises(TypeError, match=r"not one str: pass \[text\]"):
        distinct("a b", 1)
    with pytest.raises(ValueError, match="no text has 2 words"):
        distinct([], 2)
