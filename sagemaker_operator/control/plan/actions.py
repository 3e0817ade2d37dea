"""What a pass knows (`Facts`) and what it can do next (`Step`): the vocabulary of the plan."""

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
    """Whose resource it is that bears our name."""

    UNKNOWN = "Unknown"
    OURS = "Ours"
    FOREIGN = "Foreign"


class Mutation(StrEnum):
    """The mutating call that this pass made, and SageMaker accepted."""

    CREATED = "Created"
    UPDATED = "Updated"
    STOPPED = "Stopped"
    DELETED = "Deleted"
    RETAGGED = "Retagged"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a pass knows. Immutable: the reconciler replaces fields as it learns.

    A Struct and no dataclass: making one and replacing fields of it three times cost a pass 40 of its 230 us.
    """

    kind: Kind
    deleting: bool = False
    managed: bool = False
    """Our finalizer is on the object: a create may have been sent, now or in an earlier life."""
    claimed: bool = False
    """The finalizer was put on in this pass, so nothing of ours can exist yet."""
    held: tuple[str, ...] = ()
    """Other finalizers, which keep the object when ours is off."""
    ready: bool = False
    """The stored conditions say so."""
    arn: str | None = None
    """Recorded in status, or learned in this pass."""
    displaced: bool = False
    """A create without an answer was sent elsewhere than the object asks for now: the pass looks there, and creates nothing."""
    unsent: bool = False
    """...but this process knows that it never left."""
    retain: bool = False
    protected: bool = False
    """Deleting the object waits until its annotation deletion-protection is taken off."""
    problems: tuple[str, ...] = ()
    """What is wrong with the spec, each with the field's path."""
    unresolved: str | None = None
    """What a reference in the spec waits for."""
    edited: bool = False
    """The spec was changed since it was last observed."""
    nameless: bool = False
    """The spec has nothing that Describe could find the resource by: AWS makes its identifier."""
    restored: bool = False
    """The ARN is known from an annotation alone: the object comes from a backup."""
    unclear: str | None = None
    """What to write back into spec before a resource that is not found can be believed to be gone."""
    erase: bool = False
    """Deleting the object deletes SageMaker's record of the job too."""
    due: bool = False
    """At rest for so long that it is to be compared with its spec again."""
    unseen: bool = False
    """No pass of ours has ever observed this resource (a new object, or one that ACK wrote)."""
    drifts: bool = True
    """The spec can differ from the resource: it was edited once, or something else than us may change the resource."""
    waiting: str | None = None
    """The reason of the stored Recoverable condition."""
    unconfirmed: bool = False
    """SageMaker accepted an update, and no observation since then is recorded."""
    terminal: str | None = None
    """The reason of the stored Terminal condition; empty if ACK wrote it, None if there is none."""
    young: bool = False
    """Created minutes ago: SageMaker's reads may not show it yet."""
    failures: int = 0
    """Passes of this key, and looks of the poller's, that failed in a row."""
    throttled: float = 0.0
    """Seconds for which calls have been throttled and no pass has come to anything else."""

    recalled: Observation | None = None
    """What the stored status says."""
    observed: Observation | None = None
    """What SageMaker said in this pass, or to the poller just before it."""
    owner: Owner = Owner.UNKNOWN
    taken: AwsError | None = None
    """The answer to a create: the name is taken."""
    mutation: Mutation | None = None
    shown: bool | None = None
    """Whether the Describe after this pass's create showed the resource; None: not described yet."""
    error: AwsError | None = None
    differing: tuple[str, ...] = ()
    verdict: Verdict = NOTHING_TO_DO
    repeated: int = 0
    """How often this very update was accepted before without taking effect."""
    also: Mapping[str, ConditionValue] = msgspec.field(default_factory=dict)
    """Conditions that features add to whatever the pass finds."""
    refusal: Refusal | None = None
    """Why no call may be made: where to, or as whom, is not known."""
    unreported: bool = False
    """The stored conditions tell of another decision about place and role."""
    adoption: Adoption = NO_ADOPTION
    late: LateInit | None = None
    """What late initialisation has to do; None: it is off, or the kind has none."""
    tagging: Tagging = UNTAGGED
    requested: bool = False
    """The user asks for a look at SageMaker now."""


class Claim(msgspec.Struct, frozen=True):
    """Put our finalizer on."""


class Disown(msgspec.Struct, frozen=True):
    """Take what status says of a resource that is not this object's out of it, and begin anew."""


class Adopt(msgspec.Struct, frozen=True):
    """Take over the resource that was observed: our finalizer, the mark, and the spec if the policy says so."""


class Create(msgspec.Struct, frozen=True):
    pass


class Confirm(msgspec.Struct, frozen=True):
    """Describe what this pass created, once and within seconds: the first status must not wait for it."""


class Observe(msgspec.Struct, frozen=True):
    """Describe it."""


class Find(msgspec.Struct, frozen=True):
    """Search the List for a resource of this name that bears our UID."""


class Identify(msgspec.Struct, frozen=True):
    """Ask for the tags, to know whose it is."""


class Update(msgspec.Struct, frozen=True):
    verdict: Verdict


class Fill(msgspec.Struct, frozen=True):
    """Write what SageMaker made of the fields that the user left empty into spec."""


class ReadTags(msgspec.Struct, frozen=True):
    """Compare the tags that it has with those of the spec."""


class Retag(msgspec.Struct, frozen=True):
    """Remove those of ours that are not wanted any more, or else set those that are missing: one call."""


class Stop(msgspec.Struct, frozen=True):
    pass


class Delete(msgspec.Struct, frozen=True):
    pass


class Finish(msgspec.Struct, frozen=True):
    """The end of the pass: what to tell the user (None: nothing new), and when to look again."""

    findings: Findings | None
    requeue: Requeue
    release: bool = False
    """Take our finalizer off."""


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
