"""Which members that the user set differ from what SageMaker reports. Nothing else counts as drift.

SageMaker chooses the defaults of members that the user left out. ACK compares those too, which causes its perpetual
updates and its false `not implemented`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

from sagemaker_operator.kinds.precision import same_float

Normalise = Callable[[str, Any], Any]


def differences(
    desired: Mapping[str, Any],
    observed: Mapping[str, Any],
    *,
    at: str = "",
    ignored: Collection[str] = (),
    ordered: Collection[str] = (),
    whole: Collection[str] = (),
    single: Collection[str] = (),
    normalise: Normalise | None = None,
) -> tuple[str, ...]:
    """Paths (`ResourceConfig.InstanceCount`, `InputDataConfig[]`) of `desired` that `observed` does not match.

    Both have API member names, and are the values at the path `at`. `ignored`: paths, with `[]` for any element of a list;
    `ordered`: names of lists whose order matters; `whole`: paths of maps in which a further key is a difference;
    `single`: paths of numbers that are compared in single precision.
    `normalise(path, value)` is applied to both sides.
    """
    rules = _Rules(frozenset(ignored), frozenset(ordered), frozenset(whole), frozenset(single), normalise or _unchanged)
    return tuple(_walk(desired, observed, at, rules))


class _Rules(NamedTuple):
    ignored: frozenset[str]
    ordered: frozenset[str]
    whole: frozenset[str]
    single: frozenset[str]
    normalise: Normalise


def _unchanged(_: str, value: Any) -> Any:
    return value


def _walk(desired: Any, observed: Any, path: str, rules: _Rules) -> list[str]:
    if path in rules.ignored:
        return []
    desired, observed = rules.normalise(path, desired), rules.normalise(path, observed)
    match desired:
        case Mapping():
            members = observed if isinstance(observed, Mapping) else {}
            extra = [name for name in members if name not in desired] if path in rules.whole else []
            return [
                found
                for name, value in desired.items()
                for found in _walk(value, members.get(name), f"{path}.{name}" if path else name, rules)
            ] + [f"{path}.{name}" for name in extra]
        case list() | tuple():
            elements = observed if isinstance(observed, list | tuple) else ()
            return [] if _same_elements(desired, elements, f"{path}[]", rules) else [path]
        case _ if desired == observed or (observed is None and not desired):
            # "", 0, False and absent are equal: SageMaker omits members that have their zero value.
            return []
        case _ if path in rules.single and same_float(desired, observed):
            return []
    return [path]


def _same_elements(desired: Sequence[Any], observed: Sequence[Any], path: str, rules: _Rules) -> bool:
    """Whether the elements are equal, in any order except for `ordered` lists.

    SageMaker returns several of its lists re-ordered; to count that as drift would cause updates without end.
    """
    if path in rules.ignored:
        return True
    if len(desired) != len(observed):
        return False

    @cache
    def fits(desired_index: int, observed_index: int) -> bool:
        return not _walk(desired[desired_index], observed[observed_index], path, rules)

    # Most lists come back as they were sent.
    if all(fits(index, index) for index in range(len(desired))):
        return True
    if path.rpartition(".")[2].removesuffix("[]") in rules.ordered:
        return False
    return _can_be_paired(len(desired), fits, _Candidates(desired, observed))


def _can_be_paired(size: int, fits: Callable[[int, int], bool], candidates: Callable[[int], Iterable[int]]) -> bool:
    """Whether `size` desired and `size` observed elements can be matched one to one (Kuhn's algorithm).

    The first observed element that fits may be the only one for a later desired element ({Image} fits what
    {Image, Environment} needs), so matches are moved along augmenting paths.
    """
    desired_of: dict[int, int] = {}
    observed_of: dict[int, int] = {}
    for unmatched in range(size):
        requested_by: dict[int, int] = {}
        queue = deque([unmatched])
        free = None
        while queue and free is None:
            desired_index = queue.popleft()
            for observed_index in chain(candidates(desired_index), range(size)):
                if observed_index in requested_by or not fits(desired_index, observed_index):
                    continue
                requested_by[observed_index] = desired_index
                if observed_index not in desired_of:
                    free = observed_index
                    break
                queue.append(desired_of[observed_index])
        if free is None:
            return False
        while free is not None:
            desired_index = requested_by[free]
            desired_of[free] = desired_index
            observed_of[desired_index], free = free, observed_of.get(desired_index)
    return True


class _Candidates:
    """The observed elements that share a text with a desired one, to be compared first.

    2,500 shuffled features take 12 ms, and 7 s if each is compared with each.
    """

    def __init__(self, desired: Sequence[Any], observed: Sequence[Any]) -> None:
        self._desired = desired
        self._indices: dict[Any, list[int]] = {}
        for index, element in enumerate(observed):
            for text in _texts(element):
                self._indices.setdefault(text, []).append(index)

    def __call__(self, desired_index: int) -> Sequence[int]:
        texts = _texts(self._desired[desired_index])
        return min((self._indices.get(text, []) for text in texts), key=len, default=())


def _texts(element: Any) -> list[Any]:
    """The texts that may distinguish an element from others."""
    if isinstance(element, Mapping):
        return [(name, value) for name, value in element.items() if isinstance(value, str)]
    return [element] if isinstance(element, str) else []
