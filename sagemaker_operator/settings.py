"""What can be configured. Frozen after start: a change means a restart, as for every Deployment."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum

import msgspec

from sagemaker_operator.errors import ConfigurationError

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class DeletionPolicy(StrEnum):
    """What deleting the Kubernetes object does in SageMaker."""

    DELETE = "delete"
    RETAIN = "retain"


class Cadence(msgspec.Struct, frozen=True):
    """How often an in-flight resource is asked about, in seconds.

    A ten-minute job is polled 22 times at these defaults (ACK: 20 polls of two calls each), and a job of a day 1,500 times.
    """

    first: float = 5.0
    """After a create: most bad jobs fail at once, and the user is looking."""
    young: float = 20.0
    """In the first minute, when Starting, Downloading and Training follow each other."""
    base: float = 30.0
    """Up to an hour: ACK's interval, which its users know."""
    old: float = 60.0
    """After an hour nobody waits for the second."""
    stale: float = 300.0
    """After a day in one state: a resource that is stuck costs 288 looks a day."""
    sweep: float = 15.0
    """At most, where one List page tells of 20 or more: 0.07 calls a second, and an end is seen 8 s late on average."""
    young_until: float = 60.0
    base_until: float = 3600.0
    old_until: float = 86400.0
    jitter: float = 0.1
    """± share of the interval, so that 1,000 jobs of one burst do not stay a burst for ever."""

    def scaled(self, factor: float) -> Cadence:
        """The same cadence in a world where time runs `factor` times as fast (the sandbox)."""
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
    """Namespaces may name an owner account, whose role the map gives (facts/ack.md D.1)."""
    enable_cross_namespace: bool = True
    """References, field exports, adopted resources and secrets may name another namespace."""
    enable_field_export: bool = True
    enable_adopted_resource: bool = True
    write_late_init: bool = False
    """ACK writes SageMaker's defaults into spec; by default ours stays the user's."""
    system_namespace: str = ""
    """Where the role maps are; empty: the pod's own, else `ack-system`."""
    assume_role_external_id: str = ""
    assume_role_session_tags: tuple[str, ...] = ()
    """KEY=VALUE, sent with every AssumeRole."""

    job_record: str = "keep"
    """`keep` or `delete`: the default of the annotation job-record."""
    http_client_timeout: float = 20.0
    """Seconds; ACK's 60 would hold a worker for a minute at a dead endpoint."""

    shard: int = 0
    """Which of `total_shards` this process is, from 0: a StatefulSet's ordinal."""
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
    """ACK's 10 h. Only for resources at rest; whatever moves is polled, and a finished job is never asked about again."""
    resync_seconds_of: dict[str, float] = {}
    reconcile_timeout: float = 60.0
    """Three AWS calls at their limits fit; a pass that takes longer hangs."""
    cadence: Cadence = Cadence()

    leader_election: bool = True
    leader_election_namespace: str = ""
    """Empty: the pod's own namespace; outside a cluster `default`."""
    lease_seconds: float = 30.0
    renew_deadline: float = 20.0
    retry_period: float = 4.0
    """30/20/4 s instead of client-go's 15/10/2: a mutating AWS call may take 10 s, and must fit into what is left of the lease."""

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
                raise ConfigurationError(f"--assume-role-session-tags: {tag!r} is no tag: write KEY=VALUE")
        split_address("--metrics-addr", self.metrics_addr)
        split_address("--healthz-addr", self.healthz_addr)
        for namespace in self.watch_namespaces:
            # The API server lists a namespace that cannot exist as an empty one: nothing would ever be reconciled.
            if len(namespace) > 63 or not _NAMESPACE.fullmatch(namespace):
                raise ConfigurationError(f"--watch-namespace: {namespace!r} is no name of a namespace")
        for tag in self.resource_tags:
            if not tag.partition("=")[1]:
                raise ConfigurationError(f"--resource-tags: {tag!r} is no tag: write KEY=VALUE")
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
    """What is wrong with an AWS endpoint, or ""; `unsafe` accepts http://."""
    if not re.fullmatch(r"https?://[^\s/]+.*", url):
        return f"{url!r} is no URL: write https://host[:port]"
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
