"""Settings from the command line, the environment and a file, in this order of precedence.

ACK's Deployment passes every value that its chart has, set or not: an empty one counts as not given.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
import yaml

from sagemaker_operator.cli.options import ENV_PREFIX, OPTIONS, Group, Option
from sagemaker_operator.cli.types import GATES, Duration, meant
from sagemaker_operator.errors import ConfigurationError
from sagemaker_operator.settings import FeatureGates, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_FROM_FILE = "config"
_DEFAULTS: dict[str, Any] = {
    field.name: field.default if field.default is not msgspec.NODEFAULT else None
    for field in msgspec.structs.fields(Settings)
}
_EPILOG = (
    f"Every flag is also an environment variable, {ENV_PREFIX}<FLAG>, and a key of the file of --config. A flag wins over "
    "the environment, and the environment over the file."
)


def settings_options(command: Callable[..., Any]) -> click.Command:
    """A decorator: a click command with all flags, grouped in its --help."""
    for option in reversed(OPTIONS):
        extra: dict[str, Any] = {"flag_value": True, "is_flag": False} if option.type is bool else {}
        command = click.option(
            option.flag,
            option.setting,
            cls=_Flag,
            type=option.type,
            envvar=option.env,
            help=described(option),
            multiple=option.repeat,
            default=None,
            **extra,
        )(command)
    command = click.option(
        f"--{_FROM_FILE}",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar=f"{ENV_PREFIX}CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_take_file,
        help="YAML or JSON file with flags as keys, without their dashes.",
    )(command)
    return click.command(cls=_Grouped, epilog=_EPILOG)(command)


def described(option: Option) -> str:
    """Its help with ACK's name in the environment and the default, for --help and the docs."""
    default = default_text(option)
    notes = [f"env: {option.ack_env}"] * bool(option.ack_env) + [f"default: {default}"] * bool(default)
    return option.help + (f"  [{'; '.join(notes)}]" if notes else "")


def default_text(option: Option) -> str:
    """The default as a user would write it."""
    default = _DEFAULTS.get(option.setting)
    match default:
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}" + ("s" if isinstance(option.type, Duration) else "")
        case tuple():
            return ",".join(default)
        case FeatureGates():
            return ",".join(f"{gate}={str(getattr(default, field)).lower()}" for gate, field in GATES.items())
        case None | {}:
            return ""
    return str(default)


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Raises ConfigurationError for an invalid value and for a missing region."""
    given = {
        option.setting: option.read(values[option.setting])
        for option in OPTIONS
        if option.group is not Group.IDLE and values.get(option.setting) not in (None, ())
    }
    if given.pop("development_logging", False):
        given |= {"log_level": "debug", "log_format": "text"}
    if not given.get("aws_region"):
        raise ConfigurationError("no AWS region: pass --aws-region, or set AWS_REGION")
    return Settings(**given)


def without_effect(values: Mapping[str, Any]) -> Iterator[Option]:
    """The given flags that have no effect."""
    return (option for option in OPTIONS if option.group is Group.IDLE and values.get(option.setting))


class _Flag(click.Option):
    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        if value == "":
            value = None
        elif self.multiple and isinstance(value, list | tuple):
            value = [item for item in value if item != ""]
        return super().type_cast_value(ctx, value)


class _Grouped(click.Command):
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        group_of = {option.setting: option.group.value for option in OPTIONS}
        for heading, params in groupby(self.get_params(ctx), lambda param: group_of.get(param.name or "", "General")):
            records = [record for param in params if (record := param.get_help_record(ctx))]
            with formatter.section(heading):
                formatter.write_dl(records)


def _take_file(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is not None:
        ctx.default_map = {**(ctx.default_map or {}), **_read(path)}


def _read(path: Path) -> dict[str, Any]:
    """The file's values as click takes them from the command line, by setting. Raises ConfigurationError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"--config {path}: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"--config {path}: write one flag a line, for example aws-region: eu-west-1")
    known = {option.flag.removeprefix("--"): option for option in OPTIONS}
    found: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            hint = meant(str(key), known, otherwise="; `run --help` lists the flags")
            raise ConfigurationError(f"--config {path}: there is no flag {key!r}{hint}")
        if value is not None:
            found[known[key].setting] = _as_written(known[key], value, path)
    return found


def _as_written(option: Option, value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        value = [f"{name}={_scalar(item)}" for name, item in value.items()]
        if not option.repeat:
            return ",".join(value)
    if isinstance(value, list):
        if not option.repeat:
            raise ConfigurationError(f"--config {path}: {option.flag.removeprefix('--')} takes one value, not a list")
        # A list has its items apart already: a comma in one is its own.
        return ['"{}"'.format(_scalar(item).replace('"', '""')) for item in value]
    return [_scalar(value)] if option.repeat else _scalar(value)


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
