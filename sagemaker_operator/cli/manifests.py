"""`crds` and `kinds`: what the operator knows, printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sagemaker_operator.control.schedule import describes_polling
from sagemaker_operator.crds.generate import manifests, to_yaml, write_all
from sagemaker_operator.kinds.catalog import catalog
from sagemaker_operator.kinds.naming import field_name

if TYPE_CHECKING:
    from sagemaker_operator.kinds.descriptor import Kind


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Write one file per CRD into this directory."
)
@click.option("--relaxed", is_flag=True, help="Only what the API server needs: no enums, patterns, lengths or rules.")
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
    """Show the kinds: their operations, what can be updated, and how they are polled."""
    rows = [_row(kind) for kind in catalog().values()]
    if format_ == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    table = [("KIND", "SHORT", "CREATE", "UPDATABLE", "ON DELETE", "POLLED")]
    table += [
        (
            row["kind"],
            ",".join(row["shortNames"]),
            row["operations"]["create"],
            _few(row["updatable"]),
            row["onDelete"],
            row["polled"],
        )
        for row in rows
    ]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    for cells in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _few(names: list[str], limit: int = 3) -> str:
    more = f" +{len(names) - limit}" if len(names) > limit else ""
    return ",".join(names[:limit]) + more or "-"


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
        "longRunning": any(state.in_transition for state in kind.classes.values()),
        "onDelete": "stop" if kind.stop_on_delete else "delete",
        "polled": describes_polling(kind),
    }
