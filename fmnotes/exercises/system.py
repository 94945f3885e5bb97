"""Exercises of 06: naive Bayes, what an ablation costs, an error budget."""

import math

from fmnotes.exercises import Exercise, Mistake

# ------------------------------------------------------------------------------------------------------- naive Bayes


def log_likelihoods(words, counts, *, added=1, of=None, unknown=False, base=math.log):
    """The solution, and by its options what people write instead."""
    vocabulary = set().union(*counts.values())
    found = {}
    for kind, count in counts.items():
        total = sum(count.values()) + added * len(vocabulary if of is None else of(count))
        heard = [word for word in words if unknown or word in vocabulary]
        found[kind] = sum(base((count.get(word, 0) + added) / total) for word in heard)
    return found


def by_product(words, counts):
    """Written differently: one logarithm of a product."""
    known = {word for count in counts.values() for word in count}
    sizes = {kind: sum(count.values()) + len(known) for kind, count in counts.items()}
    heard = [word for word in words if word in known]
    return {
        kind: math.log(math.prod((count.get(word, 0) + 1) / sizes[kind] for word in heard))
        for kind, count in counts.items()
    }


def _not_smoothed(words, counts):
    return log_likelihoods(words, counts, added=0)


def _each_once(words, counts):
    return log_likelihoods(list(dict.fromkeys(words)), counts)


def _own_vocabulary(words, counts):
    return log_likelihoods(words, counts, of=lambda count: count)


def _unknown_too(words, counts):
    return log_likelihoods(words, counts, unknown=True)


def _denominator_not_smoothed(words, counts):
    vocabulary = set().union(*counts.values())
    return {
        kind: sum(math.log((count.get(word, 0) + 1) / sum(count.values())) for word in words if word in vocabulary)
        for kind, count in counts.items()
    }


def _one_added_once(words, counts):
    vocabulary = set().union(*counts.values())
    return {
        kind: sum(
            math.log((count.get(word, 0) + 1) / (sum(count.values()) + 1)) for word in words if word in vocabulary
        )
        for kind, count in counts.items()
    }


def _no_logarithm(words, counts):
    return {kind: math.exp(value) for kind, value in log_likelihoods(words, counts).items()}


def _posterior(words, counts):
    values = log_likelihoods(words, counts)
    total = math.log(sum(math.exp(value) for value in values.values()))
    return {kind: value - total for kind, value in values.items()}


COUNTS = {"a": {"who": 1, "made": 1}, "b": {"how": 1, "many": 1}}
UNEVEN = {"sight": {"how": 4, "many": 3, "the": 6}, "pages": {"who": 5, "the": 9, "of": 7, "made": 1}}

BAYES = Exercise(
    id="06.bayes",
    title="naive Bayes",
    reread="Which way?",
    solution=log_likelihoods,
    alternatives=(by_product,),
    verified="the example on paper, kinds of different size, a word said twice, words that no kind has, no words",
    cases=(
        (["who"], COUNTS),
        (["who", "made", "the", "many"], UNEVEN),
        (["the", "the", "of"], UNEVEN),
        (["who", "sculpted", "the"], UNEVEN),
        ([], UNEVEN),
    ),
    tolerance=1e-9,
    mistakes=(
        Mistake(
            _not_smoothed,
            "Nothing was added to the counts: a word that a kind never had gets the probability 0, and its logarithm "
            "does not exist.",
        ),
        Mistake(
            _denominator_not_smoothed,
            "One was added above the line, but below it stands the number of words alone: the probabilities of all V "
            "words no longer sum to 1.",
        ),
        Mistake(
            _one_added_once,
            "Below the line one was added, once. Each of the V words got one above the line, so V belongs there.",
        ),
        Mistake(
            _own_vocabulary,
            "V counts the words of that kind alone. It is the number of different words of all kinds together.",
        ),
        Mistake(
            _unknown_too,
            "A word that no kind has was counted too. Below, it favours the kind with fewer words; leave it out.",
        ),
        Mistake(_each_once, "A word that is said twice counts once here. In the formula the sum goes over all places."),
        Mistake(_no_logarithm, "These are probabilities. Return their logarithms: products of many words become 0."),
        Mistake(
            _posterior,
            "These are logarithms of P(kind | words), which sum to 1 over the kinds. Asked for is P(words | kind).",
        ),
    ),
)

# -------------------------------------------------------------------------------------------- what costs most: a guess

COSTLY = Exercise(
    id="06.costly",
    title="the costliest ablation",
    reread="Taken apart",
    solution="small reader",
    verified="without a reader that was taught to read, nothing is right, though the right page is there",
    mistakes=(
        Mistake(
            "no second look",
            "The first search has the right page among its first ten anyway, and often in front: the second look "
            "repairs what is left. Which part does *every* question need?",
        ),
        Mistake(
            "no second search",
            "That costs the questions of two hops, and they are one of two types: the other half stays. Which part "
            "does every question need?",
        ),
        Mistake(
            "quick tower",
            "It costs a great deal, but some pages are found even by a tower that learned for a minute, above all "
            "where a filter leaves it only one museum. Which arm makes nothing even of the right page?",
        ),
        Mistake(
            "wrong picture", "Questions for knowledge alone do not look at the picture. Which stages do they pass?"
        ),
        Mistake(
            "reader",
            "Say it as the arm is called. What does a model answer that can tell stories, but has never seen a page in "
            "its prompt?",
        ),
    ),
)

# -------------------------------------------------------------------------------------------------- an error budget


def shares(runs, *, before=all):
    """The solution: each stage's share among the runs that are right so far."""
    found = []
    for stage in range(len(runs[0])):
        left = [run for run in runs if before(run[:stage])]
        found.append(sum(run[stage] for run in left) / len(left) if left else 1.0)
    return found


def by_counting(runs):
    """Written differently: how many come through each stage."""
    through = [len(runs)]
    for stage in range(1, len(runs[0]) + 1):
        through.append(sum(all(run[:stage]) for run in runs))
    return [b / a if a else 1.0 for a, b in zip(through, through[1:])]


def unconditional(runs):
    """What the notebook hands out."""
    found = []
    for stage in range(len(runs[0])):
        found.append(sum(run[stage] for run in runs) / len(runs))
    return found


def _cumulative(runs):
    return [sum(all(run[: stage + 1]) for run in runs) / len(runs) for stage in range(len(runs[0]))]


def _one_before(runs):
    return shares(runs, before=lambda earlier: all(earlier[-1:]))


def _any_before(runs):
    return shares(runs, before=lambda earlier: not earlier or any(earlier))


def _others_right(runs):
    found = []
    for stage in range(len(runs[0])):
        left = [run for run in runs if all(run[:stage] + run[stage + 1 :])]
        found.append(sum(run[stage] for run in left) / len(left) if left else 1.0)
    return found


def _zero_where_none(runs):
    reached = [any(all(run[:stage]) for run in runs) for stage in range(len(runs[0]))]
    return [share if some else 0.0 for share, some in zip(shares(runs), reached)]


RUNS = [[True, True, True], [True, False, False], [False, True, False], [True, True, False], [True, False, True]]

BUDGET = Exercise(
    id="06.budget",
    title="a bug in an error budget",
    reread="A chain of stages",
    solution=shares,
    alternatives=(by_counting,),
    verified="the product is the share of runs that are right throughout; a stage that nobody reaches; one stage alone",
    cases=(
        ([[True, True], [True, False], [False, False], [False, False]],),
        (RUNS,),
        ([[True, False, True], [True, False, False]],),
        ([[True], [False], [True]],),
        ([[False, True, True, True], [True, False, True, True], [True, True, True, False], [True, True, False, True]],),
    ),
    tolerance=1e-9,
    mistakes=(
        Mistake(
            unconditional,
            "Each stage is judged on all runs, also on those that an earlier stage has spoiled: one failure counts "
            "again in every stage behind it. Judge a stage where what came before is right.",
            given=True,
        ),
        Mistake(
            _cumulative,
            "These are the shares of runs that are right *up to* each stage. Divide each by the one before it.",
        ),
        Mistake(
            _one_before,
            "Only the stage just before was asked to be right. One further back may have failed: ask for all of them.",
        ),
        Mistake(_any_before, "It is enough here if *any* stage before was right. All of them must be."),
        Mistake(
            _others_right,
            "The stages *behind* were asked to be right as well. They do not come before this one, and judging by what "
            "follows from it is no fair exam.",
        ),
        Mistake(
            _zero_where_none,
            "Where no run reaches a stage, nothing was measured; a share of 0 would blame a stage that had no chance.",
        ),
    ),
)

EXERCISES = [BUDGET, BAYES, COSTLY]
