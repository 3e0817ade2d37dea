#!/usr/bin/env python3
"""Builds the API server of main.go from Debian's source packages, and prints where the program is.

    SAGEMAKER_OPERATOR_APISERVER=$(python3 tests/apiserver/build.py) python -m pytest

Needs a Debian machine with apt and dpkg-deb, no root, about 3 minutes of two idle cores, 75 MB of downloads and 4 GB of disk
while it works. Nothing is installed: apt is given lists, cache and status of its own, and packages are only unpacked. The
mirror is the one this machine's apt is configured with. The program is kept in the user's cache, under a name that is made
of what it is built from, so that a second run costs nothing. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SOURCES = ("main.go", "core.go")
# The only suite that has the packages of apiextensions-apiserver; it moves, so SHA256SUMS beside the program records what
# went into it.
SUITE = "sid"
GO = "1.27"
# Types whose OpenAPI definitions server-side apply and `kubectl explain` need.
OPENAPI_TYPES = (
    *("k8s.io/api/core/v1", "k8s.io/api/coordination/v1", "k8s.io/api/events/v1"),
    *(
        f"k8s.io/apimachinery/pkg/{name}"
        for name in ("apis/meta/v1", "runtime", "version", "api/resource", "util/intstr")
    ),
)
_VERSION = "k8s.io/component-base/version"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class CannotBuild(Exception):
    """The text says what is missing."""


class Mirror(NamedTuple):
    """Where this machine gets Debian from."""

    uri: str
    signed_by: str


def cache() -> Path:
    """Where programs are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "sagemaker-operator" / "apiserver"


def program() -> Path:
    """Where the program of these sources is, once it is built."""
    digest = hashlib.sha256()
    for name in (*SOURCES, "packages.txt", "build.py"):
        digest.update((HERE / name).read_bytes())
    return cache() / digest.hexdigest()[:16] / "apiserver"


def mirror(etc: Path = Path("/etc/apt")) -> Mirror:
    """The first source that serves Debian's main archive, in either of apt's formats. Raises CannotBuild."""
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for file in files:
        if not file.is_file():
            continue
        text = "\n".join(line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
        found = _deb822(text) if file.suffix == ".sources" else _one_line(text)
        if found is not None:
            return found
    raise CannotBuild(f"no source of Debian's main archive in {etc}: this builds on Debian only")


def _deb822(text: str) -> Mirror | None:
    for stanza in re.split(r"\n\s*\n", text):
        fields = {name.lower(): value.strip() for name, value in re.findall(r"(?m)^([\w-]+):[ \t]*(.*)$", stanza)}
        uris = fields.get("uris", "").split()
        if "deb" in fields.get("types", "").split() and uris and _is_debian(uris[0]):
            return Mirror(uris[0], fields.get("signed-by") or _KEYRING)
    return None


def _one_line(text: str) -> Mirror | None:
    for options, uri in re.findall(r"(?m)^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)", text):
        if _is_debian(uri):
            signed = re.search(r"signed-by=(\S+)", options)
            return Mirror(uri, signed[1] if signed else _KEYRING)
    return None


def _is_debian(uri: str) -> bool:
    return uri.rstrip("/").endswith("/debian")


class Build:
    """One build in a prefix of its own."""

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._root = prefix / "root"
        self._source = prefix / "gopath" / "src" / "apiserver"
        self._started = time.monotonic()

    def run(self) -> Path:
        """The built program. Raises CannotBuild and CalledProcessError."""
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise CannotBuild(f"{tool} is not here: this builds on Debian only")
        debs = self._download()
        for deb in debs:
            _run(["dpkg-deb", "-x", deb, self._root])
        sums = "".join(f"{hashlib.sha256(deb.read_bytes()).hexdigest()}  {deb.name}\n" for deb in debs)
        (self._prefix / "SHA256SUMS").write_text(sums, encoding="utf-8")
        self._say(f"{len(debs)} packages unpacked")
        return self._compile(_kubernetes_version(debs))

    def _download(self) -> list[Path]:
        apt, debs = self._prefix / "apt", self._prefix / "debs"
        for directory in (apt / "lists" / "partial", apt / "cache" / "archives" / "partial", debs, self._root):
            directory.mkdir(parents=True, exist_ok=True)
        (apt / "status").touch()
        source = mirror()
        line = f"deb [signed-by={source.signed_by}] {source.uri} {SUITE} main\n"
        (apt / "sources.list").write_text(line, encoding="utf-8")
        settings = {
            "Dir::State::Lists": apt / "lists",
            "Dir::State::status": apt / "status",
            "Dir::Etc::SourceList": apt / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::Cache": apt / "cache",
            "Acquire::Languages": "none",
            **({"APT::Sandbox::User": "root"} if os.geteuid() == 0 else {}),
        }
        options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        _run(["apt-get", "-qq", *options, "update"])
        packages = (HERE / "packages.txt").read_text(encoding="utf-8").split()
        _run(["apt-get", "-qq", *options, "download", f"golang-{GO}-go", f"golang-{GO}-src", *packages], cwd=debs)
        self._say("packages downloaded")
        return sorted(debs.glob("*.deb"))

    def _compile(self, version: tuple[str, str]) -> Path:
        goroot = self._root / "usr" / "lib" / f"go-{GO}"
        environment = {
            **os.environ,
            # openapi-gen runs go itself.
            "PATH": f"{goroot / 'bin'}:{os.environ['PATH']}",
            "GOROOT": str(goroot),
            "GOPATH": f"{self._prefix / 'gopath'}:{self._root / 'usr' / 'share' / 'gocode'}",
            "GOCACHE": str(self._prefix / "gocache"),
            "GO111MODULE": "off",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "",
            "CGO_ENABLED": "0",
        }
        (self._source / "openapi").mkdir(parents=True, exist_ok=True)
        for name in SOURCES:
            shutil.copy(HERE / name, self._source)
        # Without a module file, GOPATH mode does not find import paths that end in /v3.
        (self._source / "go.mod").write_text("module apiserver\n\ngo 1.26\n", encoding="utf-8")
        (self._source / "openapi" / "doc.go").write_text("package openapi\n", encoding="utf-8")
        go, generator = goroot / "bin" / "go", self._prefix / "openapi-gen"
        _run([go, "build", "-o", generator, "k8s.io/kube-openapi/cmd/openapi-gen"], env=environment)
        flags = {
            "--output-dir": "openapi",
            "--output-pkg": "apiserver/openapi",
            "--output-file": "zz_generated.openapi.go",
            "--go-header-file": "/dev/null",
            "--report-filename": "/dev/null",
        }
        generator_flags = [part for pair in flags.items() for part in pair]
        _run([generator, *generator_flags, *OPENAPI_TYPES], cwd=self._source, env=environment)
        self._say("OpenAPI definitions generated")
        # kubectl cannot parse the version of a server that was linked without one.
        minor, patch = version
        stamps = {"gitMajor": "1", "gitMinor": minor, "gitVersion": f"v1.{minor}.{patch}"}
        linker = " ".join(["-s -w", *(f"-X {_VERSION}.{name}={value}" for name, value in stamps.items())])
        built = self._prefix / "apiserver"
        _run([go, "build", "-trimpath", "-ldflags", linker, "-o", built, "apiserver"], env=environment)
        self._say(f"built, {built.stat().st_size / 1e6:.0f} MB, Kubernetes 1.{minor}.{patch}")
        return built

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._started:4.0f} s  {text}", file=sys.stderr, flush=True)


def _kubernetes_version(debs: list[Path]) -> tuple[str, str]:
    for deb in debs:
        found = re.match(r"golang-k8s-apiextensions-apiserver-dev_(?:\d+%3a)?0\.(\d+)\.(\d+)", deb.name)
        if found:
            return found[1], found[2]
    raise CannotBuild("no apiextensions-apiserver among the packages")


def _run(command: list[str | Path], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    # The caller reads the program's path from our standard output.
    subprocess.run([str(part) for part in command], cwd=cwd, env=env, check=True, stdout=sys.stderr)


def build(*, keep: bool = False) -> Path:
    """The program, built if need be. `keep` leaves what it was built in. Raises CannotBuild and CalledProcessError."""
    wanted = program()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if wanted.exists():
            return wanted
        prefix = cache() / "work"
        if not keep:
            shutil.rmtree(prefix, ignore_errors=True)
        prefix.mkdir(exist_ok=True)
        built = Build(prefix).run()
        shutil.copy(prefix / "SHA256SUMS", wanted.parent)
        built.rename(wanted)
        if not keep:
            # Go makes its module files read-only, but not its build cache: this removes everything.
            shutil.rmtree(prefix)
    return wanted


def main() -> int:
    parser = argparse.ArgumentParser(description="Build a Kubernetes API server for the tests from Debian's packages.")
    parser.add_argument("--keep", action="store_true", help="keep the 4 GB it was built in, for a faster next build")
    try:
        print(build(keep=parser.parse_args().keep))
    except (CannotBuild, subprocess.CalledProcessError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
