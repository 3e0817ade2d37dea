"""The input of the plan (`Facts`) and its output (`Action`)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from sagemaker_operator.control.spec.adoption import NO_ADOPTION, Adoption
from sagemaker_operator.control.spec.tags import UNTAGGED, Tagging
from sagemaker_operator.kinds.descriptor import NOTHING_TO_DO, Kind, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sagemaker_operator.conditions import ConditionValue, Findings
    from sagemaker_operator.control.observation import Observation
    from sagemaker_operator.control.placement.roles import Refusal
    from sagemaker_operator.control.requeue import Requeue
    from sagemaker_operator.control.spec.late_init import LateInit
    from sagemaker_operator.errors import AwsError


class Owner(StrEnum):
    """Which object the resource under this object's name belongs to, by its tags."""

    UNKNOWN = "Unknown"
    OURS = "Ours"
    FOREIGN = "Foreign"


class Mutation(StrEnum):
    """The mutating call of this reconcile that SageMaker accepted."""

    CREATED = "Created"
    UPDATED = "Updated"
    STOPPED = "Stopped"
    DELETED = "Deleted"
    RETAGGED = "Retagged"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known during a reconcile. Immutable: the reconciler replaces fields after each action.

    A Struct rather than a dataclass: creating one and replacing fields three times took 40 of a reconcile's 230 us.
    """

    kind: Kind
    deleting: bool = False
    managed: bool = False
    """Our finalizer is on the object: a create may have been sent, now or before a restart."""
    claimed: bool = False
    """The finalizer was added in this reconcile, so no resource of ours can exist yet."""
    other_finalizers: tuple[str, ...] = ()
    """Other finalizers: they keep the object after ours is removed."""
    ready: bool = False
    """The stored condition Ready is True."""
    arn: str | None = None
    """As recorded in status, or as SageMaker returned it in this reconcile."""
    displaced: bool = False
    """An unanswered create was sent to another account or region than the object names now: search there, and do not create."""
    create_unsent: bool = False
    """No create of this object has left this process since the finalizer was added."""
    retain: bool = False
    """Deleting the object leaves the resource in SageMaker."""
    protected: bool = False
    """Deleting the object waits until its annotation deletion-protection is removed."""
    problems: tuple[str, ...] = ()
    """Errors in the spec, each with the path of its field."""
    unresolved: str | None = None
    """What a reference in spec waits for, as a text for the user."""
    edited: bool = False
    """The spec has changed since status recorded its generation."""
    generated_id: bool = False
    """AWS generates the identifier, so Describe cannot find the resource by spec."""
    restored: bool = False
    """Only an annotation has the ARN: the object was restored from a backup."""
    unclear_identity: str | None = None
    """An edit changed what identifies the resource: \"not found\" proves nothing until the user restores these fields (a text)."""
    delete_job_record: bool = False
    """Deleting the object also deletes SageMaker's record of the job."""
    due: bool = False
    """The resync interval has passed, or a reference has a new value: compare the resource with spec again."""
    never_observed: bool = False
    """This operator has never observed the resource (a new object, or one that ACK wrote)."""
    can_drift: bool = True
    """The spec can differ from the resource: it was edited once, or another client may change the resource."""
    recoverable_reason: str | None = None
    """The reason of the stored Recoverable condition."""
    unconfirmed: bool = False
    """SageMaker accepted an update that no observation has shown yet."""
    terminal_reason: str | None = None
    """The reason of the stored Terminal condition: empty if ACK wrote it, None without the condition."""
    recently_created: bool = False
    """Created within minutes: SageMaker's reads may not show it yet."""
    failures: int = 0
    """Reconciles of this key, and polls of its resource, that failed in a row."""
    throttled: float = 0.0
    """For how many seconds every reconcile of this object has ended in a throttled call."""

    recalled: Observation | None = None
    """The resource as the stored status describes it."""
    observed: Observation | None = None
    """What SageMaker reported in this reconcile, or to the poller just before it."""
    owner: Owner = Owner.UNKNOWN
    already_exists: AwsError | None = None
    """The error of this reconcile's create: the name exists already."""
    mutation: Mutation | None = None
    create_confirmed: bool | None = None
    """Whether the Describe after this reconcile's create returned the resource; None: not described yet."""
    error: AwsError | None = None
    """Of a call in this reconcile, or of the poller's."""
    differing: tuple[str, ...] = ()
    """The fields in which spec and resource differ."""
    verdict: Verdict = NOTHING_TO_DO
    """What to do about them."""
    update_repeats: int = 0
    """How often this same update was accepted before without taking effect."""
    feature_conditions: Mapping[str, ConditionValue] = msgspec.field(default_factory=dict)
    """Conditions that features (placement, references, adoption, tags) add to the findings."""
    refusal: Refusal | None = None
    """Why no call may be made: the account, the region or the role is not known."""
    placement_unreported: bool = False
    """The stored conditions report another decision about account, region and role than the current one."""
    adoption: Adoption = NO_ADOPTION
    late: LateInit | None = None
    """The fields that late initialisation has to fill; None: it is off, or the kind has no such fields."""
    tagging: Tagging = UNTAGGED
    requested: bool = False
    """The user requests a Describe now, by annotation."""


class Claim(msgspec.Struct, frozen=True):
    """Add our finalizer."""


class Disown(msgspec.Struct, frozen=True):
    """Clear the status of a resource that is not this object's, and start again."""


class Adopt(msgspec.Struct, frozen=True):
    """Take over the observed resource: write our finalizer, the annotation `adopted`, and spec if the policy requires it."""


class Create(msgspec.Struct, frozen=True):
    """Create the resource: one call, with our UID as a tag or in the token."""


class Confirm(msgspec.Struct, frozen=True):
    """Describe what this reconcile created, once and with a short timeout: the first status must not wait for it."""


class Observe(msgspec.Struct, frozen=True):
    """Describe the resource."""


class Find(msgspec.Struct, frozen=True):
    """Search the List for a resource of this name that has our UID as a tag."""


class Identify(msgspec.Struct, frozen=True):
    """Read the tags, to know which object the resource belongs to."""


class Update(msgspec.Struct, frozen=True):
    """Make the one call that brings the resource closer to spec."""

    verdict: Verdict


class Fill(msgspec.Struct, frozen=True):
    """Write SageMaker's values of the fields that the user left empty into spec."""


class ReadTags(msgspec.Struct, frozen=True):
    """Compare the tags of the resource with those of spec."""


class Retag(msgspec.Struct, frozen=True):
    """Remove our tags that spec no longer has, or else add those that are missing: one call."""


class Stop(msgspec.Struct, frozen=True):
    """Stop the resource, because its object is being deleted."""


class Delete(msgspec.Struct, frozen=True):
    """Delete the resource, because its object is being deleted."""


class Finish(msgspec.Struct, frozen=True):
    """End the reconcile: what to report in status (None: nothing new), and when to reconcile again."""

    findings: Findings | None
    requeue: Requeue
    release: bool = False
    """Remove our finalizer."""


Action = (
    Claim
    | Disown
    | Adopt
    | Create
    | Confirm
    | Observe
    | Find
    | Identify
    | Update
    | Fill
    | ReadTags
    | Retag
    | Stop
    | Delete
    | Finish
)
