# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the documents of a machine configuration from files and directories."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import InvalidConfig

ENDINGS = (".yaml", ".yml", ".json", ".ign")
_JSON = (".json", ".ign")

YamlLoader = Callable[[str], Sequence[Any]]
"""All documents of a text. Raises ValueError whose message quotes nothing of the text."""


def read_sources(sources: Sequence[Path], load_yaml: YamlLoader) -> list[tuple[str, Any]]:
    """Every document with the name of its file. A directory stands for its files by name, not for those further below.

    Raises InvalidConfig.
    """
    return [document for source in sources for file in _files_of(source) for document in _documents(file, load_yaml)]


def _files_of(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    files = sorted(
        path for path in source.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    )
    if not files:
        raise InvalidConfig(str(source), "", f"the directory has no file that ends in {', '.join(ENDINGS)}")
    return files


def _documents(file: Path, load_yaml: YamlLoader) -> list[tuple[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
        values = [json.loads(text)] if file.suffix.lower() in _JSON else load_yaml(text)
    except OSError as error:
        raise InvalidConfig(str(file), "", f"it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidConfig(str(file), "", "it is no text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidConfig(str(file), "", f"it is not JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise InvalidConfig(str(file), "", "it is nested too deeply") from None
    except ValueError as error:
        raise InvalidConfig(str(file), "", f"it is not YAML: {error}") from None
    return [(file.name, value) for value in values]
