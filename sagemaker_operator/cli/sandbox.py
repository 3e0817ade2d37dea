"""`sandbox` and `demo`: the operator without a cluster and without an AWS account."""

from __future__ import annotations

import asyncio
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sagemaker_operator.cli.run import run_loop
from sagemaker_operator.cli.types import quotas, rates
from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.sandbox.sagemaker.lifecycle import HELP

if TYPE_CHECKING:
    from sagemaker_operator.sandbox.world import World

_APISERVER = click.option(
    "--apiserver",
    type=click.Path(path_type=Path, exists=True),
    help="A real Kubernetes API server instead of the emulator: a kubeconfig, or a program that is started as PROGRAM DIR "
    "and writes DIR/kubeconfig.",
)


def _need_extra() -> None:
    missing = [name for name in ("celpy", "re2", "jsonpatch", "json_merge_patch", "rich") if find_spec(name) is None]
    if missing:
        raise ConfigurationError("the sandbox needs its extra: pip install 'sagemaker-operator[sandbox]'")


class _Explained(click.Command):
    """A command whose help ends with the tags and names that the simulator interprets."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"\n{HELP}")


@click.command(cls=_Explained, context_settings={"show_default": True})
@_APISERVER
@click.option("--speed", type=click.FloatRange(0.1, 1000), default=20.0, help="Simulated seconds per second.")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Where to write the kubeconfig."
)
@click.option(
    "--quota",
    "limits",
    type=quotas(),
    default=(),
    help="At most so many instances of a type at once, counted apart for training, processing and transform jobs, notebook "
    "instances and endpoints.",
)
@click.option(
    "--rate-limit",
    "rate_limits",
    type=rates(),
    default=(),
    help="Throttle an operation or verb, such as ListTrainingJobs or Create, above so many requests per second.",
)
def sandbox(
    apiserver: Path | None,
    speed: float,
    directory: Path | None,
    limits: tuple[tuple[str, float], ...],
    rate_limits: tuple[tuple[str, float], ...],
) -> None:
    """Start a Kubernetes API and a SageMaker simulator on this machine, and keep them up until Ctrl-C."""
    _need_extra()
    from sagemaker_operator.sandbox.world import World

    world = World(speed=speed, apiserver=apiserver, directory=directory)
    world.limit(quotas={name: int(limit) for name, limit in limits}, rates=dict(rate_limits))
    run_loop(_sandbox(world, speed))


async def _sandbox(world: World, speed: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with world:
        for line in world.exports():
            click.echo(line)
        click.echo(
            f"\n# Paste the lines above into another terminal, then:\n"
            f"#   sagemaker-operator run --log-format text &\n"
            f"#   kubectl apply -f manifests/samples/trainingjob.yaml\n"
            f"# Simulated time runs {speed:g} times as fast as yours. Ctrl-C ends the sandbox.\n#"
        )
        click.echo("\n".join(f"# {line}" for line in HELP.splitlines()))
        await stop.wait()


@click.command(context_settings={"show_default": True})
@click.option(
    "-f",
    "--filename",
    "filenames",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Manifest to run, instead of the built-in one; repeatable.",
)
@_APISERVER
@click.option("--speed", type=click.FloatRange(0.1, 1000), default=30.0, help="Simulated seconds per second.")
@click.option("--format", "format_", type=click.Choice(["auto", "table", "text", "json"]), default="auto")
@click.option("--timeout", type=float, default=300.0, help="Seconds after which the demo gives up.")
def demo(filenames: tuple[Path, ...], apiserver: Path | None, speed: float, format_: str, timeout: float) -> None:
    """Run a ten-minute training job from apply to Completed in half a minute, and count what it cost.

    Exit code 0 if every object became ready, 1 if not.
    """
    _need_extra()
    from sagemaker_operator.cli.demo import Demo, load_manifests

    if format_ == "auto":
        format_ = "table" if sys.stdout.isatty() else "text"
    manifests = load_manifests(filenames)
    show = Demo(manifests, speed=speed, apiserver=apiserver, format_=format_, timeout=timeout)
    run_loop(show.run())
    sys.exit(0 if show.ok else 1)
