"""Which members that the user set differ from what SageMaker says: the only kind of drift there is.

What the user left out is SageMaker's to default. ACK compares unset fields as well, and that is the source of its
perpetual updates and of its false `not implemented`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

Normalise = Callable[[str, Any], Any]


def differences(
    desired: Mapping[str, Any],
    observed: Mapping[str, Any],
    *,
    ignored: Collection[str] = (),
    normalise: Normalise | None = None,
) -> tuple[str, ...]:
    """Paths (`ResourceConfig.InstanceCount`, `InputDataConfig[]`) of `desired` that `observed` does not match.

    Both have API member names; `ignored` holds paths, with `[]` for any element of a list. `normalise(path, value)` is
    applied to both sides.
    """
    return tuple(_walk(desired, observed, "", _Rules(frozenset(ignored), normalise or _as_it_is)))


class _Rules(NamedTuple):
    ignored: frozenset[str]
    normalise: Normalise


def _as_it_is(_: str, value: Any) -> Any:
    return value


def _walk(desired: Any, observed: Any, path: str, rules: _Rules) -> list[str]:
    if path in rules.ignored:
        return []
    desired, observed = rules.normalise(path, desired), rules.normalise(path, observed)
    match desired:
        case Mapping():
            members = observed if isinstance(observed, Mapping) else {}
            return [
                found
                for name, value in desired.items()
                for found in _walk(value, members.get(name), f"{path}.{name}" if path else name, rules)
            ]
        case list() | tuple():
            elements = observed if isinstance(observed, list | tuple) else ()
            return [] if _same_elements(desired, elements, f"{path}[]", rules) else [path]
        case _ if desired == observed or (observed is None and not desired):
            # "", 0, False and absent are the same wish: SageMaker leaves out what is at its zero value.
            return []
    return [path]


def _same_elements(desired: Sequence[Any], observed: Sequence[Any], path: str, rules: _Rules) -> bool:
    """Order counts for nothing: SageMaker returns several of its lists re-ordered, and a drift that is none never ends."""
    if path in rules.ignored:
        return True
    if len(desired) != len(observed):
        return False
    rest = list(observed)
    for wanted in desired:
        for index, candidate in enumerate(rest):
            if not _walk(wanted, candidate, path, rules):
                del rest[index]
                break
        else:
            return False
    return True
