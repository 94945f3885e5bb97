"""The exercises of 05_rag: recall where scores are tied, two bugs in a rank fusion, and filters after the search."""

from __future__ import annotations

from fmnotes.exercises import Exercise, Mistake

# -------------------------------------------------------------------------------------------------- 05.ties


def recall_with_ties(scores: list[float], right: int, k: int) -> float:
    better = sum(score > scores[right] for score in scores)
    tied = sum(score == scores[right] for score in scores)
    return min(1.0, max(0.0, (k - better) / tied))


def recall_by_places(scores: list[float], right: int, k: int) -> float:
    places = [place for place, score in enumerate(sorted(scores, reverse=True)) if score == scores[right]]
    return sum(place < k for place in places) / len(places)


def _shares(scores, right, k, tied):
    return (k - sum(score > scores[right] for score in scores)) / max(1, tied)


TIES = Exercise(
    id="05.ties",
    title="recall with ties",
    reread="When is a ranking good?",
    solution=recall_with_ties,
    verified="no ties, ties that fit, ties that do not, all scores alike, and a page far behind",
    cases=(
        ([3.0, 2.0, 1.0], 0, 1),
        ([3.0, 2.0, 1.0], 1, 1),
        ([1.0, 1.0, 1.0, 1.0], 2, 1),
        ([1.0, 1.0, 1.0, 1.0], 0, 3),
        ([5.0, 2.0, 2.0, 2.0, 1.0], 3, 2),
        ([5.0, 2.0, 2.0, 1.0], 1, 3),
        ([5.0, 4.0, 3.0, 2.0, 1.0, 1.0], 5, 2),
        ([2.0, 2.0], 1, 5),
    ),
    tolerance=1e-9,
    alternatives=(recall_by_places,),
    mistakes=(
        Mistake(
            lambda s, r, k: float(sum(score >= s[r] for score in s) <= k),
            "the tied all count as better, so a tie is lost altogether. It is lost with some chance only: with four "
            "alike and k = 1, each comes first in one case of four.",
        ),
        Mistake(
            lambda s, r, k: float(sum(score > s[r] for score in s) < k),
            "the tied do not count at all, so the right page always wins a tie. A search that gives every page the "
            "same score would be perfect.",
        ),
        Mistake(
            lambda s, r, k: float(sorted(range(len(s)), key=lambda n: -s[n]).index(r) < k),
            "ties are decided by the pages' numbers. Then the recall depends on the order in which pages were added, "
            "which has nothing to do with the search.",
        ),
        Mistake(
            lambda s, r, k: _shares(s, r, k, sum(score == s[r] for score in s)),
            "a chance lies between 0 and 1: where more places are left than there are tied pages it is 1, and where "
            "none is left, 0.",
        ),
        Mistake(
            lambda s, r, k: min(1.0, max(0.0, _shares(s, r, k, sum(score == s[r] for score in s) - 1))),
            "the right page is one of the tied, too: with n alike and one place left its chance is 1/n, not 1/(n − 1).",
        ),
        Mistake(
            lambda s, r, k: min(1.0, k / sum(score >= s[r] for score in s)),
            "the better pages do not share the k places: they take theirs first. Only what they leave is drawn for.",
        ),
        Mistake(
            lambda s, r, k: recall_with_ties([-score for score in s], r, k),
            "the wrong way round: here the lowest scores come first.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------- 05.fused


def fused(rankings: list[list[str]]) -> dict[str, float]:
    scores = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            scores[name] = scores.get(name, 0.0) + 1 / (60 + rank)
    return scores


def fused_by_names(rankings: list[list[str]]) -> dict[str, float]:
    names = {name for ranking in rankings for name in ranking}
    return {name: sum(1 / (61 + r.index(name)) for r in rankings if name in r) for name in names}


def _fused(rankings, first=1, join=lambda found: sum(found), among=any, worth=lambda rank: 1 / (60 + rank)):
    names = {name for ranking in rankings for name in ranking}
    return {
        name: join([worth(r.index(name) + first) for r in rankings if name in r])
        for name in names
        if among(name in r for r in rankings)
    }


FUSED = Exercise(
    id="05.fused",
    title="two bugs in a rank fusion",
    reread="Two rankings are better than one",
    solution=fused,
    verified="rankings of different lengths, pages that one of them lacks, one ranking alone, and none",
    cases=(
        ([["a", "b", "c"], ["b", "d"]],),
        ([["a", "b"], ["b", "a"], ["a", "c"]],),
        ([["a", "b"], ["b", "a"]],),
        ([["a", "b", "c"]],),
        ([["a"], ["b"]],),
        ([],),
    ),
    tolerance=1e-12,
    alternatives=(fused_by_names,),
    mistakes=(
        Mistake(
            lambda rankings: _fused(rankings, first=0, join=lambda found: found[-1]),
            "two things are wrong. Ranks count from 1, not from 0; and a page in two rankings must get both "
            "shares: here the later one replaces the earlier.",
            given=True,
        ),
        Mistake(
            lambda rankings: _fused(rankings, join=lambda found: found[-1]),
            "one bug is left: the last ranking that holds a page replaces what the others gave it. Shares are added.",
        ),
        Mistake(
            lambda rankings: _fused(rankings, first=0),
            "one bug is left: ranks are counted from 0. The first page is to get 1/61.",
        ),
        Mistake(
            lambda rankings: _fused(rankings, join=max),
            "each page has the best of its shares. They are to be added, so that a page which two rankings hold wins.",
        ),
        Mistake(
            lambda rankings: _fused(rankings, join=lambda found: sum(found) / len(found)),
            "that is the mean of a page's shares. So a page that one ranking lacks loses nothing by it: add them.",
        ),
        Mistake(
            lambda rankings: _fused(rankings, among=all),
            "pages that one of the rankings lacks are left out. They keep what the others gave them.",
        ),
        Mistake(
            lambda rankings: _fused(rankings, worth=lambda rank: 1 / rank),
            "the 60 is missing. With 1/rank the first place of one ranking outweighs two second places.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------ 05.filter

FILTER = Exercise(
    id="05.filter",
    title="how many candidates does a late filter need?",
    reread="Filters, before and after",
    solution=520,
    verified="97 of 10,088 pages fit, so one candidate in 104 does, and five need 520",
    tolerance=3,
    mistakes=(
        Mistake(5, "five candidates are five pages of any museum: one candidate in 104 fits."),
        Mistake(104, "among so many there is one that fits, on average. Five are wanted."),
        Mistake(
            485, "that is 5 · 97. It is not the museum's pages that are to be multiplied, but what stands between two."
        ),
        Mistake(50, "among 50 candidates half a page fits, on average: 50 · 97 / 10,088."),
        Mistake(97, "that would do if the museum's pages came first. They are spread over all that are near."),
        Mistake(10_088, "so many would be certain, but on average far fewer do."),
    ),
)

EXERCISES = [TIES, FUSED, FILTER]
