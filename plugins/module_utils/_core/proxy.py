# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy through which a node reaches registries, for every process that pulls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.imagemode.nodes.plugins.module_utils._core.plan import Refusal

PROXY_FILE = "/etc/imagemode/proxy.env"
"""Only root may read it: systemd shows the Environment= of a unit to every user, but not what is in an EnvironmentFile=."""

PULLING_UNITS = ("rpm-ostreed.service", "bootc-fetch-apply-updates.service")
"""Units that pull by themselves: rpm-ostree's daemon ignores the environment of its callers."""

_URL = re.compile(r"(?:https?|socks5h?)://[^\s\"'\\$`]+\Z")
_HOST = re.compile(r"[A-Za-z0-9.*:/\[\]_-]+\Z")


@dataclass(frozen=True)
class Proxy:
    """Addresses of the proxies; they may hold a password."""

    http: str = field(default="", repr=False)
    https: str = field(default="", repr=False)
    no_proxy: tuple[str, ...] = ()

    @classmethod
    def from_options(cls, http: str | None, https: str | None, no_proxy: Sequence[str]) -> Proxy | None:
        """None if there is no proxy. Raises Refusal, which never repeats an address."""
        for name, url in (("imagemode_http_proxy", http), ("imagemode_https_proxy", https)):
            if url and not _URL.match(url):
                raise Refusal(
                    f"{name} is no address of a proxy, such as http://proxy.example.com:3128. Write blanks, quotes, $ and "
                    "backslashes of a password in percent-encoding."
                )
        for host in no_proxy:
            if not _HOST.match(host):
                raise Refusal(f"imagemode_no_proxy: {host!r} is neither a host, a domain, nor a network.")
        if not http and not https:
            if no_proxy:
                raise Refusal(
                    "imagemode_no_proxy is set, but there is no proxy (imagemode_http_proxy, imagemode_https_proxy)."
                )
            return None
        return cls(http or "", https or "", tuple(no_proxy))

    def environment_file(self) -> str:
        """For EnvironmentFile= of systemd. In both cases, because programs differ in which one they read."""
        pairs = (("http_proxy", self.http), ("https_proxy", self.https), ("no_proxy", ",".join(self.no_proxy)))
        lines = [f'{name}="{value}"' for lower, value in pairs if value for name in (lower, lower.upper())]
        return "# Managed by imagemode.nodes\n" + "\n".join(lines) + "\n"


def drop_in_path(unit: str) -> str:
    """Where the drop-in of a unit is."""
    return f"/etc/systemd/system/{unit}.d/10-imagemode-proxy.conf"


def drop_in() -> str:
    """The drop-in of a unit that pulls."""
    return f"# Managed by imagemode.nodes\n[Service]\nEnvironmentFile=-{PROXY_FILE}\n"
