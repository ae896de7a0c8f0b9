"""From the command line and the environment to settings, with one line for what is wrong.

Each field of `Settings` is a flag: `store_url` is `--store-url`, or METACATALOG_STORE_URL; `timing.relist` is
`--timing-relist`. A flag beats its variable. Tables are written `name=value,name=value`, lists `a,b`, durations `90s`.
"""

import argparse
import os
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import override

from controller.api import durations
from controller.operators.logs import LEVELS
from controller.settings import Settings

ENVIRONMENT_PREFIX = "METACATALOG_"
KUBECONFIG_FLAG = "--kubeconfig"


class WrongFlag(ValueError):  # noqa: N818 - names what it is about
    """A flag or a variable that makes no sense; one line for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What one start of the operator was told."""

    settings: Settings
    kubeconfig: Path | None
    """None: the service account of the pod."""


@dataclass(frozen=True, slots=True)
class _Flag:
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def option(self) -> str:
        return "--" + "-".join(part.replace("_", "-") for part in self.path)

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + "_".join(self.path).upper()


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and leaves the exit to the caller."""

    @override
    def error(self, message: str) -> typing.NoReturn:
        raise WrongFlag(message)


def parse(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Invocation:
    """Read flags, then variables, then defaults. Raises WrongFlag."""
    variables = os.environ if environment is None else environment
    flags = list(_flags(Settings, ()))
    given = vars(_parser(flags).parse_args(list(arguments)))
    document: dict[str, Any] = {}
    sources: dict[tuple[str, ...], str] = {}
    for flag in flags:
        text = given.get(flag.option)
        sources[flag.path] = flag.option if text is not None else flag.variable
        if text is None:
            text = variables.get(flag.variable)
        if text is not None:
            _put(document, flag.path, _value(flag, text, sources[flag.path]))
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        raise WrongFlag(_problem(error, sources)) from None
    _check_together(settings)
    kubeconfig = given[KUBECONFIG_FLAG] or variables.get("KUBECONFIG")
    return Invocation(settings, Path(kubeconfig) if kubeconfig else None)


def _check_together(settings: Settings) -> None:
    """What no single field can say."""
    if not settings.lease_seconds > settings.lease_renew_seconds > settings.lease_retry_seconds:
        raise WrongFlag("--lease-seconds, --lease-renew-seconds, --lease-retry-seconds: each must exceed the next")
    if settings.log_level not in LEVELS:
        raise WrongFlag(f"--log-level: must be one of {', '.join(LEVELS)}")


def _parser(flags: Sequence[_Flag]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="meta-catalog-operator",
        description="Keeps product catalogs at Meta equal to what is declared. `prepare` runs one step of it instead.",
        allow_abbrev=False,
    )
    parser.add_argument(
        KUBECONFIG_FLAG, dest=KUBECONFIG_FLAG, metavar="FILE", help="how to reach the API server outside a pod"
    )
    for flag in flags:
        text = f"[{flag.variable}] default: {_shown(flag.field)}"
        parser.add_argument(flag.option, dest=flag.option, metavar="VALUE", help=text.replace("%", "%%"))
    return parser


def _flags(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[_Flag]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _flags(field.annotation, (*above, name))
        else:
            yield _Flag((*above, name), field)


def _shown(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if isinstance(default, timedelta):
        return durations.format_duration(default)
    if isinstance(default, tuple | dict):
        return ",".join(map(str, default)) or "none"
    return str(default)


def _value(flag: _Flag, text: str, source: str) -> object:
    """The shape of a value; whether it is sensible is the model's to say."""
    kind = typing.get_origin(flag.field.annotation) or flag.field.annotation
    if kind is timedelta:
        try:
            return durations.parse(text)
        except ValueError as error:
            raise WrongFlag(f"{source}: {error}") from None
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind is dict:
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        if not all(name.strip() and sign for name, sign, _ in pairs):
            raise WrongFlag(f"{source}: write name=value,name=value")
        return {name.strip(): value.strip() for name, _, value in pairs}
    assert kind in (str, int, float, bool, Path, types.NoneType), f"no flag can say a {kind}"
    return text


def _put(document: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value


def _problem(error: ValidationError, sources: Mapping[tuple[str, ...], str]) -> str:
    """The first problem, by the name under which it was given; never the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    location = tuple(str(part) for part in first["loc"])
    name = next((sources[path] for path in sources if location[: len(path)] == path), ".".join(location) or "settings")
    return f"{name}: {first['msg']}"
