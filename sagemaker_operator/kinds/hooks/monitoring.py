"""Monitoring schedules: while an execution runs, its schedule stays as it is."""

from __future__ import annotations

from sagemaker_operator.kinds.descriptor import Edit, Verdict

_RUNNING = frozenset({"Pending", "InProgress", "Stopping"})


def plan_update(edit: Edit) -> Verdict:
    """Waits, with ACK's messages."""
    summary = edit.observed.get("LastMonitoringExecutionSummary") or {}
    status = summary.get("MonitoringExecutionStatus")
    if edit.proposal.request is not None and status in _RUNNING:
        return Verdict(wait=f"Monitoring Job in {status} state, MonitoringSchedule cannot be modified or deleted.")
    return edit.proposal
