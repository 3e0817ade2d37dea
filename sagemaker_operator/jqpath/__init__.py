"""jq paths that users wrote, run so that none of them can hurt: bounded in time, memory and output, blind to our environment.

A jq program may loop indefinitely, fill the memory, and read the process's environment (`$ENV`, where AWS credentials may be).
A plain path (`.status.ackResourceMetadata.arn`) can do none of that and runs here; anything else runs in a process of its
own with empty environment and limits set by the kernel, for about 40 ms each.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jq

from sagemaker_operator.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = re.compile(r"(\.[A-Za-z_][A-Za-z0-9_]*|\.?\[(\d{1,6}|\"[^\"\\]{1,253}\")\])+|\.")
_PROGRAM = Path(__file__).with_name("limited.py")
# Starting Python takes 40 ms, and up to 2 s on a busy node; the CPU limit inside is 1 s.
_SECONDS = 10.0


class PathError(OperatorError):
    """The path is wrong, or cannot be applied to this object. The text says where."""


async def first(path: str, document: Mapping[str, Any]) -> Any:
    """The first result of `path` on `document`; None if it is null, or if there is none. Raises PathError."""
    if path.startswith(".") and _PLAIN.fullmatch(path):
        try:
            return next(iter(_compiled(path).input_value(document)), None)
        except ValueError as error:
            raise PathError(_error_text(path, str(error))) from error
    return await _limited(path, document)


@lru_cache(maxsize=1024)
def _compiled(path: str) -> Any:
    return jq.compile(path)


async def _limited(path: str, document: Mapping[str, Any]) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(_PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    try:
        async with asyncio.timeout(_SECONDS):
            output, _ = await process.communicate(json.dumps({"path": path, "document": document}).encode())
    except TimeoutError:
        output = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        answer = json.loads(output)
    except ValueError:
        raise PathError(f"the jq path {path!r} takes more than a second or 256 MiB: write a simpler one") from None
    if "error" in answer:
        raise PathError(_error_text(path, answer["error"]))
    return answer["value"]


_COMPILER = re.compile(r"(?:jq: error: )?(.*?)(?: at <top-level>, (line \d+, column \d+))?:?", re.DOTALL)
_MISMATCH = re.compile(r"Cannot (?:index|iterate over) \w+")


def _error_text(path: str, error: str) -> str:
    """jq's message on one line, without what it quotes of the object, which may be secret."""
    mismatch = _MISMATCH.match(error)
    if mismatch:
        return f"the jq path {path!r}: {mismatch[0]}"
    line = error.partition("\n")[0]
    if not line.startswith(("jq: error: ", "Top-level", "gives more")) and "module not found" not in line:
        return f"the jq path {path!r} fails on this object"
    match = _COMPILER.fullmatch(line)
    assert match is not None  # noqa: S101  the pattern fits any line
    return f"the jq path {path!r}: {match[1]}" + (f" at {match[2]}" if match[2] else "")
