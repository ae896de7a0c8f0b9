"""Flags, variables, defaults; and one line for what is wrong."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from controller.operators.flags import WrongFlag, parse
from controller.settings import Settings, Timing


def test_without_anything_it_is_the_defaults() -> None:
    invocation = parse([], {})
    assert invocation.settings == Settings()
    assert invocation.kubeconfig is None


def test_every_setting_has_a_flag_and_a_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    text = capsys.readouterr().out
    for model, prefix in ((Settings, ""), (Timing, "timing_")):
        for name, field in model.model_fields.items():
            if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
                assert f"--{prefix}{name}".replace("_", "-") in text
                assert f"METACATALOG_{prefix}{name}".upper() in text


def test_flags_are_read() -> None:
    settings = parse(
        [
            "--store-url=file:///data",
            "--workers=3",
            "--lease-seconds=4.5",
            "--lease-renew-seconds=3",
            "--watch-namespaces=a, b",
            "--source-roots=exports=/mnt/exports,other=/x=y",
            "--allow-source-network=127.0.0.0/8",
            "--child-deadline=90m",
            "--timing-relist=1m30s",
        ],
        {},
    ).settings
    assert settings.store_url == "file:///data"
    assert settings.workers == 3
    assert settings.lease_seconds == 4.5
    assert settings.watch_namespaces == ("a", "b")
    assert settings.source_roots == {"exports": Path("/mnt/exports"), "other": Path("/x=y")}
    assert settings.allow_source_network == ("127.0.0.0/8",)
    assert settings.child_deadline == timedelta(minutes=90)
    assert settings.timing == Timing(relist=timedelta(seconds=90))


def test_a_flag_beats_its_variable_and_a_variable_beats_the_default() -> None:
    environment = {"METACATALOG_WORKERS": "5", "METACATALOG_TIMING_SETTLE": "20s", "KUBECONFIG": "/k"}
    invocation = parse(["--workers=6"], environment)
    assert invocation.settings.workers == 6
    assert invocation.settings.timing.settle == timedelta(seconds=20)
    assert invocation.kubeconfig == Path("/k")
    assert parse(["--kubeconfig=/other"], environment).kubeconfig == Path("/other")


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--workers=many"], {}, "--workers: "),
        ([], {"METACATALOG_WORKERS": "0"}, "METACATALOG_WORKERS: "),
        (["--timing-settle=1d"], {}, "--timing-settle: write a duration"),
        (["--allow-source-network=300.0.0.0/8"], {}, "--allow-source-network: "),
        (["--source-roots=/mnt"], {}, "--source-roots: write name=value"),
        (["--log-level=LOUD"], {}, "--log-level: must be one of"),
        (["--lease-seconds=3"], {}, "--lease-seconds, "),
        (["--nothing"], {}, "unrecognized arguments: --nothing"),
        (["--work=3"], {}, "unrecognized arguments: --work=3"),
        (["stray"], {}, "unrecognized arguments: stray"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: list[str], environment: dict[str, str], message: str) -> None:
    with pytest.raises(WrongFlag) as wrong:
        parse(arguments, environment)
    assert str(wrong.value).startswith(message)
    assert "\n" not in str(wrong.value)


def test_a_wrong_value_is_not_repeated() -> None:
    with pytest.raises(WrongFlag) as wrong:
        parse(["--http-port=s3cret"], {})
    assert "s3cret" not in str(wrong.value)
