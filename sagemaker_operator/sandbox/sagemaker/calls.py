"""The calls that the simulator received: a bounded log and counters, for tests and for the sandbox's summary."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

_KEPT = 10_000
"""Calls kept in full, about 3 MB; the counters count all."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call and its answer."""

    operation: str
    account: str
    region: str
    name: str
    """Name (or ARN) of the resource that the input names; empty for a list."""
    at: float
    """Unscaled seconds of the simulator's clock."""
    code: str
    """Error code; empty: it succeeded. `ConnectionCut`: the caller got no answer."""
    mutating: bool
    applied: bool
    """The call took effect (or, for a read, was answered), even if the caller got an error."""
    caller: str = ""
    """ARN of the user or the assumed role's session that signed it."""


class CallLog:
    """The calls of one simulator, oldest first."""

    def __init__(self) -> None:
        self.recent: deque[Call] = deque(maxlen=_KEPT)
        self.operations: Counter[str] = Counter()
        self.names: Counter[tuple[str, str]] = Counter()
        """By (operation, resource name)."""

    def __repr__(self) -> str:
        return f"<CallLog total={self.total} mutating={len(self.mutating())}>"

    def __len__(self) -> int:
        return self.total

    @property
    def total(self) -> int:
        return self.operations.total()

    def add(self, call: Call) -> None:
        self.recent.append(call)
        self.operations[call.operation] += 1
        self.names[call.operation, call.name] += 1

    def of(self, operation: str, name: str | None = None) -> list[Call]:
        """The kept calls of one operation, of one resource if named."""
        return [c for c in self.recent if c.operation == operation and name in (None, c.name)]

    def mutating(self) -> list[Call]:
        """The kept calls that change something, refused ones included."""
        return [call for call in self.recent if call.mutating]

    def clear(self) -> None:
        """Forget everything, so that a test can count from here."""
        self.recent.clear()
        self.operations.clear()
        self.names.clear()
