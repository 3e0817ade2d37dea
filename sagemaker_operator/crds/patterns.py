"""AWS's patterns, which are Java's, for the API server (Go's RE2) and for our own check (Python's re)."""

from __future__ import annotations

import re
import warnings

# Patterns that allow everything but line breaks: useless as a check, and AWS's treatment of line breaks is not documented.
_ANYTHING = frozenset({".*", "(.*)", r"[\S\s]*", r"[\s\S]*"})
_SAFE_ESCAPES = frozenset("dDwWsSbnrt")
_UNSAFE = re.compile(
    r"""
      \(\?(?!:)             # lookaround, named and atomic groups, inline flags
    | [*+?}]\+              # possessive quantifiers
    | &&                    # Java's intersection of classes
    | \[[^\]]*\[(?!:)       # a class inside a class: Java's union, Go's literal bracket
    """,
    re.VERBOSE,
)
_REPEAT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_MAX_REPEAT = 1000
"""RE2 rejects x{1001}, and nested repeats whose product is above 1,000."""


def portable(pattern: str) -> str | None:
    """`pattern` anchored to the whole string, as in AWS; None if RE2 and Python would not both compile it to the same meaning."""
    if pattern in _ANYTHING or _UNSAFE.search(pattern) or not _escapes_are_safe(pattern):
        return None
    if _largest_repeat(pattern) > _MAX_REPEAT:
        return None
    anchored = f"^(?:{pattern})$"
    try:
        with warnings.catch_warnings():
            # Python warns about syntax that a later version will interpret differently.
            warnings.simplefilter("error")
            re.compile(anchored)
    except (re.error, Warning):
        return None
    return anchored


def _escapes_are_safe(pattern: str) -> bool:
    """Only classes and punctuation: no \\uXXXX, \\p{Alnum}, \\Q or back references."""
    escaped = re.findall(r"\\(.)", pattern)
    return all(char in _SAFE_ESCAPES or not char.isalnum() for char in escaped)


def _largest_repeat(pattern: str) -> int:
    """The largest product of nested counted repeats. Brackets in classes may confuse the nesting, only ever upwards."""
    largest = 1
    # The largest product inside each group that is still open, outermost first.
    inside = [1]
    closed = 1
    index = 0
    while index < len(pattern):
        char = pattern[index]
        repeat = _REPEAT.match(pattern, index)
        if char == "\\":
            index += 2
            closed = 1
            continue
        if repeat:
            product = closed * max(int(count) for count in repeat.groups() if count)
            largest = max(largest, product)
            inside[-1] = max(inside[-1], product)
            index = repeat.end()
            continue
        if char == "(":
            inside.append(1)
        elif char == ")" and len(inside) > 1:
            closed = inside.pop()
            inside[-1] = max(inside[-1], closed)
            index += 1
            continue
        closed = 1
        index += 1
    return largest
