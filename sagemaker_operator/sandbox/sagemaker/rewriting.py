"""How SageMaker changes an input before it echoes it: defaults set, sets re-ordered, images resolved.

A client that compares its desired values with such an echo must find no difference, as with AWS.
"""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SETS = frozenset(
    {
        *("Subnets", "SubnetIds", "SecurityGroupIds", "SecurityGroups", "SupportedContentTypes"),
        *("SupportedResponseMIMETypes", "SupportedRealtimeInferenceInstanceTypes", "SupportedTransformInstanceTypes"),
    }
)
"""Lists whose order has no meaning and is not kept."""


def echo(given: Mapping[str, Any], *, without: Iterable[str] = ()) -> dict[str, Any]:
    """A deep copy of an input with its sets re-ordered."""
    dropped = frozenset(without)
    return {name: _reordered(name, copy.deepcopy(value)) for name, value in given.items() if name not in dropped}


def _reordered(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reordered(key, item) for key, item in value.items()}
    if isinstance(value, list):
        if name in _SETS:
            return sorted(value, reverse=True)
        return [_reordered("", item) for item in value]
    return value


def fill(target: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Add members that the user left out; `target` is changed and returned."""
    for name, value in defaults.items():
        target.setdefault(name, copy.deepcopy(value))
    return target


def fill_deep(target: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Like `fill`, also into existing structures."""
    for name, value in defaults.items():
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            fill_deep(target[name], value)
        else:
            target.setdefault(name, copy.deepcopy(value))
    return target


def overlay(target: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`target` with the members of `change` on top, structure by structure; neither is changed."""
    merged = copy.deepcopy(dict(target))
    for name, value in change.items():
        old = merged.get(name)
        merged[name] = (
            overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else echo({name: value})[name]
        )
    return merged


def digest(text: str) -> str:
    """A made-up digest of an image, the same for the same text."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def deployed_image(image: str, resolved: float) -> dict[str, Any]:
    """An image as hosting reports it: resolved to a digest, and as specified."""
    repository, _, last = image.rpartition("/")
    bare = f"{repository}/{last.partition(':')[0]}" if repository else last.partition(":")[0]
    return {"SpecifiedImage": image, "ResolvedImage": f"{bare}@{digest(image)}", "ResolutionTime": resolved}


def channels(inputs: Iterable[dict[str, Any]]) -> None:
    """The defaults of training input channels, in place."""
    for channel in inputs:
        fill(channel, CompressionType="None", RecordWrapperType="None")
        if "S3DataSource" in channel["DataSource"]:
            fill(channel["DataSource"]["S3DataSource"], S3DataDistributionType="FullyReplicated")


def metric_definitions(algorithm: dict[str, Any]) -> None:
    """SageMaker appends a definition of its own to those of the user, in place."""
    if given := algorithm.get("MetricDefinitions"):
        given.append({"Name": "ObjectiveMetric", "Regex": "ObjectiveMetric=(.*?);"})
