"""Lineage and experiments: records that people and jobs write, and whose status is the writer's own."""

from __future__ import annotations

from tests.stories.story import BadValue, Edit, Story

STORIES = {
    "Action": Story(
        status=("creationTime", "lastModifiedTime"),
        bad=BadValue(spec={"actionName": "under_score"}, at="spec.actionName"),
        edit=Edit(
            spec={"status": "Completed", "properties": {"reviewer": None, "result": "approved"}},
            calls=("UpdateAction",),
            at="Properties",
            value={"result": "approved"},
        ),
        frozen={"actionType": "Deployment"},
    ),
    "Artifact": Story(
        status=("creationTime", "lastModifiedTime"),
        nameless=True,
        bad=BadValue(
            spec={"source": {"sourceTypes": [{"sourceIDType": "Guess", "value": "1"}]}},
            at="spec.source.sourceTypes[0].sourceIDType",
            newer=True,
        ),
        edit=Edit(
            spec={"properties": {"rows": None, "columns": "12"}},
            calls=("UpdateArtifact",),
            at="Properties",
            value={"columns": "12"},
        ),
        frozen={"artifactType": "Model"},
    ),
    "Context": Story(
        status=("creationTime", "lastModifiedTime"),
        bad=BadValue(spec={"contextName": "with a blank"}, at="spec.contextName"),
        edit=Edit(
            spec={"properties": {"stage": None, "owner": "growth"}},
            calls=("UpdateContext",),
            at="Properties",
            value={"owner": "growth"},
        ),
        frozen={"contextType": "Endpoint"},
    ),
    "TrialComponent": Story(
        status=("creationTime", "lastModifiedTime"),
        bad=BadValue(spec={"status": {"primaryStatus": "Halfway"}}, at="spec.status.primaryStatus", newer=True),
        edit=Edit(
            spec={"status": {"primaryStatus": "Completed"}, "inputArtifacts": {"raw": None}},
            calls=("UpdateTrialComponent",),
            at="Status.PrimaryStatus",
            value="Completed",
        ),
        frozen={"metadataProperties": {"commitID": "0a1b2c3"}},
    ),
}
