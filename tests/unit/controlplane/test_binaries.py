"""The programs are built once for what makes them, whole or not at all."""

import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hack.controlplane import binaries, files, toolchain
from hack.controlplane.binaries import PACKAGES, BuildError, Recipe
from hack.controlplane.progress import Progress
from hack.controlplane.toolchain import Toolchain

REPOSITORY = Path(__file__).parents[3]

RECIPE = Recipe(go_mod="module m\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.36.3 // indirect\n", go_sum="sums")
GO = Toolchain(version="1.26.6", platform="linux/amd64", program=Path("/go"))

# A Go that takes its time, notes what it was asked for, and makes what it is asked to make.
FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then printf 'go1.99.1\\nlinux\\namd64\\n'; exit; fi
for last; do :; done
while [ "$1" != -o ]; do shift; done
echo "$last" >> "$NOTES"
sleep "${TAKES:-0}"
if [ "$last" = "$FAILS" ]; then echo "undefined: thing"; exit 1; fi
printf '#!/bin/sh\\necho made of %s\\n' "$last" > "$2"
chmod +x "$2"
"""

ENSURE = "from hack.controlplane import binaries; print(binaries.ensure().directory)"


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that has a Go and an empty cache."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "go").write_text(FAKE_GO)
    (programs / "go").chmod(0o755)
    (tmp_path / "notes").touch()
    return {
        "PATH": f"{programs}{os.pathsep}{os.defpath}",
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "NOTES": str(tmp_path / "notes"),
    }


def built(machine: dict[str, str]) -> list[str]:
    return Path(machine["NOTES"]).read_text().split()


def quiet() -> Progress:
    return Progress(io.StringIO())


class TestKey:
    @pytest.mark.parametrize(
        "other",
        [
            replace(RECIPE, go_mod=RECIPE.go_mod + "// x\n"),
            replace(RECIPE, go_sum="other sums"),
            replace(RECIPE, go_mod=RECIPE.go_mod + "s", go_sum="ums"),
        ],
        ids=["go.mod", "go.sum", "a character that moved from one to the other"],
    )
    def test_another_recipe_has_another_key(self, other: Recipe) -> None:
        assert other.key(GO) != RECIPE.key(GO)

    @pytest.mark.parametrize("other", [replace(GO, version="1.26.7"), replace(GO, platform="linux/arm64")])
    def test_another_tool_chain_has_another_key(self, other: Toolchain) -> None:
        assert RECIPE.key(other) != RECIPE.key(GO)

    def test_where_go_lies_does_not_matter(self) -> None:
        assert RECIPE.key(replace(GO, program=None)) == RECIPE.key(GO)

    @pytest.mark.parametrize("name", ["PACKAGES", "VERSION_PACKAGES"])
    def test_other_packages_and_flags_have_another_key(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        before = RECIPE.key(GO)
        monkeypatch.setattr(binaries, name, {"etcd": "elsewhere"})
        assert RECIPE.key(GO) != before

    def test_the_key_is_a_plain_name(self) -> None:
        assert re.fullmatch("[0-9a-f]{16}", RECIPE.key(GO))


class TestRecipe:
    def test_ours_says_which_kubernetes_and_which_go(self) -> None:
        ours = Recipe.read()
        assert re.fullmatch(r"v1\.\d+\.\d+", ours.kubernetes_version)
        assert toolchain.version_numbers(ours.go_minimum) >= (1, 26, 0)
        assert all(f"\t{package}\n" in ours.go_mod for package in PACKAGES.values()), "each is a tool of go.mod"

    def test_every_kubernetes_module_has_the_version_of_the_release(self) -> None:
        ours = Recipe.read()
        published = "v0." + ours.kubernetes_version.split(".", 1)[1]
        replaced = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", ours.go_mod, re.MULTILINE)
        assert len(replaced) > 30
        assert {(name == by, version) for name, by, version in replaced} == {(True, published)}

    def test_the_programs_are_told_their_version(self) -> None:
        assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in RECIPE.flags[-1]
        assert "-X k8s.io/component-base/version.gitMinor=36" in RECIPE.flags[-1]

    def test_a_go_mod_without_kubernetes_is_said(self) -> None:
        with pytest.raises(BuildError, match="no line like"):
            _ = replace(RECIPE, go_mod="module m\n").kubernetes_version


class TestEnsure:
    def test_all_are_built_once_in_order_and_found_after_that(self, machine: dict[str, str], tmp_path: Path) -> None:
        said = io.StringIO()
        programs = binaries.ensure(machine, progress=Progress(said))
        assert built(machine) == list(PACKAGES.values())
        for name, package in PACKAGES.items():
            answer = subprocess.run([programs[name]], capture_output=True, text=True, check=True).stdout
            assert answer == f"made of {package}\n"
        assert f"building {next(iter(PACKAGES))} (1 of {len(PACKAGES)}; about 6 min, once)" in said.getvalue()
        assert programs.directory.is_relative_to(tmp_path / "cache" / "meta-catalog-operator" / "controlplane")

        assert binaries.ensure(machine, progress=quiet()) == programs
        assert len(built(machine)) == len(PACKAGES)

    def test_without_an_own_cache_directory_it_is_the_users(self) -> None:
        expected = Path("/home/u/.cache/meta-catalog-operator/controlplane")
        assert binaries.cache_directory({"HOME": "/home/u"}) == expected
        assert binaries.cache_directory({"HOME": "/home/u", "XDG_CACHE_HOME": ""}) == expected

    def test_two_builders_at_once_build_once(self, machine: dict[str, str]) -> None:
        builders = [
            subprocess.Popen(
                [sys.executable, "-c", ENSURE],
                cwd=REPOSITORY,
                env={**machine, "TAKES": "0.3"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        ended = [(*builder.communicate(timeout=60), builder.returncode) for builder in builders]
        assert [code for _, _, code in ended] == [0, 0], ended
        assert len({directory for directory, _, _ in ended}) == 1
        assert built(machine) == list(PACKAGES.values())
        assert sum("another process builds it now" in said for _, said, _ in ended) == 1

    def test_a_failed_build_says_why_and_leaves_nothing(self, machine: dict[str, str]) -> None:
        machine["FAILS"] = PACKAGES["kubectl"]
        with pytest.raises(BuildError, match=r"kubectl failed with exit code 1(.|\n)*undefined: thing"):
            binaries.ensure(machine, progress=quiet())
        assert [path.name for path in binaries.cache_directory(machine).iterdir()] == ["lock"]
        del machine["FAILS"]
        assert binaries.ensure(machine, progress=quiet()).missing() == []

    def test_a_killed_builder_takes_go_with_it_and_the_next_starts_afresh(self, machine: dict[str, str]) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", ENSURE],
            cwd=REPOSITORY,
            env={**machine, "TAKES": "600"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as builder:
            assert builder.stderr is not None
            assert "building" in builder.stderr.readline()
            builder.kill()
        cache = binaries.cache_directory(machine)
        assert list(cache.glob(f"{files.UNFINISHED}*"))

        assert binaries.ensure(machine, progress=quiet()).missing() == []
        assert not list(cache.glob(f"{files.UNFINISHED}*"))

    def test_what_nobody_has_used_for_long_is_dropped(self, machine: dict[str, str]) -> None:
        cache = binaries.cache_directory(machine)
        now = Path(machine["NOTES"]).stat().st_mtime
        ages_days = {"0" * 16: 1, "1" * 16: 29, "2" * 16: 31, "not-a-key": 400}
        for name, age_days in ages_days.items():
            (cache / name).mkdir(parents=True)
            os.utime(cache / name, (now, now - age_days * 86_400))
        mine = binaries.ensure(machine, progress=quiet()).directory
        left = {path.name for path in cache.iterdir()}
        assert left == {"0" * 16, "1" * 16, "not-a-key", "lock", mine.name}

    def test_using_keeps_it_from_being_dropped(self, machine: dict[str, str]) -> None:
        programs = binaries.ensure(machine, progress=quiet())
        os.utime(programs.directory, (0, 0))
        binaries.ensure(machine, progress=quiet())
        assert programs.directory.stat().st_mtime >= Path(machine["NOTES"]).stat().st_mtime


class TestProvided:
    def test_what_is_provided_is_taken_and_nothing_is_built(self, machine: dict[str, str], tmp_path: Path) -> None:
        made = binaries.ensure(machine, progress=quiet())
        provided = tmp_path / "assets"
        shutil.copytree(made.directory, provided)
        notes = built(machine)
        found = binaries.ensure({**machine, "KUBEBUILDER_ASSETS": str(provided)}, progress=quiet())
        assert found.directory == provided
        assert built(machine) == notes

    def test_what_is_not_provided_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "etcd").touch()  # there, but no program
        (tmp_path / "kubectl").touch(mode=0o755)
        with pytest.raises(BuildError) as refusal:
            binaries.ensure({"KUBEBUILDER_ASSETS": str(tmp_path)})
        said = str(refusal.value)
        assert "no executable kube-apiserver and no kube-controller-manager and no etcd." in said
        assert "unset KUBEBUILDER_ASSETS" in said
