# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a repository behind http(s): the hash of its repodata/repomd.xml, which names every other file by hash."""

from __future__ import annotations

import hashlib
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    BuildError,
    BuildFailure,
    FailureCategory,
)

SECONDS = 30.0
LARGEST = 16 * 1024 * 1024
_CHUNK = 65536


class _TooLong(Exception):
    """The server was slower, or sent more, than a repository's index justifies."""


def index_hash(
    name: str, address: str, ca_file: Path | None, client: tuple[Path, Path] | None, seconds: float = SECONDS
) -> str:
    """64 hexadecimal digits. `client` is a certificate and its key. Proxies are those of the environment.

    Raises BuildError of category dependency, retryable where the network or the server was it.
    """
    url = f"{address}/repodata/repomd.xml"
    try:
        content = _fetch(url, ca_file, client, seconds)
    except urllib.error.HTTPError as error:
        raise _unusable(name, url, f"HTTP status {error.code}", _advice(error.code), _is_passing(error.code)) from error
    except ssl.SSLError as error:
        raise _untrusted(name, url, str(error)) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            raise _untrusted(name, url, str(error.reason)) from error
        raise _unreachable(name, url, str(error.reason)) from error
    except (OSError, _TooLong) as error:
        raise _unreachable(name, url, str(error)) from error
    except ValueError as error:
        raise _unusable(name, url, str(error), "Check its baseurl.", False) from error
    if b"<repomd" not in content:
        advice = "What is there is no index of a repository: check baseurl, or whether a proxy answers in its place."
        raise _unusable(name, url, "an answer", advice, False)
    return hashlib.sha256(content).hexdigest()


def _fetch(url: str, ca_file: Path | None, client: tuple[Path, Path] | None, seconds: float) -> bytes:
    end = time.monotonic() + seconds
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    if client:
        context.load_cert_chain(str(client[0]), str(client[1]))
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    content = b""
    with opener.open(url, timeout=seconds) as answer:
        while True:
            chunk = answer.read1(_CHUNK)
            if not chunk:
                return content
            content += chunk
            if time.monotonic() > end:
                raise _TooLong(f"it was not there in whole after {seconds:.0f} s")
            if len(content) > LARGEST:
                raise _TooLong(f"it has more than {LARGEST} bytes")


def _is_passing(status: int) -> bool:
    return status >= 500 or status == 429


def _advice(status: int) -> str:
    if status in (401, 403):
        return "It wants a login or a client certificate: give it credentials and a snapshot, or sslclientcert and sslclientkey."
    if _is_passing(status):
        return "The server has trouble. Run again later."
    return "Check its baseurl: the directory meant is the one that has repodata in it."


def _untrusted(name: str, url: str, said: str) -> BuildError:
    advice = "Name the file of its CA in sslcacert, or the client certificate that it wants in sslclientcert and sslclientkey."
    return _unusable(name, url, said, advice, False)


def _unreachable(name: str, url: str, said: str) -> BuildError:
    advice = "Check that the build host reaches it, and its proxy settings; or give the repository a snapshot."
    return _unusable(name, url, said, advice, True)


def _unusable(name: str, url: str, said: str, advice: str, retryable: bool) -> BuildError:
    message = f"The repository {name} cannot be used: {url} gave: {said}. {advice}"
    return BuildError(BuildFailure(FailureCategory.DEPENDENCY, message, retryable=retryable))
