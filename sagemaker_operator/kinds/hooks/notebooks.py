"""Notebook instances are updated only while they are stopped: stop, update, start. And their lifecycle configurations.

`status.stoppedByControllerMetadata` remembers, where ACK keeps it, that it was the operator who stopped one: a notebook
that its user stopped is updated and left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.kinds.descriptor import NOTHING_TO_DO, Edit, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

STOPPED_BY_US = "stoppedByControllerMetadata"
_PENDING = "UpdatePending"
_TRIGGERED = "UpdateTriggered"

_ON_ITS_WAY = frozenset({"Stopping", "Updating"})

# SageMaker gives a notebook none of these by itself, so one that the spec lacks was taken out of it.
_DISASSOCIATE = {
    "LifecycleConfigName": "DisassociateLifecycleConfig",
    "AcceleratorTypes": "DisassociateAcceleratorTypes",
    "DefaultCodeRepository": "DisassociateDefaultCodeRepository",
    "AdditionalCodeRepositories": "DisassociateAdditionalCodeRepositories",
}


def plan_update(edit: Edit) -> Verdict:
    """The next call of the three, by what the notebook does and what we did to it."""
    status, memory = edit.observed.get("NotebookInstanceStatus"), edit.status.get(STOPPED_BY_US)
    name = {"NotebookInstanceName": edit.observed["NotebookInstanceName"]}
    change = _change(edit, name)
    if status == "Stopped" and (memory == _TRIGGERED or (memory == _PENDING and change is None)):
        # Started even if the spec was edited again meanwhile: a notebook must not stay stopped because of an edit.
        return Verdict(request=name, operation="StartNotebookInstance", status={STOPPED_BY_US: None})
    if edit.proposal.reject is not None:
        return edit.proposal
    if status == "InService":
        if change is not None:
            return Verdict(request=name, operation="StopNotebookInstance", status={STOPPED_BY_US: _PENDING})
        # It was started by somebody else, or our own start was accepted and never written down.
        return Verdict(status={STOPPED_BY_US: None}) if memory else NOTHING_TO_DO
    if change is None:
        return NOTHING_TO_DO
    if status in _ON_ITS_WAY and memory is not None:
        return Verdict(wait=f"NotebookInstance is {status.lower()}.")
    return Verdict(request=change, status={STOPPED_BY_US: _TRIGGERED} if memory == _PENDING else {})


_CONFIG_NAME = "NotebookInstanceLifecycleConfigName"
_SCRIPTS = ("OnCreate", "OnStart")


def plan_config_update(edit: Edit) -> Verdict:
    """Both scripts together, as ACK sends them: it is not documented what becomes of the one that an update leaves out.

    SageMaker gives a configuration no script by itself, so one that the spec lacks was taken out of it.
    """
    gone: dict[str, Any] = {name: [] for name in _SCRIPTS if edit.observed.get(name) and name not in edit.desired}
    if edit.proposal.reject is not None or not (edit.proposal.request or gone):
        return edit.proposal
    wanted = {name: edit.desired[name] for name in _SCRIPTS if name in edit.desired}
    return Verdict(request={_CONFIG_NAME: edit.observed[_CONFIG_NAME], **wanted, **gone})


def _change(edit: Edit, name: Mapping[str, Any]) -> dict[str, Any] | None:
    removed = {
        flag: True
        for member, flag in _DISASSOCIATE.items()
        if edit.observed.get(member) and not edit.desired.get(member)
    }
    if edit.proposal.reject is not None or (edit.proposal.request is None and not removed):
        return None
    kept = {
        member: value for member, value in (edit.proposal.request or {}).items() if value or member not in _DISASSOCIATE
    }
    return {**name, **kept, **removed}
