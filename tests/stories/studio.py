"""Domains with their users, spaces and apps, and notebook instances."""

from __future__ import annotations

from tests.stories.story import NEW_ROLE, OTHER_ROLE, ROLE, SECURITY_GROUPS, BadValue, Edit, Story

_STUDIO = ("domain",)

STORIES = {
    "App": Story(
        needs=("domain", "userprofile"),
        ends="InService",
        bad=BadValue(spec={"appType": "Notebook"}, at="spec.appType", newer=True),
        frozen={"resourceSpec": {"instanceType": "ml.t3.medium"}},
        not_in_status={"BuiltInLifecycleConfigArn": "SageMaker's own"},
    ),
    "CodeRepository": Story(
        absent="Cannot find CodeRepository x",
        status=("creationTime", "lastModifiedTime"),
        bad=BadValue(spec={"codeRepositoryName": "under_score"}, at="spec.codeRepositoryName"),
        edit=Edit(
            spec={"gitConfig": {"secretARN": "arn:aws:secretsmanager:us-west-2:123456789012:secret:git-abcdef"}},
            calls=("UpdateCodeRepository",),
            at="GitConfig.SecretArn",
            value="arn:aws:secretsmanager:us-west-2:123456789012:secret:git-abcdef",
        ),
        frozen_inside=("gitConfig", {"branch": "release"}),
    ),
    "Domain": Story(
        ends="InService",
        status=("domainID", "url"),
        nameless=True,
        bad=BadValue(spec={"authMode": "LDAP"}, at="spec.authMode", newer=True),
        edit=Edit(
            spec={"defaultUserSettings": {"executionRole": OTHER_ROLE}},
            calls=("UpdateDomain",),
            at="DefaultUserSettings.ExecutionRole",
            value=OTHER_ROLE,
        ),
        frozen={"authMode": "SSO"},
        sets={"defaultUserSettings": {"securityGroups": SECURITY_GROUPS}},
        role={"defaultUserSettings": {"executionRole": NEW_ROLE}},
    ),
    "NotebookInstance": Story(
        absent="RecordNotFound",
        ends="InService",
        status=("url",),
        bad=BadValue(spec={"volumeSizeInGB": 4}, at="spec.volumeSizeInGB"),
        edit=Edit(
            spec={"volumeSizeInGB": 20},
            calls=("StopNotebookInstance", "UpdateNotebookInstance", "StartNotebookInstance"),
            at="VolumeSizeInGB",
            value=20,
        ),
        frozen={"directInternetAccess": "Disabled"},
        sets={"subnetID": "subnet-0123456789abcdef0", "securityGroupIDs": SECURITY_GROUPS},
        role=ROLE,
    ),
    "NotebookInstanceLifecycleConfig": Story(
        absent="Unable to describe Notebook Instance Lifecycle Config 'x'",
        status=("creationTime", "lastModifiedTime"),
        bad=BadValue(
            spec={"notebookInstanceLifecycleConfigName": "under_score"},
            at="spec.notebookInstanceLifecycleConfigName",
        ),
        edit=Edit(
            spec={"onStart": [{"content": "IyEvYmluL2Jhc2gKZWNobyBoaQo="}]},
            calls=("UpdateNotebookInstanceLifecycleConfig",),
            at="OnStart.0.Content",
            value="IyEvYmluL2Jhc2gKZWNobyBoaQo=",
        ),
    ),
    "Space": Story(
        needs=_STUDIO,
        ends="InService",
        status=("url",),
        bad=BadValue(spec={"spaceName": "under_score"}, at="spec.spaceName"),
        edit=Edit(
            spec={"spaceDisplayName": "Churn analysis, renamed"},
            calls=("UpdateSpace",),
            at="SpaceDisplayName",
            value="Churn analysis, renamed",
        ),
    ),
    "UserProfile": Story(
        needs=_STUDIO,
        ends="InService",
        bad=BadValue(spec={"userProfileName": "under_score"}, at="spec.userProfileName"),
        edit=Edit(
            spec={"userSettings": {"executionRole": OTHER_ROLE}},
            calls=("UpdateUserProfile",),
            at="UserSettings.ExecutionRole",
            value=OTHER_ROLE,
        ),
        sets={"userSettings": {"securityGroups": SECURITY_GROUPS}},
        role={"userSettings": {"executionRole": NEW_ROLE}},
    ),
}
