"""Counts words of the project's former private dialect: python -m tests.docs.words [PATH ...]

Prints one line per occurrence, then the count. The words and what to write instead are in `REPLACEMENTS`. Identifiers count
too: an underscore separates words.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
PATHS = ("sagemaker_operator", "docs", "README.md")

REPLACEMENTS: Mapping[str, str] = {
    "told|tells?|telling|said": "reported, reports, message, value",
    "in (?:[a-z']+ )?words|words of|own words?|(?<='s )words?|(?:a|no|one) word": "message, value, text, term",
    "wish(?:es|ed)?|wanted by": "desired",
    "looks?(?![- ]?(?:up|around|alike))|looked|looking|(?<!first[_ ])(?<!last[_ ])seen": "poll, describe, observe, observed",
    "(?:a|an|the|one|this|that|each|every|any|first|last|next|second|former|same|few|no|more|whole|of) pass(?:es)?": "reconcile",
    "floors?|rooms?|house": "layer, package, module",
    "mend(?:s|ed|ing)?|heal(?:s|ed|ing)?": "fix, recover",
    "(?<!there )(?:is|are|was|were) no (?!longer|more|less|later|earlier)[a-z]+": "is not a, non-",
    "whoever|nobody|everybody": "the caller, no caller, all",
    "for ever": "indefinitely, until",
    "at rest|lives|bears?": "settled, lifecycle, has",
    "operator's mind": "reconcile logic",
}
"""Regular expression of the words to avoid, and the standard terms."""

_PATTERN = re.compile("|".join(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])" for words in REPLACEMENTS), re.IGNORECASE)


class Occurrence(NamedTuple):
    path: Path
    line: int
    words: str
    text: str


def occurrences(paths: tuple[str, ...] = PATHS) -> Iterator[Occurrence]:
    for name in paths:
        top = ROOT / name
        files = sorted(path for path in top.rglob("*") if path.suffix in (".py", ".md")) if top.is_dir() else [top]
        for path in files:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                for match in _PATTERN.finditer(line):
                    yield Occurrence(path.relative_to(ROOT), number, match.group(), line.strip())


if __name__ == "__main__":
    found = list(occurrences(tuple(sys.argv[1:]) or PATHS))
    for one in found:
        sys.stdout.write(f"{one.path}:{one.line}: {one.words}: {one.text}\n")
    sys.stdout.write(f"{len(found)} occurrences\n")
