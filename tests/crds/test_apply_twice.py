"""A second apply of the CRDs changes nothing, as GitOps tools do it every few minutes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.test_kubectl import Kubectl

if TYPE_CHECKING:
    from tests.servers import ApiServer

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.kubectl,
    pytest.mark.real_apiserver,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on PATH"),
]

CRDS = Path(__file__).parents[2] / "manifests" / "crds"


async def test_the_second_apply_of_every_crd_says_unchanged(real_server: ApiServer, tmp_path: Path) -> None:
    kubectl = Kubectl(real_server.kubeconfig, "default", tmp_path)
    # Another test may have made some of them in another way, of which kubectl warns.
    first = await kubectl.run("apply", "-f", str(CRDS))
    assert first.code == 0, first.err
    message = (await kubectl("apply", "-f", str(CRDS))).splitlines()
    assert len(message) == len(list(CRDS.glob("*.yaml")))
    assert [line for line in message if not line.endswith(" unchanged")] == []
