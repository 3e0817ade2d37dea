"""One collection of the API with its selectors, as an informer reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sagemaker_operator.kube.client import KubeClient
    from sagemaker_operator.listwatch import ListPage, WatchEvent
    from sagemaker_operator.objects import KubeObject, Resource


class Collection:
    """All objects of `resource` that match the selectors. Every read raises what `KubeClient`'s do."""

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> None:
        self._client = client
        self._resource = resource
        self._label_selector = label_selector
        self._field_selector = field_selector

    @property
    def name(self) -> str:
        return self._resource.plural

    async def list_page(self, namespace: str | None, *, continue_: str | None, limit: int) -> ListPage:
        return await self._client.list_page(
            self._resource,
            namespace=namespace,
            limit=limit,
            continue_=continue_,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )

    async def read(self, namespace: str, name: str) -> KubeObject | None:
        """The object as stored, or None. It is read by a list with its name, which needs no RBAC verb but `list`."""
        selectors = (f"metadata.name={name}", self._field_selector)
        page = await self._client.list_page(
            self._resource,
            namespace=namespace,
            label_selector=self._label_selector,
            field_selector=",".join(filter(None, selectors)),
        )
        return next(iter(page.items), None)

    def watch(
        self, namespace: str | None, *, resource_version: str, timeout_seconds: int
    ) -> AsyncGenerator[WatchEvent, None]:
        return self._client.watch(
            self._resource,
            namespace=namespace,
            resource_version=resource_version,
            timeout_seconds=timeout_seconds,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
