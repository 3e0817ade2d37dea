"""The annotations, tags and namespaced keys that users and ACK know. facts: ACK runtime v0.62, section D.6."""

from __future__ import annotations

PREFIX = "services.k8s.aws/"

REGION = PREFIX + "region"
DELETION_POLICY = PREFIX + "deletion-policy"
DELETION_PROTECTION = PREFIX + "deletion-protection"
"""Any value but `false`: deleting the object waits until the annotation is removed, and nothing is stopped or deleted."""
ADOPTION_POLICY = PREFIX + "adoption-policy"
ADOPTION_FIELDS = PREFIX + "adoption-fields"
ADOPTED = PREFIX + "adopted"
ADOPTED_RESOURCE = PREFIX + "adopted-resource"
"""On an object that was created for an AdoptedResource: the AdoptedResource's `<namespace>/<name>`."""
READ_ONLY = PREFIX + "read-only"
RECONCILE_REQUESTED = PREFIX + "reconcile-requested-at"
"""Any new value reconciles now, as Flux's annotation of that name does."""
# On namespaces:
DEFAULT_REGION = PREFIX + "default-region"
OWNER_ACCOUNT_ID = PREFIX + "owner-account-id"
TEAM_ID = PREFIX + "team-id"
ENDPOINT_URL = PREFIX + "endpoint-url"
NAMESPACE_DELETION_POLICY = "sagemaker." + DELETION_POLICY

JOB_RECORD = "sagemaker.services.k8s.aws/job-record"
"""On a job: `delete` deletes SageMaker's record with the object; `keep`, the default and ACK's way, only stops the job."""

CREATED = "sagemaker.services.k8s.aws/created"
"""Written by the operator on an object whose resource's identifier AWS makes: the object's and the resource's names."""

CREATE_SENT = "sagemaker.services.k8s.aws/create-sent"
"""Written by the operator with its finalizer: UID, partition, region and account of the create that may follow."""

OWN_RECORDS = frozenset({CREATED, CREATE_SENT})
"""Annotations that the operator writes for itself: a change of one needs no reconcile."""

UID_TAG = PREFIX + "uid"
"""Tag with the UID of the Kubernetes object for which a SageMaker resource was created."""
