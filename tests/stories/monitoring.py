"""Model monitoring: the four job definitions and the schedules that run them."""

from __future__ import annotations

from tests.e2e.patches import MONITORING_JOB
from tests.stories.story import NETWORK, OTHER_ROLE, ROLE, BadValue, Edit, Story

_JOB_DEFINITION = Story(
    bad=BadValue(
        spec={"jobResources": {"clusterConfig": {"instanceCount": 101}}},
        at="spec.jobResources.clusterConfig.instanceCount",
    ),
    frozen={"roleARN": OTHER_ROLE},
    sets=NETWORK,
    role=ROLE,
)

STORIES = {
    "DataQualityJobDefinition": _JOB_DEFINITION,
    "ModelBiasJobDefinition": _JOB_DEFINITION,
    "ModelExplainabilityJobDefinition": _JOB_DEFINITION,
    "ModelQualityJobDefinition": _JOB_DEFINITION,
    "MonitoringSchedule": Story(
        needs=("dataqualityjobdefinition",),
        ends="Scheduled",
        status=("creationTime", "lastModifiedTime"),
        bad=BadValue(
            spec={"monitoringScheduleConfig": {"monitoringType": "Everything"}},
            at="spec.monitoringScheduleConfig.monitoringType",
            newer=True,
        ),
        edit=Edit(
            spec={"monitoringScheduleConfig": {"scheduleConfig": {"scheduleExpression": "cron(0 0 ? * * *)"}}},
            calls=("UpdateMonitoringSchedule",),
            at="MonitoringScheduleConfig.ScheduleConfig.ScheduleExpression",
            value="cron(0 0 ? * * *)",
        ),
        not_in_status=dict.fromkeys(("EndpointName", "MonitoringType"), "the job definition's"),
        sets={
            "monitoringScheduleConfig": {
                "monitoringJobDefinitionName": None,
                "monitoringJobDefinition": MONITORING_JOB | NETWORK,
            }
        },
        role={
            "monitoringScheduleConfig": {
                "monitoringJobDefinitionName": None,
                "monitoringJobDefinition": MONITORING_JOB | ROLE,
            }
        },
    ),
}
