"""The operator's configuration, immutable after the start."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum

import msgspec

from sagemaker_operator.errors import ConfigurationError

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class DeletionPolicy(StrEnum):
    """What deleting the Kubernetes object does to the SageMaker resource."""

    DELETE = "delete"
    RETAIN = "retain"


class Cadence(msgspec.Struct, frozen=True):
    """The intervals at which a resource in transition is polled, in seconds.

    A ten-minute job is polled 22 times at these defaults (ACK: 20 polls of two calls each), and a job of a day 1,500 times.
    """

    first: float = 5.0
    """After a create: most invalid jobs fail at once, while the user is watching."""
    young: float = 20.0
    """In the first minute, when Starting, Downloading and Training follow each other."""
    base: float = 30.0
    """Up to an hour: ACK's interval."""
    old: float = 60.0
    """After an hour a delay of a minute does not matter."""
    stale: float = 300.0
    """After a day in one state: a stuck resource is polled 288 times a day."""
    sweep: float = 15.0
    """At most, if one List page reports 20 or more: 0.07 calls a second, and an end is observed 8 s late on average."""
    young_until: float = 60.0
    base_until: float = 3600.0
    old_until: float = 86400.0
    jitter: float = 0.1
    """± share of the interval, so that polls of 1,000 jobs created in one burst spread out."""

    def scaled(self, factor: float) -> Cadence:
        """The same cadence for a clock that runs `factor` times as fast (the sandbox's)."""
        seconds = msgspec.structs.asdict(self) | {"jitter": self.jitter * factor}
        return Cadence(**{name: value / factor for name, value in seconds.items()})


class FeatureGates(msgspec.Struct, frozen=True, kw_only=True):
    """ACK's gates and their defaults (facts/ack.md D.7): `--feature-gates ResourceAdoption=false,...`."""

    resource_adoption: bool = True
    read_only_resources: bool = True
    team_level_carm: bool = False
    service_level_carm: bool = False
    iam_role_selector: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Flags, named as ACK's where ACK has them; `cli` shows each with its environment variable."""

    aws_region: str
    aws_endpoint_url: str | None = None
    aws_identity_endpoint_url: str | None = None
    allow_unsafe_aws_endpoint_urls: bool = False

    kubeconfig: str | None = None
    context: str | None = None
    watch_namespaces: tuple[str, ...] = ()
    """Empty: all namespaces."""
    watch_selectors: str = ""
    reconcile_resources: tuple[str, ...] = ()
    """Kinds to reconcile; empty: all that are shipped."""

    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    resource_tags: tuple[str, ...] = (
        "services.k8s.aws/controller-version=%CONTROLLER_SERVICE%-%CONTROLLER_VERSION%",
        "services.k8s.aws/namespace=%K8S_NAMESPACE%",
    )

    feature_gates: FeatureGates = FeatureGates()
    enable_carm: bool = True
    """Namespaces may name an owner account; the role map has its role (facts/ack.md D.1)."""
    enable_cross_namespace: bool = True
    """References, field exports, adopted resources and secrets may name another namespace."""
    enable_field_export: bool = True
    enable_adopted_resource: bool = True
    write_late_init: bool = False
    """Write SageMaker's defaults into spec, as ACK does; by default spec is not changed."""
    system_namespace: str = ""
    """The namespace of the role maps; empty: the pod's own, else `ack-system`."""
    assume_role_external_id: str = ""
    assume_role_session_tags: tuple[str, ...] = ()
    """KEY=VALUE, sent with every AssumeRole."""

    job_record: str = "keep"
    """`keep` or `delete`: the default of the annotation job-record."""
    http_client_timeout: float = 20.0
    """Seconds; ACK's 60 would hold a worker for a minute at a dead endpoint."""

    shard: int = 0
    """The number of this process among `total_shards`, from 0: a StatefulSet's ordinal."""
    total_shards: int = 1
    aws_rate_limits: dict[str, float] = {}
    """Requests per second by operation or leading verb, in place of the limiter's own ceilings."""
    debug_endpoints: bool = False
    object_metrics: bool = False
    """One series per object: useful for hundreds, while 10,000 make each scrape 1.5 MB."""

    max_concurrent_syncs: int = 16
    """Workers per kind. ACK's default of 1 made the last of 1,000 jobs wait 425 s; a worker here is one coroutine. With 16, at
    100 ms per call, the last one has its ARN after 15 s, one Describe before each first status included (10: 22 s)."""
    max_concurrent_syncs_of: dict[str, int] = {}
    resync_seconds: float = 36000.0
    """ACK's 10 h. For settled resources only: those in transition are polled, and a finished job is never described again."""
    resync_seconds_of: dict[str, float] = {}
    reconcile_timeout: float = 60.0
    """Enough for three AWS calls at their limits; a reconcile that takes longer hangs."""
    cadence: Cadence = Cadence()

    leader_election: bool = True
    leader_election_namespace: str = ""
    """Empty: the pod's own namespace; outside a cluster `default`."""
    lease_seconds: float = 30.0
    renew_deadline: float = 20.0
    retry_period: float = 4.0
    """30/20/4 s instead of client-go's 15/10/2: a mutating AWS call of up to 10 s must fit into the rest of the lease."""

    metrics_addr: str = ":8080"
    healthz_addr: str = ":8081"
    log_level: str = "info"
    log_format: str = "json"
    drain_seconds: float = 20.0
    """Time for calls in flight at shutdown; the Deployment grants 45 s in all."""

    def __post_init__(self) -> None:
        for flag, url in (
            ("--aws-endpoint-url", self.aws_endpoint_url),
            ("--aws-identity-endpoint-url", self.aws_identity_endpoint_url),
        ):
            problem = endpoint_problem(url, unsafe=self.allow_unsafe_aws_endpoint_urls) if url is not None else ""
            if problem:
                raise ConfigurationError(f"{flag} {problem}")
        for tag in self.assume_role_session_tags:
            if not tag.partition("=")[1] or tag.startswith("="):
                raise ConfigurationError(f"--assume-role-session-tags: {tag!r} is not a tag: write KEY=VALUE")
        split_address("--metrics-addr", self.metrics_addr)
        split_address("--healthz-addr", self.healthz_addr)
        for namespace in self.watch_namespaces:
            # The API server lists a namespace that cannot exist as an empty one: nothing would ever be reconciled.
            if len(namespace) > 63 or not _NAMESPACE.fullmatch(namespace):
                raise ConfigurationError(f"--watch-namespace: {namespace!r} is not a namespace name")
        for tag in self.resource_tags:
            if not tag.partition("=")[1]:
                raise ConfigurationError(f"--resource-tags: {tag!r} is not a tag: write KEY=VALUE")
        if self.feature_gates.iam_role_selector and self.enable_carm:
            raise ConfigurationError(
                "--feature-gates IAMRoleSelector=true needs --enable-carm=false, as in ACK: one of the two names roles"
            )
        if not 0 <= self.shard < self.total_shards:
            raise ConfigurationError(
                f"--shard {self.shard}: with --total-shards {self.total_shards} write a number from 0 to {self.total_shards - 1}"
            )
        if self.total_shards > 1 and not self.leader_election:
            raise ConfigurationError("--total-shards needs --enable-leader-election: the leases keep two layouts apart")
        if self.renew_deadline >= self.lease_seconds:
            raise ConfigurationError("the lease's renew deadline must be shorter than its duration")

    def workers(self, kind: str) -> int:
        return self.max_concurrent_syncs_of.get(kind, self.max_concurrent_syncs)

    def resync(self, kind: str) -> float:
        return self.resync_seconds_of.get(kind, self.resync_seconds)


def endpoint_problem(url: str, *, unsafe: bool) -> str:
    """The problem of an AWS endpoint URL, or ""; `unsafe` accepts http://."""
    if not re.fullmatch(r"https?://[^\s/]+.*", url):
        return f"{url!r} is not a URL: write https://host[:port]"
    if url.startswith("http://") and not unsafe:
        return f"{url!r} is not encrypted: use https://, or pass --allow-unsafe-aws-endpoint-urls to accept it"
    return ""


def split_address(flag: str, address: str) -> tuple[str, int] | None:
    """ "host:port" -> (host, port); "0" or "" turns the server off (None). Raises ConfigurationError otherwise.

    An IPv6 address is in brackets, as in Go: `[fd00::1]:8080`. Host "" is every address of this machine, IPv4 and IPv6.
    """
    if address in ("", "0"):
        return None
    host, colon, port = address.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ConfigurationError(f"{flag} {address!r}: write HOST:PORT, or 0 to turn it off")
    if bracketed := re.fullmatch(r"\[([^\[\]]+)\]", host):
        host = bracketed[1]
        if not _is_ipv6(host):
            raise ConfigurationError(f"{flag} {address!r}: {host!r} is not an IPv6 address; only those take brackets")
    elif ":" in host or "[" in host or "]" in host:
        raise ConfigurationError(f"{flag} {address!r}: write an IPv6 address in brackets, [ADDRESS]:PORT")
    return "" if host == "::" else host, int(port)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
