# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody wants of a host's kernel arguments, and what that makes of a command line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.imagemode.nodes.plugins.module_utils._core.kernel_arguments import (
    MACHINE_KEYS,
    ArgumentsNotUnderstood,
    KernelArguments,
    key_of,
    require_word,
)

_OWNER = re.compile(r"[A-Za-z0-9_-]{1,64}")


class InvalidWish(ValueError):
    """A wish that contradicts itself or cannot be understood; nothing was done for it."""


@dataclass(frozen=True)
class KargsWish:
    """Words to be there, words to be away, and keys with all their words in order.

    `absent` with a key alone means the key with every value; with a value only that word. `exact` holds whole words
    per key; an empty tuple wants the key away. `exclusive`: what `owner` set before and does not list here goes away.
    """

    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    exact: tuple[tuple[str, tuple[str, ...]], ...] = ()
    owner: str | None = None
    exclusive: bool = False

    @classmethod
    def of(
        cls,
        present: Sequence[object] = (),
        absent: Sequence[object] = (),
        exact: Mapping[str, object] | None = None,
        owner: str | None = None,
        exclusive: bool = False,
    ) -> KargsWish:
        """From a module's options; a value of `exact` that is null or empty is the key alone. Raises InvalidWish."""
        wish = cls(
            tuple(dict.fromkeys(_word("present", word) for word in present)),
            tuple(dict.fromkeys(_word("absent", word) for word in absent)),
            tuple((_key(key), _values(key, values)) for key, values in (exact or {}).items()),
            owner,
            exclusive,
        )
        wish._require_sense()
        return wish

    @property
    def listed(self) -> tuple[str, ...]:
        """The words that this wish wants to be there."""
        return (*self.present, *(word for _key_, words in self.exact for word in words))

    def __bool__(self) -> bool:
        return bool(self.present or self.absent or self.exact or self.exclusive)

    def leaving(self, owned_before: Collection[str]) -> tuple[str, ...]:
        """What the owner set before and no longer lists; nothing unless the wish is exclusive."""
        return tuple(word for word in owned_before if word not in self.listed) if self.exclusive else ()

    def apply(
        self, current: KernelArguments, owned_before: Collection[str] = (), keep: Collection[str] = ()
    ) -> KernelArguments:
        """The command line as wished; the same again if it is so already. Words of others keep their place.

        `owned_before` is what this owner set in earlier runs; of that, `keep` is what others need as well.
        """
        gone = [word for word in self.leaving(owned_before) if word not in keep]
        result = current.without_words(gone)
        for word in self.absent:
            result = result.without_words([word]) if "=" in word else result.without_key(word)
        result = result.with_each_once(self.present)
        for key, words in self.exact:
            result = _with_exactly(result, key, words)
        return result

    def met_by(
        self, arguments: KernelArguments, owned_before: Collection[str] = (), keep: Collection[str] = ()
    ) -> bool:
        """Whether there is nothing left to do on this command line."""
        return self.apply(arguments, owned_before, keep) == arguments

    def owned_after(self, owned_before: Sequence[str], *still_on: KernelArguments) -> tuple[str, ...]:
        """What to remember for the owner: what it lists, and what it set before as long as any of these command lines has it.

        A word that leaves is remembered until no boot can bring it back unnoticed; then it may become somebody else's.
        """
        words = [word for word in owned_before if any(word in arguments.words for arguments in still_on)]
        return tuple(dict.fromkeys((*self.listed, *words)))

    def _require_sense(self) -> None:
        if self.exclusive and not self.owner:
            raise InvalidWish("exclusive needs an owner: it takes away what this owner set before and no longer lists.")
        if self.owner is not None and not _OWNER.fullmatch(self.owner):
            raise InvalidWish(
                f"owner is {self.owner!r}. Use letters, digits, - and _ only, at most 64: it becomes a file name and a key "
                "of boot loader entries."
            )
        if not self:
            raise InvalidWish(
                "Nothing is asked for: give present, absent or exact, or an owner with exclusive to take all of its arguments away."
            )
        for word in (*self.listed, *self.absent, *(key for key, _words in self.exact)):
            if key_of(word) in MACHINE_KEYS:
                raise InvalidWish(f"{word!r} is written by the boot loader or by ostree itself and cannot be managed.")
        exact = {key for key, _words in self.exact}
        takes_root = any(key_of(word) == "root" for word in self.absent) or ("root", ()) in self.exact
        if takes_root and not any(key_of(word) == "root" for word in self.listed):
            raise InvalidWish(
                "root= says where the system is: without it the node would not boot. Use exact to give it another value."
            )
        for word in (*self.present, *self.absent):
            if key_of(word) in exact:
                raise InvalidWish(
                    f"{word!r} is listed, and exact already says everything about {key_of(word)!r}. Say it in one place."
                )
        for word in self.present:
            if word in self.absent or key_of(word) in self.absent:
                raise InvalidWish(
                    f"{word!r} is wanted present, and absent ({key_of(word)!r} without a value means every value). "
                    f"For one value instead of all others use exact: {{{key_of(word)}: [...]}}."
                )


def _word(option: str, word: object) -> str:
    try:
        return require_word(str(word))
    except ArgumentsNotUnderstood as failure:
        raise InvalidWish(f"{option}: {failure}.") from None


def _key(key: object) -> str:
    name = str(key)
    if "=" in name or '"' in name:
        raise InvalidWish(f"exact: {name!r} is not the name of an argument; values belong into its list.")
    return _word("exact", name)


def _values(key: object, values: object) -> tuple[str, ...]:
    listed = values if isinstance(values, (list, tuple)) else [values]
    return tuple(_value(str(key), value) for value in listed)


def _value(key: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
        raise InvalidWish(
            f"exact: a value of {key!r} is {value!r}. Write values as text in quotes, so that YAML does not turn "
            "on, off, yes and no into something else; null is the argument without a value."
        )
    text = "" if value is None else str(value)
    if not text:
        return key
    if '"' not in text and (" " in text or "\t" in text):
        text = f'"{text}"'
    return _word("exact", f"{key}={text}")


def _with_exactly(arguments: KernelArguments, key: str, words: tuple[str, ...]) -> KernelArguments:
    """With just these words of the key, in this order. What stands right already stays where it is; the rest goes to the end."""
    kept, waiting = [], list(words)
    for word in arguments.words:
        if key_of(word) != key:
            kept.append(word)
        elif waiting and word == waiting[0]:
            kept.append(waiting.pop(0))
    return KernelArguments((*kept, *waiting))
