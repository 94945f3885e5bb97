"""A small language for writing languages: one set of rules that can be sampled, scored exactly, and listed in full.

A rule is a list of alternatives with integer weights. An alternative is a template with four kinds of parts:

    "The "                  literal text
    "{who:visitor}"         draw a value of the domain `visitor`, remember it as `who`, and say it
    "{who:visitor!friend}"  the same, but never the value of `friend`
    "{who}"                 say what is remembered as `who`
    "<event>"               continue with an alternative of the rule `event`

A variable that is already remembered is not drawn again: pass `facts`, and the same template that invents a page about
an exhibit writes the page about *this* exhibit. An alternative may stand under a condition (`when`) and may change what
is remembered once it has been said (`then`): that is how a story knows who holds the key.

The score of a text is the probability that sampling says it, summed over every way to say it:

    p(text) = Σ_derivations Π_choices  weight / Σ weights

Ordinary probabilistic context-free grammars do this without memory (Manning & Schütze 1999, ch. 11); with memory the
states are too many to table, so derivations are followed one by one and dropped at the first letter that differs.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fmnotes.museum.dice import Dice

Facts = Mapping[str, object]
NOTHING: Facts = MappingProxyType({})
FORMS: dict[str, Callable[[str], str]] = {
    "": lambda value: value,
    "cap": lambda value: value[:1].upper() + value[1:],
    "a": lambda value: ("an " if value[0] in "aeiou" else "a ") + value,
    "A": lambda value: ("An " if value[0] in "aeiou" else "A ") + value,
}


class Words:
    """A domain: finitely many different values, each equally likely."""

    def __init__(self, values: Sequence[str]):
        self.values = list(values)
        self._surfaces: dict[str, tuple[dict[str, str], list[int]]] = {}
        if len(set(self.values)) != len(self.values):
            twice = next(v for v in self.values if self.values.count(v) > 1)
            raise ValueError(f"a domain's values must differ; {twice!r} stands twice")

    def __contains__(self, value: object) -> bool:
        return value in self._index("")[0]

    def _index(self, form: str) -> tuple[dict[str, str], list[int]]:
        if form not in self._surfaces:
            index = {FORMS[form](value): value for value in self.values}
            self._surfaces[form] = index, sorted({len(surface) for surface in index})
        return self._surfaces[form]

    def read(self, text: str, position: int, form: str) -> Iterator[tuple[str, int]]:
        """Every value that the text says at this position, with the position behind it."""
        surfaces, lengths = self._index(form)
        for length in lengths:
            value = surfaces.get(text[position : position + length])
            if value is not None and position + length <= len(text):
                yield value, position + length


class State:
    """A domain that depends on what is remembered: `among(facts)` lists it now; `anything` holds all it could be."""

    def __init__(self, among: Callable[[Facts], Sequence[str]], anything: Words):
        self.among, self.anything = among, anything


@dataclass(frozen=True)
class Alt:
    """An alternative: its weight, its template, the condition it stands under, and what it changes."""

    weight: int
    template: str
    when: Callable[[Facts], bool] | None = None
    then: Callable[[Facts], Mapping[str, object]] | None = None


class Slot(NamedTuple):
    variable: str
    domain: str  # "" where the template only repeats
    form: str
    excluded: tuple[str, ...]


class Rule(NamedTuple):
    name: str


Stack = tuple | None  # a linked list (part, rest), so that derivations share their tails
_PART = re.compile(r"\{(\w+)(?::(\w+))?((?:!\w+)*)(?:\|(\w+))?\}|<(\w+)>")


def _compile(template: str) -> tuple:
    parts: list = []
    start = 0
    for match in _PART.finditer(template):
        if match.start() > start:
            parts.append(template[start : match.start()])
        variable, domain, excluded, form, rule = match.groups()
        parts.append(Rule(rule) if rule else Slot(variable, domain or "", form or "", tuple(excluded.split("!")[1:])))
        start = match.end()
    if start < len(template):
        parts.append(template[start:])
    return tuple(parts)


@dataclass
class Grammar:
    """Rules and domains. A rule's alternatives are written as `Alt`, as (weight, template), or as a bare template."""

    rules: Mapping[str, Sequence[Alt | tuple[int, str] | str]]
    domains: Mapping[str, Words | State]
    _alternatives: dict[str, list] = field(init=False, repr=False)
    _domains_of: dict[str, set[str]] = field(init=False, repr=False)
    _unconditional: dict[str, list] = field(init=False, repr=False)

    def __post_init__(self):
        self._alternatives, self._domains_of = {}, {}
        for name, alternatives in self.rules.items():
            compiled = self._alternatives[name] = []
            for alt in alternatives:
                alt = alt if isinstance(alt, Alt) else Alt(1, alt) if isinstance(alt, str) else Alt(*alt)
                compiled.append((alt, _compile(alt.template) + ((alt.then,) if alt.then else ())))
        self._unconditional = {
            name: [(alt.weight, parts) for alt, parts in alternatives if alt.weight]
            for name, alternatives in self._alternatives.items()
            if all(alt.when is None for alt, _ in alternatives)
        }
        for name, alternatives in self._alternatives.items():
            for alt, parts in alternatives:
                self._check_names(name, alt.template, parts)

    def _check_names(self, name: str, template: str, parts: tuple) -> None:
        for part in parts:
            if isinstance(part, Rule) and part.name not in self._alternatives:
                raise ValueError(f"rule {name!r} continues with <{part.name}>, which is not a rule: {template!r}")
            if isinstance(part, Slot) and part.form not in FORMS:
                raise ValueError(
                    f"rule {name!r} asks for the form |{part.form}, not one of {sorted(FORMS)}: {template!r}"
                )
            if isinstance(part, Slot) and part.domain:
                if part.domain not in self.domains:
                    raise ValueError(f"rule {name!r} draws from {part.domain!r}, which is not a domain: {template!r}")
                self._domains_of.setdefault(part.variable, set()).add(part.domain)

    # ------------------------------------------------------------------------------------------------ one slot

    def _candidates(self, slot: Slot, facts: Facts) -> list[str]:
        """The values that a slot may take here, each equally likely."""
        if slot.variable in facts:
            return [str(facts[slot.variable])]
        if not slot.domain:
            raise KeyError(f"{{{slot.variable}}} is said before it is drawn; remembered are {sorted(facts)}")
        domain = self.domains[slot.domain]
        values = domain.values if isinstance(domain, Words) else domain.among(facts)
        if slot.excluded:
            taken = {facts.get(variable) for variable in slot.excluded}
            values = [value for value in values if value not in taken]
        return values

    def _read(
        self, slot: Slot, text: str, position: int, facts: Facts, loose: bool
    ) -> Iterator[tuple[str, int, float]]:
        """Ways to read a slot at a position: (value, position behind it, log-probability)."""
        domain = self.domains.get(slot.domain)
        known = {slot.domain} - {""} or self._domains_of.get(slot.variable, set())
        if loose and known:
            for name in known:
                domain = self.domains[name]
                words = domain if isinstance(domain, Words) else domain.anything
                yield from ((value, end, 0.0) for value, end in words.read(text, position, slot.form))
        elif slot.variable not in facts and isinstance(domain, Words):
            taken = {facts.get(variable) for variable in slot.excluded}
            n = len(domain.values) - sum(value in domain for value in taken)
            for value, end in domain.read(text, position, slot.form):
                if value not in taken:
                    yield value, end, -math.log(n)
        else:
            values = self._candidates(slot, facts)
            for value in values:
                surface = FORMS[slot.form](value)
                if text.startswith(surface, position):
                    yield value, position + len(surface), -math.log(len(values))

    def _open(self, rule: str, facts: Facts, loose: bool = False) -> list[tuple[int, tuple]]:
        """The alternatives of a rule that are open here, as (weight, parts)."""
        return self._unconditional.get(rule) or [
            (alt.weight, parts)
            for alt, parts in self._alternatives[rule]
            if alt.weight and (loose or alt.when is None or alt.when(facts))
        ]

    # ------------------------------------------------------------------------------------------------ three uses

    def sample(self, start: str, dice: Dice, facts: Facts = NOTHING) -> tuple[str, dict[str, object]]:
        """Say something: the text, and all that is remembered at its end."""
        said: list[str] = []
        facts = dict(facts)
        stack: list = [Rule(start)]
        while stack:
            part = stack.pop()
            if isinstance(part, str):
                said.append(part)
            elif isinstance(part, Slot):
                values = self._candidates(part, facts)
                if not values:
                    raise ValueError(f"nothing is left to say for {part}; said so far: {''.join(said)[-200:]!r}")
                value = values[dice.below(len(values))] if len(values) > 1 else values[0]
                facts.setdefault(part.variable, value)
                said.append(FORMS[part.form](value))
            elif isinstance(part, Rule):
                choices = self._open(part.name, facts)
                if not choices:
                    raise ValueError(f"no alternative of <{part.name}> is open; said so far: {''.join(said)[-200:]!r}")
                chosen = dice.weighted([weight for weight, _ in choices]) if len(choices) > 1 else 0
                stack.extend(reversed(choices[chosen][1]))
            else:
                facts.update(part(facts))
        return "".join(said), facts

    def derivations(
        self, text: str, start: str, facts: Facts = NOTHING, loose: bool = False, furthest: list[int] | None = None
    ) -> Iterator[tuple[float, dict[str, object]]]:
        """Every way to say exactly this text: (log-probability, what is remembered at its end).

        With `loose`, conditions and memory are ignored: a text that can be said loosely, but not strictly, is
        grammatical and contradicts itself. Then one way is followed where several would go on alike, which bounds the
        work, and the score means nothing. `furthest[0]` is set to the length of the longest sayable beginning.
        """
        seen: set[tuple[int, Stack]] = set()
        threads: list[tuple[int, Stack, dict, float]] = [(0, (Rule(start), None), dict(facts), 0.0)]
        while threads:
            position, stack, facts, score = threads.pop()
            while stack is not None and isinstance(stack[0], str) and text.startswith(stack[0], position):
                position, stack = position + len(stack[0]), stack[1]
            if furthest is not None:
                begun = stack[0] if stack is not None and isinstance(stack[0], str) else ""
                agrees = len(commonprefix([begun, text[position : position + len(begun)]]))
                furthest[0] = max(furthest[0], position + agrees)
            if loose:
                if (position, stack) in seen:
                    continue
                seen.add((position, stack))
            if stack is None:
                if position == len(text):
                    yield score, facts
                continue
            part, rest = stack
            if isinstance(part, Slot):
                for value, end, cost in self._read(part, text, position, facts, loose):
                    threads.append((end, rest, facts | {part.variable: facts.get(part.variable, value)}, score + cost))
            elif isinstance(part, Rule):
                choices = self._open(part.name, facts, loose)
                total = sum(weight for weight, _ in choices)
                for weight, parts in choices:
                    told = parts and isinstance(parts[0], str)
                    if furthest is not None or not told or text.startswith(parts[0], position):
                        threads.append((position, _push(parts, rest), facts, score + math.log(weight / total)))
            elif callable(part):
                threads.append((position, rest, facts if loose else facts | dict(part(facts)), score))

    def logprob(self, text: str, start: str, facts: Facts = NOTHING) -> float:
        """log p(text) in nats, over all derivations; −∞ if the grammar cannot say it."""
        scores = [score for score, _ in self.derivations(text, start, facts)]
        return float(np.logaddexp.reduce(scores)) if scores else -math.inf

    def sayable_until(self, text: str, start: str, facts: Facts = NOTHING, loose: bool = False) -> int:
        """How many characters of the text can be said before it leaves the language: len(text) if all of it can."""
        furthest = [0]
        complete = any(True for _ in self.derivations(text, start, facts, loose, furthest))
        return len(text) if complete else min(furthest[0], len(text) - 1)

    def texts(self, start: str, facts: Facts = NOTHING) -> Iterator[tuple[str, float]]:
        """Every derivation of a small grammar: (text, probability). The probabilities sum to one."""
        threads: list[tuple[str, Stack, dict, float]] = [("", (Rule(start), None), dict(facts), 1.0)]
        while threads:
            said, stack, facts, p = threads.pop()
            if stack is None:
                yield said, p
                continue
            part, rest = stack
            if isinstance(part, str):
                threads.append((said + part, rest, facts, p))
            elif isinstance(part, Slot):
                values = self._candidates(part, facts)
                for value in values:
                    remembered = facts if part.variable in facts else facts | {part.variable: value}
                    threads.append((said + FORMS[part.form](value), rest, remembered, p / len(values)))
            elif isinstance(part, Rule):
                choices = self._open(part.name, facts)
                for weight, parts in choices:
                    threads.append((said, _push(parts, rest), facts, p * weight / sum(w for w, _ in choices)))
            else:
                threads.append((said, rest, facts | dict(part(facts)), p))


def _push(parts: tuple, rest: Stack) -> Stack:
    for part in reversed(parts):
        rest = (part, rest)
    return rest
