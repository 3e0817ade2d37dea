"""A small SageMaker for tests of the poller: training jobs, with a List that filters after paging, as AWS's does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_operator.errors import AwsError, ErrorCategory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sagemaker_operator.aws.target import Target
    from sagemaker_operator.kinds.descriptor import Kind

EPOCH = 1_700_000_000.0
LIST, DESCRIBE = "ListTrainingJobs", "DescribeTrainingJob"


def refusal(operation: str, category: ErrorCategory, *, retry_after: float | None = None) -> AwsError:
    return AwsError("refused", category=category, operation=operation, code="Refused", retry_after=retry_after)


@dataclass
class Job:
    name: str
    created: float
    modified: float
    status: str = "InProgress"
    number: int = 0

    def shown(self) -> dict[str, Any]:
        return {
            "TrainingJobName": self.name,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "TrainingJobStatus": self.status,
        }


@dataclass
class Service:
    """`refuse(operation, params)` may return the error of a call; `seconds(operation)` is how long a call takes."""

    seconds: Callable[[str], float] = lambda operation: 0.1
    refuse: Callable[[str, Mapping[str, Any]], AwsError | None] = lambda operation, params: None
    hidden_seconds: float = 0.0
    """For so long after a change the List shows a job as unmodified."""
    repeats_token: bool = False
    jobs: dict[str, Job] = field(default_factory=dict)
    calls: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()

    def add(self, name: str, *, created: float | None = None, modified: float | None = None) -> Job:
        made = self.now() if created is None else created
        job = self.jobs[name] = Job(name, made, made if modified is None else modified, number=len(self.jobs))
        return job

    def set(self, name: str, status: str) -> None:
        self.jobs[name].status, self.jobs[name].modified = status, self.now()

    def count(self, operation: str) -> int:
        return sum(called == operation for _, called, _ in self.calls)

    async def call(
        self,
        target: Target,
        operation: str,
        params: Mapping[str, Any],
        *,
        kind: Kind | None = None,
        caller: str = "",
    ) -> dict[str, Any]:
        self.calls.append((asyncio.get_running_loop().time(), operation, dict(params)))
        # What it shows is as old as the call.
        error = self.refuse(operation, params)
        answer = None if error else self._answer(operation, params)
        await asyncio.sleep(self.seconds(operation))
        if answer is None:
            raise error or refusal(operation, ErrorCategory.NOT_FOUND)
        return answer

    def _answer(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
        if operation == DESCRIBE:
            job = self.jobs.get(params["TrainingJobName"])
            return job.shown() if job else None
        newest_first = sorted(self.jobs.values(), key=lambda job: (-job.created, -job.number))
        chosen = [job for job in newest_first if job.created > params.get("CreationTimeAfter", 0.0)]
        start = int(params.get("NextToken") or 0)
        if self.repeats_token and start:
            start = params["MaxResults"]
        end = start + params["MaxResults"]
        after, visible = params.get("LastModifiedTimeAfter", 0.0), self.now() - self.hidden_seconds
        page = [job for job in chosen[start:end] if job.modified > after and not visible < job.modified <= self.now()]
        answer: dict[str, Any] = {"TrainingJobSummaries": [job.shown() for job in page]}
        if end < len(chosen):
            answer["NextToken"] = str(params["MaxResults"] if self.repeats_token else end)
        return answer
