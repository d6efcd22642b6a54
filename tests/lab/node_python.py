# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python for nodes that shall have one: this machine's interpreter, run inside the node's own root.

Image-mode hosts often have none; the benchmark needs one, to compare with Ansible's own modules.
"""

from __future__ import annotations

import glob
import importlib
import os
import sys
from pathlib import Path

from lab import enter

INSIDE = "/.lab/python3"


def launcher(lab: Path) -> Path:
    """The script that is mounted at ``/.lab/python3``, one for all nodes of a lab; written when it is not there yet.

    The machine's dynamic loader is named in full, because nothing of it is at its usual place inside the node.
    """
    path = lab / "python3"
    if path.exists():
        return path
    loaders = sorted(
        glob.glob("/lib64/ld-linux*.so.*") + glob.glob("/lib/ld-linux*.so.*") + glob.glob("/lib/ld64.so.*")
    )
    if not loaders:
        raise FileNotFoundError("this machine has no glibc loader in /lib64 or /lib; nodes cannot have a Python here")
    libraries = ":".join(enter.HOST + directory for directory in _library_directories())
    program = os.path.realpath(sys.executable)
    script = (
        "#!/.lab/busybox sh\n"
        f"export PYTHONHOME={enter.HOST}{sys.base_prefix}\n"
        f'exec {enter.HOST}{os.path.realpath(loaders[0])} --argv0 {INSIDE} --library-path {libraries} {enter.HOST}{program} "$@"\n'
    )
    temporary = path.with_name(f".python3.{os.getpid()}")
    temporary.write_text(script)
    temporary.chmod(0o755)
    temporary.rename(path)
    return path


def _library_directories() -> list[str]:
    """Where the shared libraries of this very process came from, those of extension modules included."""
    for module in ("ctypes", "ssl"):
        importlib.import_module(module)
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
    return sorted({os.path.dirname(os.path.realpath(library)) for library in mapped if library.startswith("/")})
