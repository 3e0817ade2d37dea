"""The annotations, tags and namespaced keys that users and ACK know. facts: ACK runtime v0.62, section D.6."""

from __future__ import annotations

PREFIX = "services.k8s.aws/"

REGION = PREFIX + "region"
DELETION_POLICY = PREFIX + "deletion-policy"
JOB_RECORD = "sagemaker.services.k8s.aws/job-record"
"""On a job: `delete` deletes SageMaker's record with the object; `keep`, the default and ACK's way, only stops the job."""

UID_TAG = PREFIX + "uid"
"""Tag that proves a SageMaker resource was created for one Kubernetes object and no other."""
