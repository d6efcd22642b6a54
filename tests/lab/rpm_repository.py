# SPDX-License-Identifier: GPL-3.0-or-later
"""RPMs and repositories made on the spot by rpmbuild, rpmsign and createrepo_c."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

BUILD_TIME = "1700000000"  # seconds since 1970
TOOLS = ("rpmbuild", "rpmsign", "createrepo_c", "gpg")


@dataclasses.dataclass(frozen=True)
class Package:
    """What a package holds: ``files`` maps absolute paths to contents, ``directories`` to modes. Scripts are for ``sh``."""

    name: str
    version: str = "1.0"
    release: str = "1"
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    programs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    directories: Mapping[str, str] = dataclasses.field(default_factory=dict)
    provides: Sequence[str] = ()
    requires: Sequence[str] = ()
    recommends: Sequence[str] = ()
    after_install: str = ""

    @property
    def nevra(self) -> str:
        """Name, version, release and architecture, as ``rpm -q`` prints them."""
        return f"{self.name}-{self.version}-{self.release}.noarch"


class ToolFailed(Exception):
    """A tool that makes packages failed; the text has what it said."""


def missing_tools() -> list[str]:
    """The tools that this machine lacks."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def build(packages: Sequence[Package], target: Path, work: Path) -> None:
    """Put the RPMs of the packages into ``target``. No two packages of one call have the same name."""
    shutil.rmtree(work, ignore_errors=True)
    stage = work / "stage"
    for package in packages:
        for path, content in {**package.files, **package.programs}.items():
            file = stage / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
            file.chmod(0o755 if path in package.programs else 0o644)
        for path in package.directories:
            (stage / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
    stage.mkdir(parents=True, exist_ok=True)
    spec = work / "packages.spec"
    spec.write_text(_spec(packages, stage))
    defines = {
        "_topdir": str(work),
        "_rpmdir": str(target),
        "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
        "_buildhost": "lab",
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
        "__os_install_post": "%{nil}",
        "debug_package": "%{nil}",
        "_build_id_links": "none",
    }
    options = [word for name, value in defines.items() for word in ("--define", f"{name} {value}")]
    _run(["rpmbuild", "-bb", "--quiet", *options, str(spec)])


def index(directory: Path) -> None:
    """Make the directory of RPMs a repository, or bring its index up to date."""
    _run(["createrepo_c", "--quiet", "--no-database", "--simple-md-filenames", "--revision=1", str(directory)])


@dataclasses.dataclass(frozen=True)
class SigningKey:
    """A GPG key; ``public`` is the file that verifies."""

    home: Path
    public: Path

    @classmethod
    def create(cls, directory: Path) -> SigningKey:
        """A new key without a passphrase."""
        directory.mkdir(mode=0o700, parents=True)
        gpg = ["gpg", "--homedir", str(directory), "--batch", "--quiet"]
        _run([*gpg, "--passphrase", "", "--quick-generate-key", "Lab <lab@lab.invalid>", "rsa2048", "sign", "never"])
        public = directory / "RPM-GPG-KEY-lab"
        public.write_bytes(_run([*gpg, "--armor", "--export", "lab@lab.invalid"]))
        return cls(directory, public)

    def sign(self, rpms: Sequence[Path]) -> None:
        """Sign RPMs in place, and end the agent that GPG started for it."""
        options = ["--define", "_gpg_name lab@lab.invalid", "--define", f"_gpg_path {self.home}"]
        options += ["--define", f"__gpg {shutil.which('gpg')}"]
        _run(["rpmsign", "--addsign", *options, *map(str, rpms)])
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "gpg-agent"], check=False)


def _spec(packages: Sequence[Package], stage: Path) -> str:
    lines = [
        *("Name: lab-packages", "Version: 1", "Release: 1", "Summary: Lab", "License: GPL-3.0-or-later"),
        *(
            "BuildArch: noarch",
            "AutoReqProv: no",
            "%description",
            "Lab",
            "%install",
            f"cp -a {stage}/. %{{buildroot}}/",
        ),
    ]
    for package in packages:
        lines += [f"%package -n {package.name}", f"Version: {package.version}", f"Release: {package.release}"]
        lines += ["Summary: Lab", "AutoReqProv: no"]
        for tag, values in (
            ("Provides", package.provides),
            ("Requires", package.requires),
            ("Recommends", package.recommends),
        ):
            lines += [f"{tag}: {value}" for value in values]
        lines += [f"%description -n {package.name}", "Lab"]
        if package.after_install:
            lines += [f"%post -n {package.name} -p /bin/sh", package.after_install]
        lines += [f"%files -n {package.name}", "%defattr(-,root,root)"]
        lines += [*package.files, *package.programs]
        lines += [f"%dir %attr({mode},root,root) {path}" for path, mode in package.directories.items()]
    return "\n".join(lines) + "\n"


def _run(argv: Sequence[str]) -> bytes:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": BUILD_TIME, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, env=environment, check=False)
    if done.returncode != 0:
        raise ToolFailed(f"{' '.join(argv)}\n{done.stdout.decode()}{done.stderr.decode()}")
    return done.stdout
