"""`crds` and `kinds`: what the operator knows, printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sagemaker_operator.control.schedule import Tier, describes_polling, tier
from sagemaker_operator.crds.generate import manifests, to_yaml, write_all
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.naming import field_name

if TYPE_CHECKING:
    from sagemaker_operator.kinds.descriptor import Kind


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Write one file per CRD into this directory."
)
@click.option(
    "--relaxed",
    is_flag=True,
    help="Check what ACK's CRDs check: no enums, patterns, lengths or rules. For values that SageMaker learned since this "
    "version, and for manifests that ACK took and apply now refuses.",
)
def crds(out: Path | None, relaxed: bool) -> None:
    """Print the CustomResourceDefinitions: sagemaker-operator crds | kubectl apply -f -"""
    if out is not None:
        for path in write_all(out, relaxed=relaxed):
            click.echo(path)
        return
    click.echo("---\n".join(to_yaml(manifest) for manifest in manifests(relaxed=relaxed).values()), nl=False)


@click.command()
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def kinds(format_: str) -> None:
    """Show the kinds: their operations, whether they run long, what can be updated, and how they are polled.

    The table has the verbs of operations (Create stands for CreateModel), and of how a kind is polled the gist: one List tells of
    all resources, or of the changes among them, or there is a Describe for each. --format json has the names.
    """
    if format_ == "json":
        click.echo(json.dumps([_row(kind) for kind in catalog().values()], indent=2))
        return
    table: list[tuple[str, ...]] = [("KIND", "SHORT", "LONG-RUNNING", "OPERATIONS", "ON DELETE", "UPDATABLE", "POLLED")]
    table += [_line(kind) for kind in catalog().values()]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    for cells in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


_POLLED = {Tier.NONE: "each", Tier.STATUS: "all", Tier.CHANGES: "changes"}


def _line(kind: Kind) -> tuple[str, ...]:
    changing = (kind.create, kind.update, kind.stop, kind.delete)
    fields = len(kind.mutable)
    return (
        kind.name,
        ",".join(kind.short_names),
        "yes" if _is_long_running(kind) else "no",
        " ".join(operation.removesuffix(kind.name) for operation in changing if operation),
        _on_delete(kind),
        f"{fields} field{'s' if fields > 1 else ''}" if fields else "-",
        _POLLED[tier(kind)] if _is_long_running(kind) else "never",
    )


def _is_long_running(kind: Kind) -> bool:
    return any(state.in_transition for state in kind.classes.values())


def _on_delete(kind: Kind) -> str:
    return "stop" if kind.stop_on_delete else "delete"


def _row(kind: Kind) -> dict[str, Any]:
    names = {
        "create": kind.create,
        "describe": kind.describe,
        "update": kind.update,
        "stop": kind.stop,
        "delete": kind.delete,
        "list": kind.listing.operation if kind.listing else None,
    }
    return {
        "kind": kind.name,
        "resource": f"{kind.plural}.{kind.resource.group}",
        "shortNames": list(kind.short_names),
        "operations": {verb: operation for verb, operation in names.items() if operation},
        "updatable": [field_name(member) for member in kind.mutable],
        "longRunning": _is_long_running(kind),
        "onDelete": _on_delete(kind),
        "polled": describes_polling(kind),
    }
