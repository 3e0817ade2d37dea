"""The flags of `run` as data. Names, defaults and environment variables are ACK's where ACK has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click

from sagemaker_operator.cli.types import Csv, Duration, Gates, rates, seconds, workers
from sagemaker_operator.settings import DeletionPolicy, Settings

if TYPE_CHECKING:
    from collections.abc import Callable


class Group(StrEnum):
    """The headings of `--help` and of docs/configuration.md, in this order."""

    AWS = "AWS"
    KUBERNETES = "Kubernetes"
    RECONCILING = "What is reconciled, and how"
    ACCOUNTS = "Accounts and roles"
    RATES = "Workers, resyncs and rates"
    PROCESS = "Process"
    IDLE = "Accepted for ACK's sake, without effect"


@dataclass(frozen=True, slots=True)
class Option:
    """One flag and its setting. A flag that is not given leaves the setting's default."""

    group: Group
    flag: str
    setting: str
    type: Any
    help: str
    ack_env: str | None = None
    repeat: bool = False
    read: Callable[[Any], Any] = lambda value: value

    @property
    def env(self) -> list[str]:
        own = ENV_PREFIX + self.flag.removeprefix("--").replace("-", "_").upper()
        return [own, self.ack_env] if self.ack_env else [own]


ENV_PREFIX = "SAGEMAKER_OPERATOR_"


def _flat(values: tuple[tuple[Any, ...], ...]) -> tuple[Any, ...]:
    return tuple(item for group in values for item in group)


def _whole(values: tuple[tuple[tuple[str, float], ...], ...]) -> dict[str, int]:
    return {name: int(number) for name, number in _flat(values)}


def _numbers(values: tuple[tuple[tuple[str, float], ...], ...]) -> dict[str, float]:
    return dict(_flat(values))


def _resync(given: float) -> float:
    """ACK's 0 means its default."""
    return given or Settings(aws_region="-").resync_seconds


_G = Group
OPTIONS: tuple[Option, ...] = (
    Option(_G.AWS, "--aws-region", "aws_region", str, "AWS region; required.", "AWS_REGION"),
    Option(
        _G.AWS,
        "--aws-endpoint-url",
        "aws_endpoint_url",
        str,
        "SageMaker's endpoint, in place of the region's own. Empty: AWS_ENDPOINT_URL_SAGEMAKER, AWS_ENDPOINT_URL or "
        "endpoint_url in the AWS config file, as the SDKs read them.",
    ),
    Option(
        _G.AWS,
        "--aws-identity-endpoint-url",
        "aws_identity_endpoint_url",
        str,
        "STS's endpoint, for every call to STS. Empty: AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL or the AWS config file; "
        "never the one above.",
        "AWS_IDENTITY_ENDPOINT_URL",
    ),
    Option(
        _G.AWS, "--allow-unsafe-aws-endpoint-urls", "allow_unsafe_aws_endpoint_urls", bool, "Accept http:// endpoints."
    ),
    Option(
        _G.AWS,
        "--http-client-timeout",
        "http_client_timeout",
        Duration(),
        "Wait for an answer of AWS (ACK: 60s). A read ends after 25 s and a change after 10 s in any case.",
    ),
    Option(
        _G.KUBERNETES,
        "--kubeconfig",
        "kubeconfig",
        str,
        "Kubeconfig file, read as kubectl reads it; otherwise $KUBECONFIG (one file or several), the pod's service account, "
        "~/.kube/config.",
    ),
    Option(_G.KUBERNETES, "--context", "context", str, "Context of the kubeconfig."),
    Option(
        _G.RECONCILING,
        "--watch-namespace",
        "watch_namespaces",
        Csv(),
        "Namespaces to watch; empty: all.",
        "ACK_WATCH_NAMESPACE",
        repeat=True,
        read=_flat,
    ),
    Option(
        _G.RECONCILING,
        "--watch-selectors",
        "watch_selectors",
        str,
        "Label selector for the objects to reconcile.",
        "ACK_WATCH_SELECTORS",
    ),
    Option(
        _G.RECONCILING,
        "--reconcile-resources",
        "reconcile_resources",
        Csv(),
        "Kinds to reconcile; empty: all.",
        "RECONCILE_RESOURCES",
        repeat=True,
        read=_flat,
    ),
    Option(
        _G.RECONCILING,
        "--deletion-policy",
        "deletion_policy",
        click.Choice([policy.value for policy in DeletionPolicy]),
        "What deleting an object does in SageMaker, unless the object or its namespace says otherwise.",
        "DELETION_POLICY",
        read=DeletionPolicy,
    ),
    Option(
        _G.RECONCILING,
        "--job-record",
        "job_record",
        click.Choice(["keep", "delete"]),
        "What becomes of SageMaker's record of a job when its object is deleted.",
    ),
    Option(
        _G.RECONCILING,
        "--resource-tags",
        "resource_tags",
        Csv(),
        "Tags for everything created, KEY=VALUE.",
        "ACK_RESOURCE_TAGS",
        repeat=True,
        read=_flat,
    ),
    Option(
        _G.RECONCILING,
        "--write-late-init",
        "write_late_init",
        bool,
        "Fill fields left empty in spec with SageMaker's defaults, as ACK does.",
    ),
    Option(
        _G.RECONCILING,
        "--enable-cross-namespace",
        "enable_cross_namespace",
        bool,
        "References, exports, adopted resources and secrets may name another namespace.",
    ),
    Option(
        _G.RECONCILING,
        "--enable-field-export-reconciler",
        "enable_field_export",
        bool,
        "Reconcile FieldExports.",
    ),
    Option(
        _G.RECONCILING,
        "--enable-adopted-resource-reconciler",
        "enable_adopted_resource",
        bool,
        "Reconcile AdoptedResources.",
    ),
    Option(_G.RECONCILING, "--feature-gates", "feature_gates", Gates(), "ACK's feature gates.", "FEATURE_GATES"),
    Option(_G.ACCOUNTS, "--enable-carm", "enable_carm", bool, "Namespaces may name an owner account."),
    Option(
        _G.ACCOUNTS,
        "--system-namespace",
        "system_namespace",
        str,
        "Namespace of the role maps; empty: the pod's.",
        "ACK_SYSTEM_NAMESPACE",
    ),
    Option(
        _G.ACCOUNTS, "--assume-role-external-id", "assume_role_external_id", str, "External id of every AssumeRole."
    ),
    Option(
        _G.ACCOUNTS,
        "--assume-role-session-tags",
        "assume_role_session_tags",
        Csv(),
        "Session tags of every AssumeRole, KEY=VALUE.",
        repeat=True,
        read=_flat,
    ),
    Option(
        _G.RATES,
        "--reconcile-default-max-concurrent-syncs",
        "max_concurrent_syncs",
        click.IntRange(1, 1000),
        "Workers per kind.",
        "RECONCILE_DEFAULT_MAX_CONCURRENT_SYNCS",
    ),
    Option(
        _G.RATES,
        "--reconcile-resource-max-concurrent-syncs",
        "max_concurrent_syncs_of",
        workers(),
        "Workers of one kind.",
        "RECONCILE_RESOURCE_MAX_CONCURRENT_SYNCS",
        repeat=True,
        read=_whole,
    ),
    Option(
        _G.RATES,
        "--reconcile-default-resync-seconds",
        "resync_seconds",
        click.FloatRange(0),
        "How often a settled resource is compared with its spec; a finished job never is. 0: ACK's 10 hours.",
        "RECONCILE_DEFAULT_RESYNC_SECONDS",
        read=_resync,
    ),
    Option(
        _G.RATES,
        "--reconcile-resource-resync-seconds",
        "resync_seconds_of",
        seconds(),
        "The same for one kind.",
        "RECONCILE_RESOURCE_RESYNC_SECONDS",
        repeat=True,
        read=_numbers,
    ),
    Option(
        _G.RATES,
        "--aws-rate-limit",
        "aws_rate_limits",
        rates(),
        "At most so many requests per second of an operation or verb, such as ListTrainingJobs or Create.",
        repeat=True,
        read=_numbers,
    ),
    Option(
        _G.PROCESS,
        "--enable-leader-election",
        "leader_election",
        bool,
        "Work only while holding the lease, which is ACK's own (ACK: false).",
    ),
    Option(
        _G.PROCESS,
        "--leader-election-namespace",
        "leader_election_namespace",
        str,
        "Namespace of the lease; empty: the pod's.",
        "LEADER_ELECTION_NAMESPACE",
    ),
    Option(_G.PROCESS, "--total-shards", "total_shards", click.IntRange(1), "Processes that share the objects."),
    Option(_G.PROCESS, "--shard", "shard", click.IntRange(0), "Which of them this is, from 0."),
    Option(
        _G.PROCESS,
        "--metrics-addr",
        "metrics_addr",
        str,
        "HOST:PORT of /metrics; no HOST: every IPv4 and IPv6 address; 0 turns it off.",
    ),
    Option(
        _G.PROCESS,
        "--enable-object-metrics",
        "object_metrics",
        bool,
        "One series per object in /metrics, with its name: for hundreds of objects, not for tens of thousands.",
    ),
    Option(
        _G.PROCESS,
        "--healthz-addr",
        "healthz_addr",
        str,
        "HOST:PORT of /healthz and /readyz, as above; 0 turns it off.",
    ),
    Option(
        _G.PROCESS,
        "--enable-debug-endpoints",
        "debug_endpoints",
        bool,
        "/debug/poller beside /metrics: when each resource is asked about next, and why.",
    ),
    Option(
        _G.PROCESS,
        "--log-level",
        "log_level",
        click.Choice(["debug", "info", "warn", "warning", "error"]),
        "Least level logged.",
        "ACK_LOG_LEVEL",
        read=lambda level: "warning" if level == "warn" else level,
    ),
    Option(
        _G.PROCESS, "--log-format", "log_format", click.Choice(["json", "text"]), "json for machines, text for people."
    ),
    Option(
        _G.PROCESS,
        "--enable-development-logging",
        "development_logging",
        bool,
        "Short for --log-level debug --log-format text.",
    ),
    Option(_G.IDLE, "--enable-webhook-server", "webhook_server", bool, "There are no webhooks."),
    Option(_G.IDLE, "--webhook-server-addr", "webhook_server_addr", str, "There are no webhooks."),
    Option(
        _G.IDLE,
        "--aws-endpoint-use-path-style",
        "path_style",
        bool,
        "It is about S3, which the operator does not call.",
    ),
)
