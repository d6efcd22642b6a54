# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a built image that can be seen from its files alone, without bootc.

What `bootc container lint` fails for is an error here too, under the same name, and what it warns of is a warning (bootc 1.16.9
crates/lib/src/lints.rs). Errors of our own are what would keep a host from booting, give every host the same identity, or
publish a credential.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping

from ansible_collections.imagemode.nodes.plugins.module_utils._core.file_tree import FileTree, FileType
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_finding import (
    CheckedImage,
    Finding,
    Severity,
    error,
    examples,
    warning,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_leftovers import leftovers
from ansible_collections.imagemode.nodes.plugins.module_utils._core.kargs_d import (
    KargsFileNotUnderstood,
    image_arguments,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.layer_tree import resolve_path
from ansible_collections.imagemode.nodes.plugins.module_utils._core.var_content import var_content

__all__ = ["Finding", "Severity", "check_image"]

MODULES = "/usr/lib/modules"
KARGS_D = "/usr/lib/bootc/kargs.d"
BOOTABLE_LABELS = ("containers.bootc", "ostree.bootable")
API_DIRECTORIES = ("/dev", "/proc", "/sys", "/run", "/tmp", "/var")  # noqa: S108 # of the image
LINKS_INTO_VAR = ("/home", "/root", "/opt", "/srv", "/mnt", "/usr/local")


def check_image(
    tree: FileTree, read: Callable[[str], bytes], labels: Mapping[str, str], base: FileTree | None = None
) -> tuple[Finding, ...]:
    """What is to be said about an image, errors first. `read` gives the content of a path of the tree.

    With the tree of its base, what the base had already is left out: whoever builds on it cannot change it.
    """
    image = CheckedImage(tree, read, labels, base)
    checks = (_kernel, _kargs_d, _boot, _layout, _names, leftovers, var_content)
    found = [finding for check in checks for finding in check(image)]
    return tuple(sorted(found, key=lambda finding: finding.severity is not Severity.ERROR))


def _kernels(tree: FileTree, modules: list[str]) -> list[str]:
    """The directories in which a kernel is."""
    return [path for path in modules if resolve_path(tree, f"{path}/vmlinuz") is not None]


def _is_bootable(image: CheckedImage, kernels: list[str]) -> bool:
    return bool(kernels) or any(image.labels.get(label) for label in BOOTABLE_LABELS)


def _kernel(image: CheckedImage) -> Iterator[Finding]:
    directories = [entry.path for entry in image.children(MODULES) if entry.type is FileType.DIRECTORY]
    kernels = _kernels(image.tree, directories)
    if not _is_bootable(image, kernels):
        return
    had = None if image.base is None else _kernels(image.base, [path for path in directories if path in image.base])
    if not kernels:
        if image.base is None or _has_kernel(image.base):
            yield error(
                "kernel",
                MODULES,
                "the image is labelled as bootable, but has no kernel: there is no vmlinuz in any directory here. A step removed "
                "it: install a kernel in the same step that removes one, or do not remove it.",
            )
        return
    if len(kernels) > 1 and had != kernels:
        versions = ", ".join(posixpath.basename(path) for path in kernels)
        yield error(
            "kernel",
            MODULES,
            f"there are {len(kernels)} kernels ({versions}), and bootc refuses an image that has not exactly one. Remove the "
            "packages of the others in the step that installs a kernel, such as `dnf -y remove kernel kernel-core`.",
        )
    for path in kernels:
        yield from _initramfs(image, path)
    for path in directories:
        if path not in kernels and had is not None and image.added(path) and any(image.below(path)):
            yield warning(
                "kernel",
                path,
                "modules lie here for a kernel that is not in the image, so nothing loads them. Install the modules that "
                f"belong to {', '.join(posixpath.basename(kernel) for kernel in kernels)}.",
            )


def _has_kernel(tree: FileTree) -> bool:
    return any(path.startswith(f"{MODULES}/") and path.count("/") == 5 and path.endswith("/vmlinuz") for path in tree)


def _initramfs(image: CheckedImage, directory: str) -> Iterator[Finding]:
    initramfs, kernel = f"{directory}/initramfs.img", f"{directory}/vmlinuz"
    entry = image.tree.get(initramfs)
    missing = entry is None or (entry.type is FileType.FILE and entry.size == 0)
    if missing and (image.added(initramfs) or image.added(kernel)):
        version = posixpath.basename(directory)
        yield error(
            "kernel",
            initramfs,
            "it is missing or empty, so this kernel would find no root file system. Make it after the last step that touches "
            f"kernel modules: `dracut --force --no-hostonly --kver {version} {initramfs}`.",
        )


def _kargs_d(image: CheckedImage) -> Iterator[Finding]:
    for entry in image.children(KARGS_D):
        if not image.added(entry.path):
            continue
        name = posixpath.basename(entry.path)
        if entry.type is FileType.DIRECTORY or not name.endswith(".toml") or name == ".toml":
            yield warning(
                "bootc-kargs",
                entry.path,
                "bootc does not read it: only files whose names end in .toml count, and no directories. Rename it, or remove it.",
            )
        else:
            yield from _kargs_file(image, entry.path, name)
    ignored = [entry.path for entry in image.added_below("/etc/bootc/kargs.d") if entry.type is not FileType.DIRECTORY]
    if ignored:
        yield warning("bootc-kargs", ignored[0], f"bootc reads kernel arguments from {KARGS_D} only. Move it there.")


def _kargs_file(image: CheckedImage, path: str, name: str) -> Iterator[Finding]:
    wanted = 'It must read like `kargs = ["nosmt", "console=ttyS0"]`. A host would refuse the whole image.'
    try:
        text = image.text(path)
        if text is None:
            yield error("bootc-kargs", path, f"it is a link that leads to no file. {wanted}")
        else:
            image_arguments({name: text}, "x86_64")
    except UnicodeDecodeError:
        yield error("bootc-kargs", path, f"it is not UTF-8 text. {wanted}")
    except KargsFileNotUnderstood as failure:
        yield error("bootc-kargs", path, f"{str(failure).partition(': ')[2]}. {wanted}")


def _boot(image: CheckedImage) -> Iterator[Finding]:
    # /boot/EFI is where a unified kernel image lies, which bootc accepts
    found = [entry.path for entry in image.children("/boot") if entry.path != "/boot/EFI" and image.added(entry.path)]
    if found:
        yield warning(
            "nonempty-boot",
            "/boot",
            f"{examples(found)} will be hidden on a host, where /boot is a partition of its own. What boots is in {MODULES}; "
            "empty it in the step that fills it: `rm -rf /boot/*`.",
        )


def _layout(image: CheckedImage) -> Iterator[Finding]:
    if image.type_of("/etc") is not None and image.type_of("/usr/etc") is not None and image.added("/usr/etc"):
        yield error(
            "etc-usretc",
            "/usr/etc",
            "there is an /etc too. bootc makes /usr/etc from /etc itself and refuses an image with both. Write to /etc.",
        )
    if image.type_of("/var/run") not in (None, FileType.LINK) and image.added("/var/run"):
        yield error(
            "var-run", "/var/run", "it must be a link to /run. Restore it: `rm -rf /var/run; ln -s ../run /var/run`."
        )
    for path in LINKS_INTO_VAR:
        was = image.base.get(path) if image.base is not None else None
        if was is not None and was.type is FileType.LINK and image.added(path):
            yield warning(
                "links-into-var",
                path,
                f"it was a link to {was.target} in the base, and is something else now: what a host writes there does not "
                "last. Leave the link as it is; a package that owns the directory can be told by a `mkdir` of its target first.",
            )
    if not _has_kernel(image.tree) and not _is_bootable(image, []):
        return
    for path in API_DIRECTORIES:
        if image.type_of(path) is not FileType.DIRECTORY and image.added(path):
            yield error("api-base-directories", path, "it must be there as a directory. Restore it with mkdir.")
    ostree = image.tree.get("/ostree")
    if image.type_of("/sysroot") is not FileType.DIRECTORY and image.added("/sysroot"):
        yield error("baseimage-root", "/sysroot", "it must be there as a directory. Restore it with mkdir.")
    if (ostree is None or ostree.target != "sysroot/ostree") and image.added("/ostree"):
        yield error("baseimage-root", "/ostree", "it must be a link: `ln -s sysroot/ostree /ostree`.")


def _names(image: CheckedImage) -> Iterator[Finding]:
    def is_utf8(text: str) -> bool:
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
        return True

    odd = [
        path
        for path, entry in image.tree.items()
        if not (is_utf8(posixpath.basename(path)) and is_utf8(entry.target or "")) and image.added(path)
    ]
    if odd:
        yield error(
            "utf8",
            sorted(odd)[0],
            f"its name, or where it links to, is not UTF-8, and ostree cannot store that ({len(odd)} such paths). Rename it, or "
            "remove it in the step that makes it.",
        )
