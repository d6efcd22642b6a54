# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every config: how it is cut into documents does not matter, and nothing but InvalidConfig is raised."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_config import IgnitionConfig
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_merge import merge_ignition
from ansible_collections.imagemode.nodes.plugins.module_utils._core.ignition_parse import parse_ignition
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config import (
    InvalidConfig,
    MergedConfig,
    Origin,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.machine_config_merge import merge
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_config_documents import base64_url, base_worker, ignition, machine_config

optional_owner = st.none() | st.fixed_dictionaries({"id": st.integers(0, 3)}) | st.just({"name": "chrony"})
optional_mode = st.none() | st.sampled_from([0o600, 0o644, 0o755])
optional_unit = st.sampled_from([None, "", "[Unit]\n", "[Service]\nUser=a\n"])


def entries(name: str, names: list[str], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    entry = st.fixed_dictionaries({name: st.sampled_from(names), **fields})
    return st.lists(entry, max_size=4, unique_by=lambda found: str(found[name]))


# Every path is of one kind: where a later config makes it another kind, the order of merging does matter.
files = entries(
    "path",
    ["/etc/a", "/etc/b", "/etc/c"],
    contents=st.none() | st.binary(max_size=3).map(lambda data: {"source": base64_url(data)}),
    mode=optional_mode,
    user=optional_owner,
)
directories = entries("path", ["/etc/d", "/etc/e"], mode=optional_mode, group=optional_owner)
links = entries(
    "path", ["/etc/l", "/etc/m"], target=st.sampled_from(["/x", "/y"]), hard=st.sampled_from([None, True, False])
)
units = entries(
    "name",
    ["a.service", "b.timer"],
    contents=optional_unit,
    enabled=st.sampled_from([None, True, False]),
    mask=st.sampled_from([None, True, False]),
    dropins=entries("name", ["a.conf", "b.conf"], contents=optional_unit),
)
users = entries(
    "name", ["core", "root"], sshAuthorizedKeys=st.lists(st.sampled_from(["k 1", "k 2", "k 3"]), unique=True)
)
configs = st.builds(
    lambda files, directories, links, units, users: ignition(
        storage={"files": files, "directories": directories, "links": links},
        systemd={"units": units},
        passwd={"users": users},
    ),
    *(files, directories, links, units, users),
)


def parsed(config: Any, name: str) -> IgnitionConfig:
    return parse_ignition(config, Origin(name, ""))


@given(configs, configs, configs)
def test_merging_is_associative(first: Any, second: Any, third: Any) -> None:
    a, b, c = parsed(first, "a"), parsed(second, "b"), parsed(third, "c")
    assert merge_ignition(merge_ignition(a, b), c) == merge_ignition(a, merge_ignition(b, c))


@given(configs)
def test_merging_with_nothing_and_with_itself_changes_nothing(config: Any) -> None:
    a = parsed(config, "a")
    assert merge_ignition(a, IgnitionConfig()) == a
    assert merge_ignition(IgnitionConfig(), a) == a
    assert merge_ignition(a, a) == a


def without_origins(config: MergedConfig) -> dict[str, Any]:
    """The merged config by path and name: pieces that come from two documents may be in another order."""

    def bare(value: Any) -> Any:
        plain = dataclasses.asdict(value)
        del plain["origin"]
        return plain

    found: dict[str, Any] = {
        kind: {getattr(entry, key): bare(entry) for entry in getattr(config, kind)}
        for kind, key in (
            ("files", "path"),
            ("directories", "path"),
            ("links", "path"),
            ("units", "name"),
            ("ssh_keys", "user"),
        )
    }
    return {**found, "kernel_arguments": config.kernel_arguments, "extensions": config.extensions}


@given(configs, st.lists(st.sampled_from(["a=1", "a=2", "quiet"])), st.data())
def test_a_document_may_be_cut_in_two(config: Any, arguments: list[str], data: st.DataObject) -> None:
    """Entry by entry, anywhere: the pieces say together what the whole says."""
    pieces: list[dict[str, Any]] = [
        ignition(storage={}, systemd={}, passwd={}),
        ignition(storage={}, systemd={}, passwd={}),
    ]
    for section in ("storage", "systemd", "passwd"):
        for kind, whole in config[section].items():
            for entry in whole:
                piece = pieces[data.draw(st.integers(0, 1), label=str(entry))]
                piece[section].setdefault(kind, []).append(entry)
    cut = data.draw(st.integers(0, len(arguments)))
    one = machine_config("1", config, kernelArguments=arguments)
    two = [
        machine_config(name, piece, kernelArguments=words)
        for name, piece, words in zip(("1", "2"), pieces, (arguments[:cut], arguments[cut:]))
    ]
    whole = _merged_or_refused([("one", one)])
    cut_up = _merged_or_refused([("two", document) for document in two])
    if whole is None or cut_up is None:
        assert whole is cut_up
    else:
        assert without_origins(cut_up) == without_origins(whole)


@given(st.permutations(["05-a", "10-b", "10-c", "99-d"]), st.lists(configs, min_size=4, max_size=4))
def test_the_order_in_which_documents_are_given_does_not_matter(order: list[str], contents: list[Any]) -> None:
    documents = dict(zip(sorted(order), contents))
    given_so = _merged_or_refused([(name, machine_config(name, documents[name])) for name in order])
    assert given_so == _merged_or_refused([(name, machine_config(name, documents[name])) for name in sorted(order)])


def _merged_or_refused(documents: list[tuple[str, Any]]) -> MergedConfig | None:
    try:
        return merge(documents, "worker", ())
    except InvalidConfig:
        return None


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.characters(categories=["Cs"])
)
names = st.sampled_from(
    [
        *(
            "ignition",
            "version",
            "config",
            "merge",
            "replace",
            "source",
            "storage",
            "files",
            "path",
            "contents",
            "mode",
        ),
        *("systemd", "units", "name", "dropins", "passwd", "users", "kernelArguments", "shouldExist", "variant"),
        *("kind", "apiVersion", "metadata", "labels", "spec", "items", "verification", "hash", "extensions"),
    ]
)
anything = st.recursive(
    scalars, lambda below: st.lists(below, max_size=4) | st.dictionaries(names | scalars, below, max_size=5)
)


@given(anything)
def test_any_document_is_read_or_refused(document: Any) -> None:
    _merged_or_refused([("any.yaml", document)])


@given(anything, st.data())
@settings(max_examples=300)
def test_anything_in_any_place_of_a_real_document_is_read_or_refused(value: Any, data: st.DataObject) -> None:
    document = copy.deepcopy(base_worker())
    container: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(container) if isinstance(container, dict) else range(len(container))))
        below = container[key]
        if not isinstance(below, (dict, list)) or not below or data.draw(st.integers(0, 4)) == 0:
            break
        container = below
    container[key] = value
    _merged_or_refused([("any.yaml", document)])
