"""Compares the user's tags in spec with those of the resource. Pure functions.

The operator removes only tags that it has set: keys that spec has, or had at the last comparison
(`status.managedTagKeys`). All other tags stay: AWS's own (`aws:...`), the operator's, and those of other users and services.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from sagemaker_operator import __version__
from sagemaker_operator.annotations import UID_TAG
from sagemaker_operator.aws.translate import SpecError
from sagemaker_operator.errors import ErrorCategory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sagemaker_operator.errors import AwsError
    from sagemaker_operator.kinds.descriptor import Kind
    from sagemaker_operator.objects import KubeObject

MAX_TAGS = 50
"""SageMaker's limit for one resource, without AWS's own tags."""


class Tagging(msgspec.Struct, frozen=True):
    """The tags of a resource in one reconcile."""

    desired: Mapping[str, str] = msgspec.field(default_factory=dict)
    problem: str | None = None
    """What is wrong with the tags in spec."""
    due: bool = False
    """Whether this reconcile compares them with SageMaker's."""
    compared: bool = False
    add: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Tags that SageMaker does not have, or has with another value."""
    remove: tuple[str, ...] = ()
    """Managed keys that spec no longer has."""
    trouble: str | None = None
    """Why SageMaker's tags could not be changed."""

    @property
    def differs(self) -> bool:
        return bool(self.add or self.remove)

    @property
    def managed_keys(self) -> list[str]:
        """For status: the keys in spec, and those that are still to be removed."""
        return sorted({*self.desired, *self.remove})


UNTAGGED = Tagging()


def tagging(kind: Kind, spec: Mapping[str, Any], managed: Sequence[str] | None, *, due: bool) -> Tagging:
    """The state before SageMaker's tags are read. `managed`: the status field; `due`: this reconcile compares everything."""
    if not kind.tags_on_create:
        return UNTAGGED
    problems = tag_problems(spec)
    desired = {} if problems else {tag["key"]: tag.get("value", "") for tag in spec.get("tags") or ()}
    # The operator's own tag, which identifies the owner of the resource, cannot be set by the user.
    desired.pop(UID_TAG, None)
    return Tagging(desired, "; ".join(problems) or None, due=due and not problems and bool(desired or managed))


def tag_problems(spec: Mapping[str, Any]) -> list[str]:
    """Errors that a CRD's schema cannot express. A value that is not a list of tags is left to the schema."""
    tags = spec.get("tags")
    if not isinstance(tags, list) or not all(isinstance(tag, dict) and isinstance(tag.get("key"), str) for tag in tags):
        return []
    keys = [tag["key"] for tag in tags]
    problems = [f"spec.tags: {key!r} is given twice" for key, times in Counter(keys).items() if times > 1]
    problems += [
        f"spec.tags: {key!r} cannot be set: keys that begin with aws: are AWS's own"
        for key in keys
        if key.lower().startswith("aws:")
    ]
    return problems


def tags_on_create(obj: KubeObject, own: Sequence[Mapping[str, str]], templates: Sequence[str]) -> list[dict[str, str]]:
    """The user's tags first and unchanged. A template never overrides one; a template with an empty value is left out.

    Raises SpecError for more tags than a resource can have.
    """
    values = {
        "%CONTROLLER_SERVICE%": "sagemaker",
        "%CONTROLLER_VERSION%": __version__,
        "%K8S_NAMESPACE%": obj.metadata.namespace,
        "%K8S_RESOURCE_NAME%": obj.metadata.name,
        "%K8S_RESOURCE_KIND%": obj.kind,
        "%MANAGED_BY%": obj.metadata.labels.get("app.kubernetes.io/managed-by", ""),
        "%KRO_VERSION%": obj.metadata.labels.get("kro.run/kro-version", ""),
    }
    tags = {tag["Key"]: tag["Value"] for tag in own}
    for template in templates:
        name, _, value = template.partition("=")
        for token, text in values.items():
            value = value.replace(token, text)
        if value:
            tags.setdefault(name, value)
    # Set last, so that nothing overrides it: it identifies the owner after the answer to a create was lost.
    tags[UID_TAG] = obj.metadata.uid
    if len(tags) > MAX_TAGS:
        left = MAX_TAGS - len(tags) + len(own)
        raise SpecError("spec.tags", f"can have {left} tags here: SageMaker allows {MAX_TAGS}, the operator's included")
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def compare(
    tagging: Tagging, actual: Mapping[str, str], managed: Sequence[str] | None, templates: Iterable[str]
) -> Tagging:
    """The differences to `actual`, SageMaker's tags. `templates`: those of --resource-tags, whose keys are never removed.

    `managed` None (the object may be older than that field): only the keys that spec has now are managed.
    """
    kept = {UID_TAG, *(template.partition("=")[0] for template in templates)}
    add = {key: value for key, value in tagging.desired.items() if actual.get(key) != value}
    remove = tuple(
        key
        for key in managed or ()
        if key in actual and key not in tagging.desired and key not in kept and not key.lower().startswith("aws:")
    )
    return Tagging(tagging.desired, due=True, compared=True, add=add, remove=remove)


def refused(error: AwsError) -> str:
    """The message to the user. The rest of the object is reconciled regardless."""
    code = f"{error.code}: " if error.code else ""
    text = f"The tags stay as they are in SageMaker: {error.operation}: {code}{error.message.rstrip('.')}. "
    if error.category is ErrorCategory.ACCESS_DENIED:
        text += "The operator's role needs sagemaker:ListTags, sagemaker:AddTags and sagemaker:DeleteTags. "
    return text + "It is tried again every 1 to 15 minutes."
