"""The placement of objects: every precedence, every refusal and its message. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sagemaker_operator.annotations import (
    CREATE_SENT,
    DEFAULT_REGION,
    DELETION_POLICY,
    ENDPOINT_URL,
    NAMESPACE_DELETION_POLICY,
    OWNER_ACCOUNT_ID,
    REGION,
    TEAM_ID,
)
from sagemaker_operator.aws.target import Identity
from sagemaker_operator.conditions import ADVISORY
from sagemaker_operator.control.placement.roles import NamespaceConfig, Selector, selector_of
from sagemaker_operator.control.placement.target import Placement, is_unreported, place
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.objects import KubeObject, Meta
from sagemaker_operator.settings import DeletionPolicy, FeatureGates, Settings

KIND = catalog()["TrainingJob"]
OWN, ONE, TWO = "123456789012", "111111111111", "222222222222"
IDENTITY = Identity(OWN, "aws")
FLAGS: dict[str, Any] = {"aws_region": "us-west-2"}


def role(account: str, name: str = "r") -> str:
    return f"arn:aws:iam::{account}:role/{name}"


def at(account: str, region: str = "us-west-2") -> dict[str, Any]:
    return {"ackResourceMetadata": {"arn": f"arn:aws:sagemaker:{region}:{account}:training-job/x"}}


def regions(region: str) -> str | None:
    return None if region in ("ap-south-1", "eu-west-1", "us-west-2") else f"no region {region}"


def placed(
    annotations: dict[str, str] | None = None,
    *,
    namespace: dict[str, str] | None = None,
    stored: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
    accounts: dict[str, str] | None = None,
    teams: dict[str, str] | None = None,
    selectors: tuple[Selector, ...] = (),
    known: bool = True,
    **flags: Any,
) -> Placement:
    obj = KubeObject(metadata=Meta(name="x", namespace="ns", annotations=annotations or {}, labels=labels or {}))
    around = NamespaceConfig(
        namespace=Meta(name="ns", annotations=namespace or {}, labels={"env": "prod"}) if known else None,
        system_namespace="ack-system",
        accounts=accounts,
        teams=teams,
        selectors=selectors,
    )
    return place(KIND, obj, stored or {}, around, Settings(**(FLAGS | flags)), IDENTITY, regions)


def who(placement: Placement) -> tuple[str, str | None]:
    assert placement.target is not None, placement.refusal
    return placement.target.account, placement.target.role_arn


def cause(placement: Placement) -> str:
    assert placement.target is None
    assert placement.refusal is not None
    return placement.refusal.cause


@pytest.mark.parametrize(
    ("stored", "annotation", "default", "region"),
    [
        (None, None, None, "us-west-2"),
        (None, None, "eu-west-1", "eu-west-1"),
        (None, "ap-south-1", "eu-west-1", "ap-south-1"),
        (at(OWN, "us-east-1"), "ap-south-1", "eu-west-1", "us-east-1"),
        (at(OWN, "us-east-1"), None, None, "us-east-1"),
        # A region without an ARN is the mark of a create that failed: a mistake stays correctable.
        ({"ackResourceMetadata": {"region": "us-east-1"}}, "ap-south-1", None, "ap-south-1"),
        # The ARN comes from SageMaker; the field beside it may be set by any client.
        (
            {"ackResourceMetadata": at(OWN, "us-east-1")["ackResourceMetadata"] | {"region": "x"}},
            None,
            None,
            "us-east-1",
        ),
    ],
)
def test_region(stored: Any, annotation: str | None, default: str | None, region: str) -> None:
    found = placed(
        {REGION: annotation} if annotation else {},
        namespace={DEFAULT_REGION: default} if default else {},
        stored=stored,
    )
    assert found.target is not None
    assert found.target.region == region
    asked = annotation or default
    assert ("ACK.Advisory" in found.also) is bool(stored and "arn" in stored["ackResourceMetadata"] and asked)


@pytest.mark.parametrize(
    ("own", "namespace", "flag", "expected"),
    [
        (None, None, "delete", (DeletionPolicy.DELETE, "flag")),
        (None, None, "retain", (DeletionPolicy.RETAIN, "flag")),
        (None, "delete", "retain", (DeletionPolicy.DELETE, "namespace")),
        (None, "retain", "delete", (DeletionPolicy.RETAIN, "namespace")),
        ("delete", "retain", "retain", (DeletionPolicy.DELETE, "object")),
        ("retain", "delete", "delete", (DeletionPolicy.RETAIN, "object")),
        ("Delete", "delete", "delete", (DeletionPolicy.RETAIN, "object")),
        ("", "delete", "delete", (DeletionPolicy.RETAIN, "object")),
        (None, "orphan", "delete", (DeletionPolicy.RETAIN, "namespace")),
    ],
)
def test_deletion_policy(own: str | None, namespace: str | None, flag: str, expected: Any) -> None:
    found = placed(
        {} if own is None else {DELETION_POLICY: own},
        namespace={} if namespace is None else {NAMESPACE_DELETION_POLICY: namespace},
        deletion_policy=DeletionPolicy(flag),
    )
    assert (found.deletion_policy, found.policy_from) == expected
    unknown = (own if own is not None else namespace) not in (None, "delete", "retain")
    assert ("ACK.Advisory" in found.also) is unknown
    if unknown:
        assert found.also["ACK.Advisory"][1] == "UnknownDeletionPolicy"
        assert "write delete or retain" in found.also["ACK.Advisory"][2]


@pytest.mark.parametrize(
    ("own", "default", "says"),
    [
        ("us-wset-2", None, "annotation services.k8s.aws/region of the object: no region us-wset-2"),
        ("us-wset-2", "eu-west-1", "annotation services.k8s.aws/region of the object: no region us-wset-2"),
        (None, "europe", "annotation services.k8s.aws/default-region of namespace ns: no region europe"),
    ],
)
def test_an_unknown_region_is_reported_with_the_field_that_names_it(
    own: str | None, default: str | None, says: str
) -> None:
    asked = {
        "annotations": {REGION: own} if own else {},
        "namespace": {DEFAULT_REGION: default} if default else {},
    }
    assert cause(placed(**asked)) == says
    for fine in ({"stored": at(OWN, "us-new-1")}, {"aws_endpoint_url": "https://newer.example"}):
        assert placed(**asked, **fine).refusal is None


@pytest.mark.parametrize(
    ("url", "unsafe", "problem"),
    [
        ("https://vpce.example", False, ""),
        ("http://vpce.example", True, ""),
        ("http://vpce.example", False, "is not encrypted"),
        ("vpce.example", True, "is not a URL"),
        ("https://", False, "is not a URL"),
    ],
)
def test_endpoint_of_the_namespace(url: str, unsafe: bool, problem: str) -> None:
    found = placed(
        namespace={ENDPOINT_URL: url}, aws_endpoint_url="https://flag.example", allow_unsafe_aws_endpoint_urls=unsafe
    )
    if problem:
        assert problem in cause(found)
    else:
        assert found.target is not None
        assert found.target.endpoint_url == url


OWNED = {OWNER_ACCOUNT_ID: ONE}


@pytest.mark.parametrize(
    ("accounts", "service_level", "expected"),
    [
        ({ONE: role(ONE)}, False, role(ONE)),
        ({ONE: f" {role(ONE)}\n"}, False, role(ONE)),
        ({ONE: role(ONE), f"sagemaker.{ONE}": role(ONE, "s")}, True, role(ONE, "s")),
        ({ONE: role(ONE), f"sagemaker.{ONE}": role(ONE, "s")}, False, role(ONE)),
        ({ONE: role(ONE)}, True, role(ONE)),
        ({ONE: role(ONE), f"sagemaker.{ONE}": ""}, True, "is empty"),
        (None, False, "does not exist"),
        ({}, False, "has no key"),
        ({OWN: role(OWN)}, False, "has no key"),
        ({ONE: ""}, False, "is empty"),
        ({ONE: "arn:aws:iam::1:role/r"}, False, "must be arn:aws:iam"),
        ({ONE: f"arn:aws:iam::{ONE}:user/r"}, False, "must be arn:aws:iam"),
        ({ONE: role(TWO)}, False, f"a role of account {TWO}"),
    ],
)
def test_account_map(accounts: Any, service_level: bool, expected: str) -> None:
    found = placed(namespace=OWNED, accounts=accounts, feature_gates=FeatureGates(service_level_carm=service_level))
    if expected.startswith("arn:"):
        assert who(found) == (ONE, expected)
    else:
        assert expected in cause(found)
        assert found.refusal is not None
        assert (found.refusal.message, found.refusal.after) == ("IAM Role is not available", 15.0)


def test_an_account_means_nothing_without_carm() -> None:
    assert who(placed(namespace=OWNED, enable_carm=False)) == (OWN, None)


def test_the_partition_is_the_roles() -> None:
    found = placed(namespace=OWNED, accounts={ONE: f"arn:aws-cn:iam::{ONE}:role/r"})
    assert found.partition == "aws-cn"


def test_an_unknown_namespace_is_waited_for_without_a_condition() -> None:
    found = placed(known=False)
    assert found.target is None
    assert found.refusal is not None
    assert found.refusal.fleeting


@pytest.mark.parametrize(
    ("teams", "gate", "expected"),
    [
        ({"blue": role(TWO)}, True, (TWO, role(TWO))),
        ({"blue": role(TWO)}, False, (ONE, role(ONE))),
        ({}, True, "has no key 'blue'"),
        (None, True, "ack-role-team-map does not exist"),
    ],
)
def test_team_map(teams: Any, gate: bool, expected: Any) -> None:
    found = placed(
        namespace=OWNED | {TEAM_ID: "blue"},
        accounts={ONE: role(ONE)},
        teams=teams,
        feature_gates=FeatureGates(team_level_carm=gate),
    )
    if isinstance(expected, str):
        assert expected in cause(found)
    else:
        assert who(found) == expected


@pytest.mark.parametrize(
    ("recorded", "namespace", "accounts", "expected"),
    [
        (OWN, {}, None, (OWN, None)),
        (ONE, OWNED, {ONE: role(ONE)}, (ONE, role(ONE))),
        # Drift: the account of the resource is served by a role of its own, and of no other.
        (TWO, OWNED, {ONE: role(ONE), TWO: role(TWO)}, (TWO, role(TWO))),
        (TWO, OWNED, {ONE: role(ONE)}, f"has no key '{TWO}'"),
        (TWO, OWNED, {ONE: role(ONE), TWO: role(ONE)}, f"a role of account {ONE}"),
        (TWO, {}, {TWO: role(TWO)}, (TWO, role(TWO))),
        (TWO, {}, None, "does not exist"),
        (OWN, OWNED, {ONE: role(ONE)}, (OWN, None)),
        (OWN, OWNED, None, (OWN, None)),
        # Named for this very account: no fallback to the operator's own identity, which is there too.
        (OWN, {OWNER_ACCOUNT_ID: OWN}, {}, f"has no key '{OWN}'"),
    ],
)
def test_the_account_of_a_recorded_resource(recorded: str, namespace: Any, accounts: Any, expected: Any) -> None:
    found = placed(namespace=namespace, accounts=accounts, stored=at(recorded))
    if isinstance(expected, str):
        assert expected in cause(found)
        return
    assert who(found) == expected
    drifted = OWNER_ACCOUNT_ID in namespace and namespace[OWNER_ACCOUNT_ID] != recorded
    assert ("ACK.Advisory" in found.also) is drifted


def test_resources_of_a_moved_team_are_not_called_with_the_operators_identity() -> None:
    found = placed(
        namespace={TEAM_ID: "blue"},
        teams={"blue": role(TWO)},
        stored=at(OWN),
        feature_gates=FeatureGates(team_level_carm=True),
    )
    assert f"names account {TWO}" in cause(found)


def test_an_object_names_no_endpoint_account_or_team_itself() -> None:
    own = {ENDPOINT_URL: "https://evil.example", OWNER_ACCOUNT_ID: ONE, TEAM_ID: "blue"}
    maps = {"accounts": {ONE: role(ONE)}, "teams": {"blue": role(TWO)}}
    found = placed(own, **maps, feature_gates=FeatureGates(team_level_carm=True))
    assert who(found) == (OWN, None)
    assert found.target is not None
    assert found.target.endpoint_url is None


SELECTS = {"enable_carm": False, "feature_gates": FeatureGates(iam_role_selector=True)}


@pytest.mark.parametrize(
    ("spec", "matches"),
    [
        ({}, True),
        ({"namespaces": ("ns", "other")}, True),
        ({"namespaces": ("other",)}, False),
        ({"namespace_labels": {"env": "prod"}}, True),
        ({"namespace_labels": {"env": "prod", "a": "b"}}, False),
        ({"types": (("", "", ""),)}, True),
        ({"types": (("sagemaker.services.k8s.aws", "v1alpha1", "TrainingJob"),)}, True),
        ({"types": (("s3.services.k8s.aws", "", ""), ("", "", "TrainingJob"))}, True),
        ({"types": (("", "", "Model"),)}, False),
        ({"labels": {"team": "blue"}}, True),
        ({"labels": {"team": "red"}}, False),
        ({"namespaces": ("ns",), "labels": {"team": "red"}}, False),
    ],
)
def test_what_a_selector_matches(spec: Any, matches: bool) -> None:
    found = placed(
        labels={"team": "blue"}, selectors=(Selector(name="s", version="7", arn=role(ONE), **spec),), **SELECTS
    )
    assert who(found) == ((ONE, role(ONE)) if matches else (OWN, None))
    text = f"roleARN: {role(ONE)}, selectorName: s, selectorResourceVersion: 7"
    assert found.also.get("ACK.IAMRoleSelected") == (("True", "Selected", text) if matches else None)


def test_two_selectors_are_none() -> None:
    pair = tuple(Selector(name=name, version="1", arn=role(ONE)) for name in ("b", "a"))
    assert "IAMRoleSelectors a, b all match" in cause(placed(selectors=pair, **SELECTS))


@pytest.mark.parametrize("spec", [b'{"arn": "my-role"}', b"{}", b'{"arn": 7}', b'{"arn": "x", "namespaceSelector": 1}'])
def test_an_unreadable_selector_never_falls_back_to_the_operators_identity(spec: bytes) -> None:
    obj = KubeObject(metadata=Meta(name="s"), spec=msgspec.Raw(spec))
    assert "IAMRoleSelector s: spec.arn" in cause(placed(selectors=(selector_of(obj),), **SELECTS))


def test_how_a_selector_is_parsed() -> None:
    spec = {
        "arn": role(ONE),
        "namespaceSelector": {"names": ["ns"], "labelSelector": {"matchLabels": {"env": "prod"}}},
        "resourceTypeSelector": [{"group": "", "version": "", "kind": "TrainingJob"}],
        "resourceLabelSelector": {"matchLabels": {"team": "blue"}},
    }
    obj = KubeObject(metadata=Meta(name="s", resource_version="7"), spec=msgspec.Raw(msgspec.json.encode(spec)))
    assert selector_of(obj) == Selector(
        name="s",
        version="7",
        arn=role(ONE),
        namespaces=("ns",),
        namespace_labels={"env": "prod"},
        types=(("", "", "TrainingJob"),),
        labels={"team": "blue"},
    )


def test_a_placement_decision_is_reported_once() -> None:
    found = placed({REGION: "eu-west-1"}, stored=at(OWN))
    assert is_unreported(found, {})
    status, reason, message = found.also["ACK.Advisory"]
    reported = [{"type": "ACK.Advisory", "status": status, "reason": reason, "message": message}]
    assert not is_unreported(found, {"conditions": reported})
    assert is_unreported(placed(), {"conditions": reported})
    others = [{"type": "ACK.Advisory", "status": "True", "reason": "CrossNamespaceOptInRequired"}]
    assert not is_unreported(placed(), {"conditions": others})


def in_deleted(finalizers: tuple[str, ...], created: str, stored: dict[str, Any] | None = None) -> Placement:
    meta = Meta(name="x", namespace="ns", finalizers=finalizers, creation_timestamp=created)
    gone = Meta(name="ns", annotations={OWNER_ACCOUNT_ID: OWN}, deletion_timestamp="2026-01-01T00:00:10Z")
    around = NamespaceConfig(namespace=gone, deleted=True, system_namespace="ack-system", accounts={OWN: role(OWN)})
    return place(KIND, KubeObject(metadata=meta), stored or {}, around, Settings(**FLAGS), IDENTITY, regions)


def test_annotations_of_a_deleted_namespace_apply_only_to_its_objects() -> None:
    before, after = "2026-01-01T00:00:00Z", "2026-01-01T00:00:20Z"
    assert in_deleted((KIND.finalizer,), before).target is not None
    assert in_deleted((), after, at(OWN)).target is not None
    for new in (in_deleted((), before), in_deleted((), after), in_deleted((KIND.finalizer,), after)):
        assert new.refusal is not None
        assert new.refusal.fleeting
        assert "a namespace of this name was deleted" in cause(new)


def claimed(uid: str, region: str, account: str, **changes: Any) -> Placement:
    meta = Meta(
        name="x",
        namespace="ns",
        uid="u",
        finalizers=(KIND.finalizer,),
        annotations={CREATE_SENT: f"{uid} aws {region} {account}", REGION: "eu-west-1"},
    )
    meta = msgspec.structs.replace(meta, **changes)
    around = NamespaceConfig(namespace=Meta(name="ns"), system_namespace="ack-system", accounts={ONE: role(ONE)})
    return place(KIND, KubeObject(metadata=meta), {}, around, Settings(**FLAGS), IDENTITY, regions)


def test_an_unanswered_create_is_searched_for_where_it_was_sent() -> None:
    sent = claimed("u", "us-west-2", OWN)
    assert sent.displaced
    assert sent.target is not None
    assert sent.target.region == "us-west-2"
    assert ADVISORY not in sent.also, "no resource is known to be there"
    assert who(claimed("u", "us-west-2", ONE)) == (ONE, role(ONE))
    assert "a create without an answer was sent to account 222222222222" in cause(claimed("u", "us-west-2", TWO))


@pytest.mark.parametrize(
    "placement",
    [
        claimed("u", "eu-west-1", OWN),
        claimed("another", "us-west-2", OWN),
        claimed("u", "us-west-2", OWN, finalizers=()),
        claimed("u", "no-such-1", OWN),
        claimed("u", "us-west-2", "1"),
    ],
    ids=["the same place", "another object", "no finalizer", "no region", "nonsense"],
)
def test_other_objects_are_placed_by_their_annotations(placement: Placement) -> None:
    assert not placement.displaced
    assert placement.target is not None
    assert placement.target.region == "eu-west-1"
