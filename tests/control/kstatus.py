"""Two oracles over conditions: kstatus's rules, and conditions that must never be set together. Written from the specification
(sigs.k8s.io/cli-utils/pkg/kstatus, README), not from our code."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Verdict(Enum):
    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    TERMINATING = "Terminating"


def kstatus(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> Verdict:
    """In the order in which cli-utils asks."""
    if metadata.get("deletionTimestamp"):
        return Verdict.TERMINATING
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return Verdict.IN_PROGRESS
    conditions: Sequence[Mapping[str, Any]] = status.get("conditions", ())
    for condition in conditions:
        if condition["type"] == "Reconciling" and condition["status"] == "True":
            return Verdict.IN_PROGRESS
        if condition["type"] == "Stalled" and condition["status"] == "True":
            return Verdict.FAILED
    for condition in conditions:
        if condition["type"] == "Ready" and condition["status"] != "True":
            return Verdict.IN_PROGRESS
    return Verdict.CURRENT


TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
# metav1.Condition's own pattern.
_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_ACK = re.compile(r"ACK\.[A-Za-z]+")
_NORMAL = {"Ready", "ACK.ResourceSynced", "ACK.ReferencesResolved", "ACK.Adopted", "ACK.IAMRoleSelected"}


def contradictions(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with one list of conditions; empty: nothing."""
    types = [condition["type"] for condition in conditions]
    states = {condition["type"]: condition["status"] for condition in conditions}
    reasons = {condition["type"]: condition.get("reason") for condition in conditions}
    # What ended in SageMaker, and not well, is what the spec asked for: ACK says Synced of it too.
    ended = reasons.get("ACK.Terminal") == reasons.get("ACK.ResourceSynced")
    true = {type_ for type_, state in states.items() if state == "True"}
    shapes = [
        f"{c['type']}: {name} {c.get(name)!r}"
        for c in conditions
        for name, fits in (
            ("status", c["status"] in ("True", "False", "Unknown")),
            ("lastTransitionTime", TIME.fullmatch(c.get("lastTransitionTime", ""))),
            ("observedGeneration", isinstance(c.get("observedGeneration"), int)),
            ("reason", not c.get("reason") or _REASON.fullmatch(c["reason"]) or _ACK.fullmatch(c["reason"])),
            ("message", len(c.get("message", "")) <= 32768),
        )
        if not fits
    ]
    rules = {
        "a type twice": len(types) != len(set(types)),
        "no Ready": "Ready" not in states,
        "no ResourceSynced": "ACK.ResourceSynced" not in states,
        "synced and terminal": {"ACK.ResourceSynced", "ACK.Terminal"} <= true and not ended,
        "stalled and reconciling": {"Stalled", "Reconciling"} <= true,
        "complete and failed": {"Complete", "Failed"} <= true,
        "terminal and recoverable": {"ACK.Terminal", "ACK.Recoverable"} <= true,
        "ready and in trouble": "Ready" in true
        and bool(true & {"Stalled", "Reconciling", "Failed", "ACK.Terminal", "ACK.Recoverable"}),
        "an abnormal one that is not True": any(type_ not in _NORMAL | true for type_ in types),
    }
    return shapes + [name for name, broken in rules.items() if broken]
