"""CRDs of the ACK runtime's own kinds (group services.k8s.aws): written by hand, shipped as YAML beside this module."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

GROUP = "services.k8s.aws"


def runtime_crds() -> dict[str, dict[str, Any]]:
    """The manifests by the name of their file, in alphabetical order; the caller's to change."""
    return deepcopy(_parsed())


@cache
def _parsed() -> dict[str, dict[str, Any]]:
    # Parsing takes 60 ms, a copy 1 ms: the fault tests ask for them 18,000 times.
    folder = files("sagemaker_operator.crds").joinpath("services.k8s.aws")
    return {
        entry.name: yaml.safe_load(entry.read_text(encoding="utf-8"))
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }
