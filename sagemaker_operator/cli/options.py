"""The flags of `run` as data. Names, defaults and environment variables are ACK's where ACK has them.

Every flag can also be given as SAGEMAKER_OPERATOR_<FLAG>, and under the name that ACK's Helm chart sets, so that an ACK
Deployment's environment works unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import msgspec

from sagemaker_operator.cli.types import Duration, Gates, Rate
from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.settings import DeletionPolicy, FeatureGates, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Pairs(click.ParamType[tuple[str, float], Any]):
    """Kind=NUMBER."""

    name = "KIND=N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        kind, separator, number = str(value).partition("=")
        if not (separator and kind and number.isdigit()):
            self.fail(f"{value!r} is not KIND=NUMBER, for example TrainingJob=10", param, ctx)
        return kind, float(number)


class Csv(click.ParamType[tuple[str, ...], Any]):
    """A comma-separated list."""

    name = "A,B,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class Option:
    """One flag and the setting it fills. A setting without a value given keeps its default."""

    flag: str
    setting: str
    type: Any
    help: str
    ack_env: str | None = None
    repeat: bool = False
    read: Callable[[Any], Any] = lambda value: value

    @property
    def env(self) -> list[str]:
        own = "SAGEMAKER_OPERATOR_" + self.flag.removeprefix("--").replace("-", "_").upper()
        return [own, self.ack_env] if self.ack_env else [own]


def _flat(values: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(item for group in values for item in group)


OPTIONS: tuple[Option, ...] = (
    Option("--aws-region", "aws_region", str, "AWS region; required.", "AWS_REGION"),
    Option(
        "--aws-endpoint-url",
        "aws_endpoint_url",
        str,
        "SageMaker endpoint, instead of the region's own.",
        "AWS_ENDPOINT_URL",
    ),
    Option(
        "--aws-identity-endpoint-url",
        "aws_identity_endpoint_url",
        str,
        "STS endpoint, used once at start.",
        "AWS_IDENTITY_ENDPOINT_URL",
    ),
    Option("--allow-unsafe-aws-endpoint-urls", "allow_unsafe_aws_endpoint_urls", bool, "Accept http:// endpoints."),
    Option(
        "--kubeconfig",
        "kubeconfig",
        str,
        "Kubeconfig file; otherwise $KUBECONFIG, the pod's service account, ~/.kube/config.",
    ),
    Option("--context", "context", str, "Context of the kubeconfig."),
    Option("--watch-namespace", "watch_namespaces", Csv(), "Namespaces to watch; empty: all.", "ACK_WATCH_NAMESPACE"),
    Option(
        "--watch-selectors",
        "watch_selectors",
        str,
        "Label selector for the objects to reconcile.",
        "ACK_WATCH_SELECTORS",
    ),
    Option(
        "--reconcile-resources", "reconcile_resources", Csv(), "Kinds to reconcile; empty: all.", "RECONCILE_RESOURCES"
    ),
    Option(
        "--deletion-policy",
        "deletion_policy",
        click.Choice([policy.value for policy in DeletionPolicy]),
        "What deleting an object does in SageMaker, unless the object says otherwise.",
        "DELETION_POLICY",
        read=DeletionPolicy,
    ),
    Option(
        "--resource-tags",
        "resource_tags",
        Csv(),
        "Tags for everything created.",
        "ACK_RESOURCE_TAGS",
        repeat=True,
        read=_flat,
    ),
    Option(
        "--reconcile-default-max-concurrent-syncs",
        "max_concurrent_syncs",
        click.IntRange(1, 1000),
        "Workers per kind.",
        "RECONCILE_DEFAULT_MAX_CONCURRENT_SYNCS",
    ),
    Option(
        "--reconcile-resource-max-concurrent-syncs",
        "max_concurrent_syncs_of",
        Pairs(),
        "Workers of one kind.",
        "RECONCILE_RESOURCE_MAX_CONCURRENT_SYNCS",
        repeat=True,
        read=lambda pairs: {kind: int(number) for kind, number in pairs},
    ),
    Option(
        "--reconcile-default-resync-seconds",
        "resync_seconds",
        click.FloatRange(0),
        "How often a resource at rest is compared with its spec; a finished job never is. 0: ACK's 10 hours.",
        "RECONCILE_DEFAULT_RESYNC_SECONDS",
        read=lambda seconds: seconds or _DEFAULTS["resync_seconds"],
    ),
    Option(
        "--reconcile-resource-resync-seconds",
        "resync_seconds_of",
        Pairs(),
        "The same for one kind.",
        "RECONCILE_RESOURCE_RESYNC_SECONDS",
        repeat=True,
        read=dict,
    ),
    Option(
        "--enable-leader-election", "leader_election", bool, "Work only while holding the lease, which is ACK's own."
    ),
    Option(
        "--leader-election-namespace",
        "leader_election_namespace",
        str,
        "Namespace of the lease; empty: the pod's.",
        "LEADER_ELECTION_NAMESPACE",
    ),
    Option("--metrics-addr", "metrics_addr", str, "HOST:PORT of /metrics; 0 turns it off."),
    Option("--healthz-addr", "healthz_addr", str, "HOST:PORT of /healthz and /readyz; 0 turns it off."),
    Option(
        "--log-level",
        "log_level",
        click.Choice(["debug", "info", "warn", "warning", "error"]),
        "Least level logged.",
        "ACK_LOG_LEVEL",
        read=lambda level: "warning" if level == "warn" else level,
    ),
    Option("--log-format", "log_format", click.Choice(["json", "text"]), "json for machines, text for people."),
    Option("--feature-gates", "feature_gates", Gates(), "ACK's feature gates.", "FEATURE_GATES"),
    Option("--enable-carm", "enable_carm", bool, "Namespaces may name an owner account."),
    Option("--enable-cross-namespace", "enable_cross_namespace", bool, "References may name another namespace."),
    Option("--enable-field-export-reconciler", "enable_field_export", bool, "Reconcile FieldExports."),
    Option(
        "--write-late-init",
        "write_late_init",
        bool,
        "Write SageMaker's defaults into spec, as ACK does.",
    ),
    Option(
        "--system-namespace",
        "system_namespace",
        str,
        "Namespace of the role maps.",
        "ACK_SYSTEM_NAMESPACE",
    ),
    Option(
        "--assume-role-external-id",
        "assume_role_external_id",
        str,
        "External id of every AssumeRole.",
    ),
    Option(
        "--assume-role-session-tags",
        "assume_role_session_tags",
        Csv(),
        "Tags of every AssumeRole.",
        None,
        True,
        _flat,
    ),
    Option("--job-record", "job_record", click.Choice(["keep", "delete"]), "SageMaker's record of a deleted job."),
    Option(
        "--http-client-timeout",
        "http_client_timeout",
        Duration(),
        "Wait for an answer of AWS (ACK: 60s). A read ends after 25 s and a change after 10 s in any case.",
    ),
    Option(
        "--aws-rate-limit",
        "aws_rate_limits",
        Rate(),
        "Requests per second of an operation or verb.",
        repeat=True,
        read=dict,
    ),
    Option("--shard", "shard", click.IntRange(0), "This process's shard, from 0."),
    Option("--total-shards", "total_shards", click.IntRange(1), "Number of shards."),
    Option("--enable-development-logging", "development_logging", bool, "Text at level debug."),
    Option("--enable-webhook-server", "webhook_server", bool, "Does nothing here: there are no webhooks."),
    Option("--webhook-server-addr", "webhook_server_addr", str, "Does nothing here: there are no webhooks."),
    Option(
        "--aws-endpoint-use-path-style", "path_style", bool, "Does nothing here: it is about S3, which is not called."
    ),
)

# Flags that fill no setting of their own.
_IDLE = {"webhook_server", "webhook_server_addr", "path_style"}

_DEFAULTS: dict[str, Any] = {
    field.name: field.default if field.default is not msgspec.NODEFAULT else None
    for field in msgspec.structs.fields(Settings)
}


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds every flag to a click command."""
    for option in reversed(OPTIONS):
        default = _DEFAULTS.get(option.setting)
        shown = default.value if isinstance(default, DeletionPolicy) else default
        described = f"{option.help}  [env: {', '.join(option.env)}" + (
            f"; default: {_text(shown)}]" if _text(shown) else "]"
        )
        extra: dict[str, Any] = {"flag_value": True, "is_flag": False} if option.type is bool else {}
        command = click.option(
            option.flag,
            option.setting,
            type=option.type,
            envvar=option.env,
            help=described,
            multiple=option.repeat,
            default=None,
            **extra,
        )(command)
    return command


def _text(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(default)
    if default in (None, "", {}) or isinstance(default, FeatureGates):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Raises ConfigurationError for a value that cannot work, and for a missing region."""
    given = {
        option.setting: option.read(values[option.setting])
        for option in OPTIONS
        if option.setting not in _IDLE and values.get(option.setting) not in (None, ())
    }
    if given.pop("development_logging", False):
        given |= {"log_level": "debug", "log_format": "text"}
    if not given.get("aws_region"):
        raise ConfigurationError("no AWS region: pass --aws-region, or set AWS_REGION")
    return Settings(**given)
