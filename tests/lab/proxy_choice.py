# SPDX-License-Identifier: GPL-3.0-or-later
"""Which proxy a Go program uses for an address, by its environment (golang.org/x/net/http/httpproxy)."""

from __future__ import annotations

import ipaddress

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from collections.abc import Mapping


def proxy_for(scheme: str, address: str, environment: Mapping[str, str]) -> str | None:
    """The proxy's URL for ``host[:port]``, or None. Loopback addresses and `localhost` are never asked for by proxy."""
    name = f"{scheme.upper()}_PROXY"
    proxy = environment.get(name) or environment.get(name.lower())
    if not proxy:
        return None
    host, _separator, port = address.partition(":")
    if host == "localhost" or _is_loopback(host):
        return None
    excluded = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    port = port or ("443" if scheme == "https" else "80")
    if any(_excludes(rule.strip().lower(), host.lower(), port) for rule in excluded.split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _excludes(rule: str, host: str, port: str) -> bool:
    if not rule:
        return False
    if rule == "*":
        return True
    if "/" in rule:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, _separator, only_port = rule.partition(":")
    if only_port and only_port != port:
        return False
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")
