"""The status of an object as one pass wants it, and the smallest patch that gets it there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagemaker_operator.conditions import Findings, compute
from sagemaker_operator.control.observation import Observation, to_status
from sagemaker_operator.control.spec.merge_patch import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.kinds.descriptor import Kind


def status_patch(
    kind: Kind,
    stored: Mapping[str, Any],
    *,
    findings: Findings,
    observed: Observation | None,
    arn: str | None,
    target: Target | None,
    partition: str,
    generation: int,
    late_init: bool = True,
    now: str,
) -> dict[str, Any] | None:
    """A JSON merge patch for `status`; `target` None: where it is was not decided, and stays as stored.

    None if nothing would change: a write without a change is an etcd write.
    """
    wanted: dict[str, Any] = {}
    if observed is not None and observed.found:
        wanted |= to_status(kind, observed)
    if arn is not None and target is not None:
        # Only a recorded ARN pins region and account: a mistake in either stays correctable until SageMaker accepted.
        metadata = {"ownerAccountID": target.account, "partition": partition, "region": target.region}
        wanted["ackResourceMetadata"] = metadata | {"arn": arn}
    wanted["observedGeneration"] = generation
    wanted["conditions"] = compute(
        stored.get("conditions") or (), findings, job=kind.is_job, late_init=late_init, generation=generation, now=now
    )
    patch = {name: value for name, value in wanted.items() if stored.get(name) != value}
    return {name: replacing(stored.get(name), value) for name, value in patch.items()} or None
