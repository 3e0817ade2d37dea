from __future__ import annotations

from typing import Any

import pytest

from sagemaker_operator.control.spec.update import compare
from sagemaker_operator.kinds.catalog import derive
from sagemaker_operator.kinds.descriptor import Edit, Verdict
from sagemaker_operator.kinds.hooks.notebooks import STOPPED_BY_US

NOTEBOOK = derive("CreateNotebookInstance")
NAME = {"NotebookInstanceName": "lab"}
LIVE = NAME | {
    "InstanceType": "ml.t3.medium",
    "NotebookInstanceLifecycleConfigName": "setup",
    "SecurityGroups": ["sg-1"],
}
BIGGER = {"InstanceType": "ml.m5.large"}
STOP = Verdict(request=NAME, operation="StopNotebookInstance", status={STOPPED_BY_US: "UpdatePending"})
START = Verdict(request=NAME, operation="StartNotebookInstance", status={STOPPED_BY_US: None})


def plan(desired: dict[str, Any], status: str, memory: str | None = None) -> Verdict:
    wanted = (
        NAME | {"InstanceType": "ml.t3.medium", "LifecycleConfigName": "setup", "SecurityGroupIds": ["sg-1"]} | desired
    )
    stored = {STOPPED_BY_US: memory} if memory else {}
    return compare(
        NOTEBOOK, Edit(wanted, LIVE | {"NotebookInstanceStatus": status}, (), False, {}, stored), identity=NAME
    )[1]


def test_a_notebook_in_the_desired_state_is_not_updated() -> None:
    assert plan({}, "InService") == plan({}, "Stopped") == plan({}, "Pending") == Verdict()


def test_a_running_notebook_is_stopped_first() -> None:
    assert plan(BIGGER, "InService") == STOP


@pytest.mark.parametrize("status", ["Stopping", "Updating"])
def test_waiting_for_a_notebook_that_the_operator_stopped_has_acks_message(status: str) -> None:
    assert plan(BIGGER, status, "UpdatePending").wait == f"NotebookInstance is {status.lower()}."


def test_a_notebook_that_the_operator_stopped_is_updated_and_recorded() -> None:
    expected = Verdict(request=NAME | BIGGER, status={STOPPED_BY_US: "UpdateTriggered"})
    assert plan(BIGGER, "Stopped", "UpdatePending") == expected


@pytest.mark.parametrize("desired", [{}, BIGGER])
def test_a_notebook_that_the_operator_stopped_is_started_after_the_update(desired: dict[str, Any]) -> None:
    assert plan(desired, "Stopped", "UpdateTriggered") == START


def test_an_edit_that_was_taken_back_starts_the_notebook_too() -> None:
    assert plan({}, "Stopped", "UpdatePending") == START


def test_an_edit_that_became_impossible_starts_the_notebook_too() -> None:
    assert plan({"SecurityGroupIds": ["sg-2"], "LifecycleConfigName": None}, "Stopped", "UpdatePending") == START


def test_a_notebook_that_its_user_stopped_is_updated_and_stays_stopped() -> None:
    assert plan(BIGGER, "Stopped") == Verdict(request=NAME | BIGGER)


def test_a_stale_stop_annotation_is_removed_from_a_running_notebook() -> None:
    assert plan({}, "InService", "UpdateTriggered") == Verdict(status={STOPPED_BY_US: None})


def test_a_lifecycle_config_removed_from_the_spec_is_disassociated() -> None:
    expected = NAME | {"DisassociateLifecycleConfig": True}
    for gone in ({"LifecycleConfigName": None}, {"LifecycleConfigName": ""}):
        assert plan(gone, "InService") == STOP
        assert plan(gone, "Stopped").request == expected


@pytest.mark.parametrize("status", ["InService", "Stopped", "Pending"])
def test_a_field_that_no_update_accepts_is_refused_before_the_notebook_is_stopped(status: str) -> None:
    verdict = plan(BIGGER | {"SecurityGroupIds": ["sg-2"]}, status)
    assert "spec.securityGroupIDs" in str(verdict.reject)
    assert verdict.request is None


CONFIG = derive("CreateNotebookInstanceLifecycleConfig")
NAMED = {"NotebookInstanceLifecycleConfigName": "tools"}
ONE, TWO, THREE = ([{"Content": text}] for text in ("b25l", "dHdv", "dGhyZWU="))


@pytest.mark.parametrize(
    ("wanted", "there", "sent"),
    [
        ({"OnCreate": ONE, "OnStart": TWO}, {"OnCreate": ONE, "OnStart": TWO}, None),
        ({"OnCreate": ONE}, {"OnCreate": ONE, "OnStart": []}, None),
        ({"OnCreate": ONE, "OnStart": THREE}, {"OnCreate": ONE, "OnStart": TWO}, {"OnCreate": ONE, "OnStart": THREE}),
        ({"OnCreate": ONE, "OnStart": THREE}, {"OnCreate": ONE}, {"OnCreate": ONE, "OnStart": THREE}),
        ({"OnCreate": ONE}, {"OnCreate": ONE, "OnStart": TWO}, {"OnCreate": ONE, "OnStart": []}),
        ({"OnCreate": ONE, "OnStart": []}, {"OnCreate": ONE, "OnStart": TWO}, {"OnCreate": ONE, "OnStart": []}),
        ({}, {"OnStart": TWO}, {"OnStart": []}),
    ],
    ids=["same", "never was", "changed", "added", "taken out", "emptied", "all taken out"],
)
def test_both_scripts_of_a_lifecycle_configuration_are_sent(wanted: Any, there: Any, sent: Any) -> None:
    verdict = compare(CONFIG, Edit(NAMED | wanted, NAMED | there, (), False), identity=NAMED)[1]
    assert verdict.request == (None if sent is None else NAMED | sent)
