"""AWS's service models, parsed once for all tests of a process: 0.3 s of CPU for each client that parses its own."""

from __future__ import annotations

from functools import cache
from typing import Any

from aiobotocore.session import AioSession


@cache
def models() -> Any:
    """A warm loader for `Sessions`. No thread parses meanwhile, so that a run is the same every time."""
    session = AioSession()
    session.warm_up_loader_caches("sagemaker")
    session.warm_up_loader_caches("sts")
    return session.get_component("data_loader")
