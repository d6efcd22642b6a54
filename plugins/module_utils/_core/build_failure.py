# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong in an image build, as data: the category, the user's line, and whether trying again can help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile, Instruction
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_source import StepSource

EXCERPT_LINES = 20
EXCERPT_WIDTH = 400


class FailureCategory(str, Enum):
    """Where the cause lies, which decides who has to act."""

    INPUT = "input"
    BASE_PULL = "base_pull"
    DEPENDENCY = "dependency"
    STEP = "step"
    LINT = "lint"
    VERIFY = "verify"
    CONFLICT = "conflict"
    LEAK = "leak"
    SIGN = "sign"
    PUSH = "push"
    REGISTRY = "registry"
    DISK = "disk"
    ENGINE = "engine"


@dataclass(frozen=True)
class BuildFailure:
    """A failure. `line` counts in the user's own Containerfile; `log` is the path of the whole output."""

    category: FailureCategory
    message: str
    step: str | None = None
    line: int | None = None
    excerpt: tuple[str, ...] = ()
    log: str | None = None
    retryable: bool = False

    def with_log(self, log: str) -> BuildFailure:
        """The same failure, naming the file with the whole output."""
        return replace(self, log=log)

    def as_result(self) -> dict[str, Any]:
        """The failure as a module returns it."""
        return {
            "category": self.category.value,
            "message": self.message,
            "step": self.step,
            "line": self.line,
            "excerpt": list(self.excerpt),
            "log": self.log,
            "retryable": self.retryable,
        }


class BuildError(Exception):
    """Ends a build; carries the failure."""

    def __init__(self, failure: BuildFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class RegistryTrouble(str, Enum):
    """What a registry, or the way to it, has against a request."""

    MISSING = "missing"
    UNAUTHORIZED = "unauthorized"
    DENIED = "denied"
    PLAIN_HTTP = "plain_http"
    CERTIFICATE = "certificate"
    CERTIFICATE_TIME = "certificate_time"
    CERTIFICATE_NAME = "certificate_name"
    DISK = "disk"
    DROPPED = "dropped"
    UNREACHABLE = "unreachable"
    BUSY = "busy"
    OTHER = "other"


# Looked for in order in what skopeo, buildah and podman print (containers/image); the first that is there counts.
# Narrow on purpose: a program or a file that is "not found" on this host says nothing about an image in a registry, and
# "permission denied" is said of files.
_REGISTRY_TEXTS = (
    (RegistryTrouble.DISK, r"no space left on device|disk quota exceeded"),
    (RegistryTrouble.PLAIN_HTTP, r"server gave HTTP response to HTTPS client"),
    (RegistryTrouble.CERTIFICATE_TIME, r"x509: certificate has expired or is not yet valid"),
    (
        RegistryTrouble.CERTIFICATE_NAME,
        r"x509: certificate is (?:valid for|not valid for any)|x509: cannot validate certificate for",
    ),
    (
        RegistryTrouble.CERTIFICATE,
        r"x509:|tls: failed to verify|certificate signed by unknown authority|tls: .*certificate",
    ),
    (
        RegistryTrouble.BUSY,
        r"toomanyrequests|too many requests|(?<![:\w])429\b|(?<![:\w])50[0234] |HTTP status: 50[0234]|Service Unavailable",
    ),
    (RegistryTrouble.DENIED, r"(?<!permission )\bdenied\b|403 \(Forbidden\)|403 Forbidden"),
    (RegistryTrouble.UNAUTHORIZED, r"unauthorized|authentication required|invalid username/password|(?<![:\w])401\b"),
    (
        RegistryTrouble.DROPPED,
        r"connection reset|unexpected EOF|: EOF|broken pipe|use of closed network connection|stream error: stream ID",
    ),
    (
        RegistryTrouble.UNREACHABLE,
        r"connection refused|no such host|i/o timeout|TLS handshake timeout|"
        r"no route to host|network is unreachable|context deadline exceeded|server misbehaving|connection timed out|"
        r"temporary failure in name resolution|Client\.Timeout exceeded|did not answer within",
    ),
    (
        RegistryTrouble.MISSING,
        r"manifest unknown|name unknown|repository name not known|NAME_UNKNOWN|404 \(Not Found\)|"
        # what some hosted registries say instead
        r"reading manifest \S+ in \S+: unknown: (?:(?:artifact|repository) \S+ not found|Not Found)",
    ),
)
_RETRYABLE = frozenset((RegistryTrouble.UNREACHABLE, RegistryTrouble.DROPPED, RegistryTrouble.BUSY))


def registry_trouble(text: str) -> RegistryTrouble:
    """Which trouble the output of a container tool tells of."""
    for trouble, pattern in _REGISTRY_TEXTS:
        if re.search(pattern, text, re.IGNORECASE):
            return trouble
    return RegistryTrouble.OTHER


def registry_failure(
    category: FailureCategory, action: str, image: str, output: str, authfile: str | None
) -> BuildFailure:
    """The failure of a request about `image`; `action` completes "Could not …".

    A full disk of this host is of category disk, whatever the request was for.
    """
    trouble = registry_trouble(output)
    said = [line.strip() for line in output.splitlines() if line.strip()]
    detail = f"It said: {_shortened(_cause(said[-1]))}" if said else ""
    return BuildFailure(
        FailureCategory.DISK if trouble is RegistryTrouble.DISK else category,
        " ".join(filter(None, (f"Could not {action} {image}.", _advice(trouble, image, authfile), detail))),
        excerpt=excerpt(said),
        retryable=trouble in _RETRYABLE,
    )


def _advice(trouble: RegistryTrouble, image: str, authfile: str | None) -> str:
    """What was seen, in the words of people, and what to do about it."""
    host = image.partition("/")[0]
    if trouble is RegistryTrouble.UNREACHABLE and host == "localhost":
        return (
            "The registry localhost cannot be reached: check its name, that it runs, and the network and proxy settings. "
            "An image in local storage cannot be pinned to a digest: push it to a registry first."
        )
    login = f"the credentials in {authfile} did not satisfy it" if authfile else "no file with credentials was given"
    account = f"the account in {authfile}" if authfile else "a request without an account of its own"
    return _ADVICE[trouble].format(host=host, image=image, login=login, account=account)


_ADVICE = {
    RegistryTrouble.MISSING: "The registry answers, but has no {image}: check the spelling of the repository and the tag.",
    RegistryTrouble.UNAUTHORIZED: "The registry {host} wants a login, and {login}. Point the option authfile "
    "to a file made with `skopeo login --authfile FILE {host}`.",
    RegistryTrouble.DENIED: "The registry {host} answers, but refuses this to {account}: it has no permission for {image}, or the "
    "repository does not exist. Give the account that permission, or name another with `skopeo login --authfile FILE {host}`.",
    RegistryTrouble.PLAIN_HTTP: "The registry {host} talks plain HTTP where HTTPS was wanted. Set validate_certs to false for a "
    "registry on a trusted network, or give it a certificate.",
    RegistryTrouble.CERTIFICATE_TIME: "The certificate of {host}, or of the CA that signed it, has expired or is not valid yet. If the "
    "clock of this host is right (`date`), renew the certificate; if it was that of the CA, put the new one into ca_file.",
    RegistryTrouble.CERTIFICATE_NAME: "The certificate of {host} is for other names than the one by which the registry was called. Call "
    "it by a name that is in the certificate, or give the registry a certificate for {host}.",
    RegistryTrouble.CERTIFICATE: "The certificate of {host} is not trusted here: no CA that this host knows has signed it. Name the "
    "file with its CA in the option ca_file (if that is given, it is another CA's), or put it into "
    "/etc/containers/certs.d/{host}/ca.crt on the host that runs this module.",
    RegistryTrouble.DISK: "The disk of this host is full. Free space where the tool wanted to write (`df -h`), then run again.",
    RegistryTrouble.DROPPED: "The connection to {host} was made, and dropped in the middle. Run again; if it happens every time, look "
    "into the logs of the registry and of the proxies before it for a limit of time or size, or a restart.",
    RegistryTrouble.UNREACHABLE: "The registry {host} cannot be reached: check its name, that it runs, and the network and proxy settings.",
    RegistryTrouble.BUSY: "The registry {host} is overloaded, limits requests, or is broken itself, such as by a full disk. Run again "
    "later; if that does not help, look into its log.",
    RegistryTrouble.OTHER: "",
}


def _cause(line: str) -> str:
    """A line without the decoration of the tool's logger."""
    match = re.search(r'level=fatal msg="(.*)"\Z', line)
    return match.group(1).replace('\\"', '"') if match else line


_UPLOAD_STATE = re.compile(r"\?_state=[^\s\"\\]+")


def _shortened(line: str) -> str:
    """A line as wide as a terminal can take. Tools give the cause at the end, and the place in the beginning."""
    text = _UPLOAD_STATE.sub("", line.rstrip())  # hundreds of characters that say nothing to people
    if len(text) <= EXCERPT_WIDTH:
        return text
    half = (EXCERPT_WIDTH - 3) // 2
    return f"{text[:half]} … {text[-half:]}"


def excerpt(lines: Sequence[str]) -> tuple[str, ...]:
    """The last lines that say something, each cut to a width that a terminal can take."""
    return tuple(_shortened(line) for line in lines if line.strip())[-EXCERPT_LINES:]


@dataclass(frozen=True)
class ReachedStep:
    """The last step that an engine announced: its stage and number from 1, and the text as the engine prints it."""

    stage: int
    number: int
    text: str


_STEP = re.compile(r"(?:\[(\d+)/\d+\] )?STEP (\d+)(?:/\d+)?: (.*)\Z")
_FAILED_STEP = re.compile(r'building at STEP "(.*?)": ', re.DOTALL)
_EXIT_STATUS = re.compile(r"exit status (\d+)")
_DISK = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_ENGINE = re.compile(
    r"exec: no command|did not get container create message|runtime .*not found|OCI runtime .*not found|"
    r"could not find .*runtime|unshare.*operation not permitted|no subuid ranges|error creating overlay mount|"
    r"kernel does not support overlay|cannot set up namespace|newuidmap|unknown flag",
    re.IGNORECASE,
)
_DEPENDENCY = re.compile(
    r"no match for argument|unable to find a match|nothing provides|no package .* available|unable to locate package|"
    r"unmet dependencies|no such package|no matching distribution found|could not find a version that satisfies|"
    r"no providers for|failed to download metadata|cannot download repomd|all mirrors were tried|"
    r"could not resolve host|temporary failure in name resolution|temporary failure resolving|failed to fetch|curl error|curl: \(|"
    r"there are no enabled repositories|package \S+ is not signed|gpg check failed|public key for \S+ is not installed|"
    r"scriptlet failed, exit status|error in \w+ scriptlet",
    re.IGNORECASE,
)
_DEPENDENCY_NETWORK = re.compile(
    r"could not resolve host|temporary failure|failed to download metadata|cannot download repomd|all mirrors were tried|"
    r"curl(?: error|:) \((?:6|7|28|35|52|56)\)|timed out",
    re.IGNORECASE,
)
# What curl says of certificates, in the middle of texts that sound like the network.
_DEPENDENCY_CERTIFICATE = re.compile(r"curl(?: error|:) \((?:51|58|60|77|83)\)", re.IGNORECASE)
_LINT = re.compile(r"\bbootc\s+container\s+lint\b")


def last_step(lines: Sequence[str]) -> ReachedStep | None:
    """The last step that the output announces; None before the first."""
    for line in reversed(lines):
        found = _STEP.match(line.strip())
        if found:
            return ReachedStep(int(found.group(1) or 1), int(found.group(2)), found.group(3))
    return None


def _after_last_step(lines: Sequence[str]) -> Sequence[str]:
    starts = [index for index, line in enumerate(lines) if _STEP.match(line.strip())]
    return lines[starts[-1] + 1 :] if starts else lines


def build_failure(
    source: StepSource, lines: Sequence[str], exit_code: int, image: str, authfile: str | None
) -> BuildFailure:
    """Why an engine's build failed, from its output and exit code.

    `image` is the base that was pulled, for the message about a pull that failed.
    """
    reached = last_step(lines)
    instruction = _instruction(source.containerfile, reached)
    text = "\n".join(lines[-60:])
    title = source.title(instruction)
    step = title or (str(instruction) if instruction else (reached.text if reached else None))
    where = source.place(instruction)
    shown = excerpt(_after_last_step(lines))
    located = BuildFailure(FailureCategory.STEP, "", step=step, line=source.line(instruction), excerpt=shown)
    if _DISK.search(text):
        return replace(
            located,
            category=FailureCategory.DISK,
            message=f"The disk of the build host is full{where}. Free space where it wanted to write (`df -h`; "
            f"`buildah rmi --prune` removes images without a name), then run again. It said: {_disk_line(lines)}",
        )
    errors = "\n".join(
        line for line in lines[-10:] if "Error" in line or "error" in line or line.startswith("subprocess")
    )
    if _ENGINE.search(errors) and "exit status 127" not in errors:
        return replace(
            located,
            category=FailureCategory.ENGINE,
            message=f"The build engine cannot run steps here{where}: {shown[-1] if shown else 'no output'} "
            "Install crun, or set isolation to chroot where containers cannot be started; podman needs crun or runc even then.",
        )
    if reached is None or reached.text.startswith("FROM") or _pull_failed(errors):
        named = instruction.words[0] if instruction and instruction.keyword == "FROM" else image
        pull = registry_failure(FailureCategory.BASE_PULL, "pull", image or named, errors or text, authfile)
        if registry_trouble(errors or text) is not RegistryTrouble.OTHER:
            return replace(pull, step=step, line=located.line, excerpt=shown)
        return replace(
            located,
            category=FailureCategory.ENGINE if reached is None else FailureCategory.BASE_PULL,
            message=f"The build failed before its first step{where}: {shown[-1] if shown else 'no output'}",
        )
    said = f"Could not {title}: the step" if title else f"The step `{(step or reached.text)[:200]}`"
    return _step_failure(located, said, reached.text, where, text, errors, exit_code)


def _disk_line(lines: Sequence[str]) -> str:
    """The first line that tells of the full disk; what follows it is often only a consequence."""
    return _shortened(next((line for line in lines[-60:] if _DISK.search(line)), ""))


def _step_failure(
    located: BuildFailure, subject: str, step: str, where: str, text: str, errors: str, exit_code: int
) -> BuildFailure:
    status = _EXIT_STATUS.search(errors)
    ended = f"exited with status {status.group(1)}" if status else f"failed (engine exit code {exit_code})"
    said = _last_words(located.excerpt)
    if _LINT.search(step):
        return replace(
            located,
            category=FailureCategory.LINT,
            message=f"bootc container lint found something that a host could not boot or keep{where}. {said}",
        )
    message = f"{subject}{where} {ended}. {said}"
    if step.upper().startswith("RUN") and _DEPENDENCY.search(text):
        return replace(
            located,
            category=FailureCategory.DEPENDENCY,
            message=f"{message} A package, or the repository it comes from, could not be had.",
            retryable=bool(_DEPENDENCY_NETWORK.search(text)) and not _DEPENDENCY_CERTIFICATE.search(text),
        )
    return replace(located, message=message)


def _last_words(shown: Sequence[str]) -> str:
    """The last line that the step itself printed, or what the engine says about it."""
    own = [line for line in shown if not line.startswith(("Error:", "subprocess exited", "error building"))]
    if own:
        return f"Its last words: {own[-1]}"
    return shown[-1] if shown else "It printed nothing."


def _pull_failed(errors: str) -> bool:
    return bool(
        re.search(r"initializing source docker://|unable to pull|reading manifest|pinging container registry", errors)
    )


def _instruction(containerfile: Containerfile, reached: ReachedStep | None) -> Instruction | None:
    """The user's instruction behind a step.

    The count is trusted where the keyword agrees; a base with ONBUILD triggers shifts it, then the text decides.
    """
    if reached is None:
        return None
    keyword = reached.text.split(" ", 1)[0].upper()
    counted = containerfile.instruction_of_step(reached.stage, reached.number)
    if counted is not None and counted.keyword == keyword:
        return counted
    stages = containerfile.stages
    steps = stages[reached.stage - 1].steps if reached.stage <= len(stages) else ()
    wanted = "".join(reached.text.split())
    return next((step for step in steps if "".join(str(step).split()) == wanted), None)
