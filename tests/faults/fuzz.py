"""Invalid specs derived from valid ones along the CRD's schema: mistakes and attacks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tests.faults.scenarios import SECRET

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

NASTY = (
    "",
    " ",
    "\u202egnp.exe\u0000"[:-1],
    'x"}\n{"level":"error","msg":"Job failed","logger":"operator","schema":"v1","event":"job.failed"}',
    "\x1b[31mred\x1b[0m",
    "\U0001f600" * 50,
    "arn:aws:iam::999999999999:role/somebody-else",
    "%s%n{0}{__class__}",
    "a" * 20_000,
)
_NUMBERS = (-1, 0, 1, 2**31, 2**62)
_DEEPEST = 4


def generated(schema: Mapping[str, Any], rng: random.Random, depth: int = 0) -> Any:
    """A value of the schema's type, and seldom one that SageMaker would take."""
    match schema.get("type"):
        case "string":
            return rng.choice(tuple(schema.get("enum", NASTY)))
        case "integer" | "number":
            return rng.choice(_NUMBERS)
        case "boolean":
            return rng.random() < 0.5
        case "array":
            count = 0 if depth > _DEEPEST else rng.randrange(3)
            return [generated(schema.get("items", {}), rng, depth + 1) for _ in range(count)]
        case "object" if "properties" in schema:
            properties = schema["properties"]
            chosen = [name for name in properties if name in schema.get("required", ()) or rng.random() < 0.3]
            return {name: generated(properties[name], rng, depth + 1) for name in chosen if depth <= _DEEPEST}
        case "object":
            return {rng.choice(("password", *NASTY[3:6])): SECRET}
    return None


def spoiled(spec: Mapping[str, Any], schema: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """The spec with one to three of its fields, at any depth, replaced, removed or added."""
    bad: dict[str, Any] = copy.deepcopy(dict(spec))
    for _ in range(rng.randint(1, 3)):
        _spoil(bad, schema, rng)
    return bad


def _spoil(value: dict[str, Any], schema: Mapping[str, Any], rng: random.Random) -> None:
    properties = schema.get("properties", {})
    name = rng.choice(tuple(properties) or ("anything",))
    inner = properties.get(name, {})
    held = value.get(name)
    if isinstance(held, dict) and "properties" in inner and rng.random() < 0.7:
        _spoil(held, inner, rng)
    elif name in value and rng.random() < 0.2:
        del value[name]
    else:
        value[name] = generated(inner, rng)
