"""The `sagemaker-operator` command."""

from __future__ import annotations

import sys

import click

from sagemaker_operator import __version__
from sagemaker_operator.cli.manifests import crds, kinds, manifests
from sagemaker_operator.cli.run import run
from sagemaker_operator.cli.sandbox import demo, sandbox
from sagemaker_operator.errors import OperatorError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def cli() -> None:
    """Run Amazon SageMaker from Kubernetes: train, tune, process, deploy and monitor with kubectl apply."""


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


for command in (run, sandbox, demo, crds, kinds, manifests):
    cli.add_command(command)


def main() -> None:
    """Exit codes: 0 success, 1 an error (one line on stderr: the cause and what to change), 2 wrong usage."""
    try:
        cli()
    except OperatorError as error:
        click.echo(f"sagemaker-operator: {error}", err=True)
        sys.exit(1)
