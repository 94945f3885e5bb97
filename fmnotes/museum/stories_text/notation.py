"""Reads the notation of the plots (explained in `stories.py`) into the rules of a grammar."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping

from fmnotes.museum.grammar import Alt, Facts, State, Words

_SLOT = re.compile(r"\{(\w+?)(\d?)((?:\|\w+)?)\}")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")


class Writer:
    """Collects in `rules` what the notation stands for.

    Args:
        domains: what {names} draw from.
        several: the domains of which a story draws several values, as {room}, {room2}; they all differ.
        silent: the rules that say nothing, and so leave no space before the next sentence.
    """

    def __init__(self, domains: Mapping[str, Words | State], several: Collection[str], silent: Collection[str]):
        self.domains, self.several, self.silent = domains, several, silent
        self.rules: dict[str, list] = {}
        self._choices: dict[str, str] = {}

    def template(self, text: str) -> str:
        """A wording as a template of the grammar: slots get their domains, choices on the spot become rules."""
        text = _SLOT.sub(self._slot, text)
        while match := _CHOICE.search(text):  # innermost first
            name = self._choices.setdefault(match[1], f"choice{len(self._choices)}")
            self.rules[name] = weighted(match[1].split("/"))
            text = f"{text[: match.start()]}<{name}>{text[match.end() :]}"
        return text

    def _slot(self, match: re.Match) -> str:
        name, digit, form = match.groups()
        domain = name + digit if name + digit in self.domains else name
        others = [f"!{name}{d}" for d in ("", "2", "3", "4") if d != digit] if domain in self.several else []
        return f"{{{name}{digit}:{domain}{''.join(others)}{form}}}"

    def passage(self, name: str, text: str) -> None:
        """A plot, or a part of one: the rule `name`, and one rule for each of its sentences."""
        parts, gap = [], ""
        for line in _joined(text):
            if not line:
                gap = "\n\n" if parts else ""
            elif line.startswith("=> "):
                target, source = line[3:].split("=")
                self.rules[f"{name}_{len(parts)}"] = [Alt(1, "", then=_remember(target, source))]
                parts.append(f"<{name}_{len(parts)}>")
            elif line.startswith("+ "):
                rule = line[2:]
                if rule in self.silent:
                    parts.append(f"<{rule}>")
                else:
                    parts.append(f"{gap}<{rule}>")
                    gap = "" if rule == "recall" else " "  # a recall brings its own space: it may say nothing
            elif line.startswith("- "):
                beat = self.rules[f"{name}_{len(parts)}"] = [self._wording(line[2:])]
                parts.append(f"{gap}<{name}_{len(parts)}>")
                gap = " "
            else:
                beat.append(self._wording(line[2:]))
        self.rules[name] = ["".join(parts)]

    def _wording(self, text: str) -> Alt:
        if not text.startswith("if "):
            return Alt(1, self.template(text))
        condition, text = text[3:].split(": ", 1)
        one, other = condition.split("=")
        return Alt(1, self.template(text), when=lambda facts: facts[one] == facts[other])


def weighted(wordings: list[str]) -> list[Alt]:
    """What is written twice is twice as likely (and stays one alternative, so that a text has one derivation)."""
    return [Alt(count, wording) for wording, count in Counter(wordings).items()]


def _joined(text: str) -> Iterator[str]:
    """The lines of a passage; a line that is indented by four or more goes on the line before it."""
    text = re.sub(r"(/?)\n {4,}", lambda match: match[1] or " ", text.strip("\n"))
    return iter(text.split("\n"))


def _remember(target: str, source: str) -> Callable[[Facts], Facts]:
    return lambda facts: {target: facts[source]}
