"""Contains unexpected exceptions: one affects a single object or task, never the process or another kind.

Guarantees:
- `call` never raises an Exception; `keep` restarts a task that raised one, with a backoff, until it returns or is cancelled.
- Every failure is counted, and logged with its part, its object and the exception's type and frames. The exception's text
  is left out: it may quote a spec.

Caveat: `keep` does not catch `ConfigurationError`, because with it the operator cannot go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from sagemaker_operator.backoff import Backoff
from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.logs import get_logger

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from sagemaker_operator.objects import KubeObject, ObjectKey

RESTART = Backoff(base=1.0, cap=300.0, minimum=0.5)
"""A task that always fails at once is restarted 12 times an hour, as often as a failing object is reconciled."""

SETTLED_SECONDS = 120.0
"""A task that has run for this long has recovered: it is not degraded any more, and its backoff starts over."""

_FRAMES = 3


class _Stopped(NamedTuple):
    error: str
    restarted: float | None
    """Loop time of the restart; None while it waits for it."""


class Guard:
    """Runs callbacks and tasks whose failure must not affect others. `degraded` names the tasks that keep failing."""

    def __init__(
        self,
        *,
        rng: random.Random,
        count: Callable[[str], None] = lambda part: None,
        report: Callable[[KubeObject, str], None] = lambda obj, error: None,
    ) -> None:
        """`count` is called with the part that failed, `report` with the object, if known, and the exception's type."""
        self._rng = rng
        self._count = count
        self._report = report
        self._log = get_logger("guard")
        self._stopped: dict[str, _Stopped] = {}

    def call(self, part: str, function: Callable[..., object], *args: Any, about: KubeObject | None = None) -> bool:
        """Calls `function`; False if it raised. `about` is the object that the call is for."""
        try:
            function(*args)
        except Exception as error:
            self.failed(part, error, about=about)
            return False
        return True

    def failed(
        self, part: str, error: BaseException, *, about: KubeObject | None = None, key: ObjectKey | None = None
    ) -> None:
        """Counts and logs an exception that was caught elsewhere. `key`: instead of `about`, if only the key is known."""
        key = about.key if about is not None else key
        fields = {} if key is None else {"kind": key.kind, "namespace": key.namespace, "name": key.name}
        present = {name: value for name, value in fields.items() if value}
        # An error of the counter or of the object's Event must not prevent the log line.
        self._log.error("Internal error", controller=part, err=describe(error), **present)
        with contextlib.suppress(Exception):
            self._count(part)
            if about is not None:
                self._report(about, type(leaf(error)).__name__)

    async def keep(self, part: str, name: str, run: Callable[[], Awaitable[object]]) -> None:
        """Runs `run` until it returns. Raises ConfigurationError and BaseExceptions that are not Exceptions (cancellation)."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            try:
                await run()
            except ConfigurationError:
                raise
            except Exception as error:
                if loop.time() - started >= SETTLED_SECONDS:
                    failures = 0
                self._stopped[name] = _Stopped(type(leaf(error)).__name__, None)
                self.failed(part, error)
            else:
                self._stopped.pop(name, None)
                return
            await asyncio.sleep(RESTART.delay(failures, self._rng))
            failures += 1
            self._stopped[name] = self._stopped[name]._replace(restarted=loop.time())

    @property
    def degraded(self) -> str | None:
        """The first task that failed and has not run for two minutes since; None if there is none."""
        now = asyncio.get_running_loop().time()
        for name, (error, restarted) in self._stopped.items():
            if restarted is None or now - restarted < SETTLED_SECONDS:
                return f"{name}: failed with {error}, an error of the operator; it is restarted (see the log)"
        return None


def leaf(error: BaseException) -> BaseException:
    """The first exception inside the groups of task groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def describe(error: BaseException) -> str:
    """The type and the innermost frames: `KeyError at export_of (fieldexport.py:80) < ...`. Never the text."""
    error = leaf(error)
    frames = traceback.extract_tb(error.__traceback__, limit=-_FRAMES)
    where = " < ".join(f"{f.name} ({f.filename.rpartition('/')[2]}:{f.lineno})" for f in reversed(frames))
    return f"{type(error).__name__} at {where}" if where else type(error).__name__
