# SPDX-License-Identifier: GPL-3.0-or-later
"""`rpm-ostree install`, `uninstall`, `override`, `initramfs`, `initramfs-etc`, `reset` and `refresh-md`: local changes."""

from __future__ import annotations

from lab.simulators import layering, sysroot
from lab.simulators import package_repository as packages
from lab.simulators.rpm_ostree_arguments import Arguments
from lab.simulators.rpm_ostree_client import UNCHANGED, Client
from lab.simulators.rpm_ostree_transaction import RpmOstreeError
from lab.simulators.state import LOCAL_CHANGES

TYPE_CHECKING = False  # typing is slow to import, and every simulated command would pay for it
if TYPE_CHECKING:
    from typing import Any

FLAGS = (
    *("--idempotent", "--allow-inactive", "--assumeyes", "-y", "--unchanged-exit-77", "--reboot", "-r"),
    *("--lock-finalization", "--apply-live", "-A", "--cache-only", "-C", "--dry-run", "-n", "--download-only"),
)
RESET_PARTS = {
    ("-l", "--overlays"): ("packages", "local-packages"),
    ("-o", "--overrides"): ("override-remove", "override-replace-local"),
    ("-i", "--initramfs"): ("regenerate-initramfs", "initramfs-args", "initramfs-etc"),
}


def install(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, FLAGS, ("--uninstall", "--os"))
    _refuse_nothing(given)
    return client.transaction("PkgChange", lambda: _install(client, given))


def uninstall(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, FLAGS, ("--install", "--os"))
    _refuse_nothing(given)
    return client.transaction("PkgChange", lambda: _uninstall(client, given))


def _refuse_nothing(given: Arguments) -> None:
    if not given.words:
        raise RpmOstreeError("At least one PACKAGE must be specified")
    if given.flags & {"--apply-live", "-A"} and given.flags & {"--reboot", "-r"}:
        raise RpmOstreeError("Cannot specify `apply-live` and `reboot`")


def _is_file(word: str) -> bool:
    return word.endswith(".rpm") or "/" in word


def _install(client: Client, given: Arguments) -> int:
    host, pending = client.host, sysroot.pending(client.host)
    origin = dict(pending.origin)
    _remove_requests(origin, given.values.get("--uninstall", []), given)
    requested, local = list(origin.get("packages", [])), list(origin.get("local-packages", []))
    base_packages = packages.of_image(host, pending.base)
    for word in given.words:
        if _is_file(word):
            _add(local, _read_file(client, word), "Package '{}' is already layered", given)
            continue
        provider = packages.provider(word, base_packages)
        if provider is not None and "--allow-inactive" not in given.flags:
            raise RpmOstreeError(
                f'"{word}" is already provided by: {provider}. Use --allow-inactive to explicitly require it.'
            )
        _add(requested, word, "Package/capability '{}' is already requested", given)
    origin |= {"packages": sorted(requested), "local-packages": sorted(local)}
    return _change(client, origin, given, fresh=True)


def _add(present: list[str], new: str, already: str, given: Arguments) -> None:
    if new not in present:
        present.append(new)
    elif "--idempotent" not in given.flags:
        raise RpmOstreeError(already.format(new))


def _read_file(client: Client, word: str) -> str:
    place = client.host.resolve(word) if word.startswith("/") else None
    try:
        return packages.local_file(place or "", word)
    except packages.NoSuchPackages as error:
        raise RpmOstreeError(str(error)) from error


def _uninstall(client: Client, given: Arguments) -> int:
    origin = dict(sysroot.pending(client.host).origin)
    _remove_requests(origin, given.words, given)
    fresh = bool(given.values.get("--install"))
    if fresh:
        origin["packages"] = sorted({*origin.get("packages", []), *given.values["--install"]})
    return _change(client, origin, given, fresh=fresh)


def _remove_requests(origin: dict[str, Any], words: list[str], given: Arguments) -> None:
    for word in words:
        for key in ("packages", "local-packages"):
            names = [one for one in origin.get(key, []) if word in (one, one.rsplit("-", 2)[0])]
            if names and (key == "local-packages" or word in names):
                origin[key] = [one for one in origin[key] if one not in names]
                break
        else:
            if "--idempotent" not in given.flags:
                raise RpmOstreeError(f"Package/capability '{word}' is not currently requested")


def _change(client: Client, origin: dict[str, Any], given: Arguments, *, fresh: bool = False) -> int:
    """Stage the pending base with another origin; says ``No change.`` when it is not another one."""
    host, pending = client.host, sysroot.pending(client.host)
    origin = {key: value for key, value in origin.items() if value or key not in LOCAL_CHANGES}
    same = origin == {key: value for key, value in pending.origin.items() if value or key not in LOCAL_CHANGES}
    live = bool(given.flags & {"--apply-live", "-A"})
    dry = bool(given.flags & {"--dry-run", "-n"})
    if same or dry:
        if fresh:
            layering.refuse_if_locked(host)
            layering.resolve(host, pending.base, origin, fresh=True)
        if same:
            print("No change.")
        return UNCHANGED if same and "--unchanged-exit-77" in given.flags else 0
    checksum = layering.assemble(host, pending.base, origin, fresh=fresh)
    if "--download-only" in given.flags:
        print("Update downloaded.")
        return 0
    client.stage(checksum, pending.base, origin, list(pending.kargs), given)
    if live:
        from lab.simulators.rpm_ostree_live import apply

        return apply(client, sysroot.pending(host), allow_replacement=False)
    layering.print_difference(host, sysroot.pending(host))
    return client.queued(given)


def override(client: Client, argv: list[str]) -> int:
    verb = argv[0] if argv else ""
    given = Arguments(argv[1:], (*FLAGS, "--all", "-a"), ("--remove", "--install", "--uninstall", "--os"))
    verbs = {"remove": _override_remove, "replace": _override_replace, "reset": _override_reset}
    if verb not in verbs:
        raise RpmOstreeError(f"Unknown command '{verb}'" if verb else "No command specified")
    if not given.words and "--all" not in given.flags and "-a" not in given.flags:
        raise RpmOstreeError("At least one PACKAGE must be specified")

    def work() -> int:
        origin = dict(sysroot.pending(client.host).origin)
        verbs[verb](client, origin, given)
        return _change(client, origin, given)

    return client.transaction("PkgChange", work)


def _override_remove(client: Client, origin: dict[str, Any], given: Arguments) -> None:
    in_image = packages.of_image(client.host, sysroot.pending(client.host).base)
    removed = list(origin.get("override-remove", []))
    for word in given.words:
        nevra = packages.provider(word, in_image)
        if nevra is None:
            raise RpmOstreeError(f'Package "{word}" not found')
        if packages.name_of(nevra) in removed:
            raise RpmOstreeError(f"Override already exists for package '{packages.name_of(nevra)}'")
        removed.append(packages.name_of(nevra))
    origin["override-remove"] = sorted(removed)


def _override_replace(client: Client, origin: dict[str, Any], given: Arguments) -> None:
    in_image = packages.of_image(client.host, sysroot.pending(client.host).base)
    replaced = list(origin.get("override-replace-local", []))
    for word in given.words:
        if not _is_file(word):
            raise RpmOstreeError("Non-local replacement overrides not implemented yet")
        nevra = _read_file(client, word)
        if packages.provider(packages.name_of(nevra), in_image) is None:
            raise RpmOstreeError(f"Package '{packages.name_of(nevra)}' not found in base")
        if nevra in replaced:
            raise RpmOstreeError(f"Override already exists for package '{nevra}'")
        replaced = [one for one in replaced if packages.name_of(one) != packages.name_of(nevra)]
        replaced.append(nevra)
    origin["override-replace-local"] = sorted(replaced)


def _override_reset(_client: Client, origin: dict[str, Any], given: Arguments) -> None:
    if given.flags & {"--all", "-a"}:
        origin |= {"override-remove": [], "override-replace-local": []}
        return
    for word in given.words:
        for key in ("override-remove", "override-replace-local"):
            names = [one for one in origin.get(key, []) if word in (one, one.rsplit("-", 2)[0])]
            if names:
                origin[key] = [one for one in origin[key] if one not in names]
                break
        else:
            raise RpmOstreeError(f"No overrides for package '{word}'")


def initramfs(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, ("--enable", "--disable", "--reboot", "-r", "--lock-finalization"), ("--arg", "--os"))
    origin = dict(sysroot.pending(client.host).origin)
    enabled, arguments = bool(origin.get("regenerate-initramfs")), given.values.get("--arg", [])
    if not given.flags & {"--enable", "--disable"}:
        if given.flags & {"--reboot", "-r"}:
            raise RpmOstreeError("--reboot must be used with --enable or --disable")
        if arguments:
            raise RpmOstreeError("--arg must be used with --enable")
        print(f"Initramfs regeneration: {'enabled' if enabled else 'disabled'}")
        if origin.get("initramfs-args"):
            print(f"Initramfs args: {' '.join(origin['initramfs-args'])} ")
        return 0
    if given.flags >= {"--enable", "--disable"}:
        raise RpmOstreeError("Cannot simultaenously specify --enable and --disable")
    wanted = "--enable" in given.flags
    if arguments and not wanted:
        raise RpmOstreeError("Cannot simultaenously specify --disable and --arg")
    origin |= {"regenerate-initramfs": wanted, "initramfs-args": arguments}
    if not arguments:
        del origin["initramfs-args"]

    def work() -> int:
        if (wanted, arguments) == (enabled, sysroot.pending(client.host).origin.get("initramfs-args", [])):
            raise RpmOstreeError(f"initramfs regeneration state is already {'enabled' if wanted else 'disabled'}")
        return _change(client, origin, given)

    status = client.transaction("SetInitramfsState", work)
    if status == 0:
        print(f"Initramfs regeneration is now: {'enabled' if wanted else 'disabled'}")
    return status


def initramfs_etc(client: Client, argv: list[str]) -> int:
    given = Arguments(
        argv,
        ("--untrack-all", "--force-sync", "--reboot", "-r", "--lock-finalization", "--unchanged-exit-77"),
        ("--track", "--untrack", "--os"),
    )
    origin = dict(sysroot.pending(client.host).origin)
    tracked = set(origin.get("initramfs-etc", []))
    if not given.values.keys() & {"--track", "--untrack"} and not given.flags & {"--untrack-all", "--force-sync"}:
        if given.flags & {"--reboot", "-r"}:
            raise RpmOstreeError("Cannot use ---reboot without --track, --untrack, --untrack-all, or --force-sync")
        print(
            "Tracked files:\n" + "\n".join(f"  {path}" for path in sorted(tracked)) if tracked else "No tracked files."
        )
        return 0
    wanted = set() if "--untrack-all" in given.flags else tracked - set(given.values.get("--untrack", []))
    for path in given.values.get("--track", []):
        if not path.startswith("/etc/"):
            raise RpmOstreeError(f"Path outside /etc forbidden: {path}")
        wanted.add(path)
    origin["initramfs-etc"] = sorted(wanted)

    def work() -> int:
        if wanted == tracked and "--force-sync" not in given.flags:
            print("No changes.")
            return UNCHANGED if "--unchanged-exit-77" in given.flags else 0
        return _change(client, origin, given)

    return client.transaction("InitramfsEtc", work)


def reset(client: Client, argv: list[str]) -> int:
    switches = tuple(flag for pair in RESET_PARTS for flag in pair)
    given = Arguments(argv, (*switches, "--reboot", "-r", "--lock-finalization"), ("--install", "--uninstall", "--os"))

    def work() -> int:
        pending = sysroot.pending(client.host)
        chosen = [keys for pair, keys in RESET_PARTS.items() if given.flags & set(pair)] or list(RESET_PARTS.values())
        dropped = {key for keys in chosen for key in keys}
        origin = {key: value for key, value in pending.origin.items() if key not in dropped}
        if wanted := given.values.get("--install"):
            origin["packages"] = sorted({*origin.get("packages", []), *wanted})
        return _change(client, origin, given, fresh=bool(wanted))

    return client.transaction("Deploy", work)


def refresh_md(client: Client, argv: list[str]) -> int:
    given = Arguments(argv, ("--force", "-f"), ("--os",))

    def work() -> int:
        try:
            packages.load(client.host, refresh="--force" in given.flags or "-f" in given.flags)
        except packages.RepositoryDown as error:
            raise RpmOstreeError(str(error)) from error
        return 0

    return client.transaction("RefreshMd", work)
