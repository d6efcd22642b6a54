# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel command line as a value: one tokenizer for everything that reads, compares or changes kernel arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MACHINE_KEYS = frozenset({"BOOT_IMAGE", "composefs", "initrd", "ostree"})
"""What boot loader and ostree write themselves. `ostree=` of a deployment that waits for its boot can be stale, so these
say nothing about what anybody wanted (recorded, rpm-ostree 2026.2)."""

END_OF_KERNEL_WORDS = "--"
"""The kernel hands every word after this one to init."""


class ArgumentsNotUnderstood(ValueError):
    """A text is not a kernel command line, or a word not one kernel argument. The message names the place."""


@dataclass(frozen=True)
class KernelArguments:
    """Words in order, duplicates and words without a value included, each spelled as it stands on the command line.

    Two spellings of one value (`a="b"`, `a=b`) are two words here, because every tool compares whole words.
    """

    words: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> KernelArguments:
        """From a command line, such as /proc/cmdline, with the kernel's own quoting. Raises ArgumentsNotUnderstood."""
        return cls(tuple(split_words(text)))

    def text(self) -> str:
        """The command line; parsing it again gives the same words."""
        return " ".join(self.words)

    @property
    def machine_words(self) -> tuple[str, ...]:
        """The words that boot loader and ostree write, see MACHINE_KEYS."""
        return tuple(word for word in self.words if key_of(word) in MACHINE_KEYS)

    @property
    def without_machine_words(self) -> KernelArguments:
        """The words that somebody wanted: an administrator, an image, an installer."""
        return self._where(lambda word: key_of(word) not in MACHINE_KEYS)

    def same_as(self, other: KernelArguments) -> bool:
        """Whether both have the same words in the same order, leaving the machine's own words aside."""
        return self.without_machine_words.words == other.without_machine_words.words

    def same_words_as(self, other: KernelArguments) -> bool:
        """Whether both have each word equally often, in whatever order, leaving the machine's own words aside."""
        return Counter(self.without_machine_words.words) == Counter(other.without_machine_words.words)

    def missing_from(self, other: KernelArguments) -> tuple[str, ...]:
        """The words of this that `other` has less often, in order, machine words aside."""
        spare = Counter(other.words)
        missing = []
        for word in self.without_machine_words.words:
            if spare[word]:
                spare[word] -= 1
            else:
                missing.append(word)
        return tuple(missing)

    def of_key(self, key: str) -> tuple[str, ...]:
        """The words with this key, with and without a value."""
        return tuple(word for word in self.words if key_of(word) == key)

    def with_appended(self, words: Iterable[str]) -> KernelArguments:
        """With these words at the end, whether they were there already or not."""
        return KernelArguments((*self.words, *words))

    def with_each_once(self, words: Iterable[str]) -> KernelArguments:
        """With those of the words at the end that are not there already."""
        missing = [word for word in dict.fromkeys(words) if word not in self.words]
        return self.with_appended(missing)

    def without_words(self, words: Iterable[str]) -> KernelArguments:
        """Without any occurrence of these exact words."""
        gone = frozenset(words)
        return self._where(lambda word: word not in gone)

    def without_key(self, key: str) -> KernelArguments:
        """Without the words of this key, with and without a value."""
        return self._where(lambda word: key_of(word) != key)

    def _where(self, keep: Callable[[str], bool]) -> KernelArguments:
        return KernelArguments(tuple(word for word in self.words if keep(word)))


def key_of(word: str) -> str:
    """What stands before the first `=`, or the whole word; a quote that opens the word does not belong to the key."""
    return word.lstrip('"').partition("=")[0]


def split_words(text: str) -> list[str]:
    """The words of a command line. A double quote may open and close anywhere in a word, and keeps spaces inside.

    One newline at the end is taken off. Raises ArgumentsNotUnderstood for control characters and an open quote.
    """
    words: list[str] = []
    word, quoted = "", False
    for position, character in enumerate(text[:-1] if text.endswith("\n") else text):
        if character in " \t" and not quoted:
            if word:
                words.append(word)
            word = ""
            continue
        if character < " " or character == "\x7f":
            raise ArgumentsNotUnderstood(
                f"there is a control character ({character!r}) at position {position} of {text[:200]!r}"
            )
        quoted ^= character == '"'
        word += character
    if quoted:
        raise ArgumentsNotUnderstood(f"a double quote is opened and never closed in {text[:200]!r}")
    if word:
        words.append(word)
    return words


def words_as_found(text: str) -> tuple[str, ...]:
    """The words of a command line for showing them: what `split_words` would refuse is split at its spaces."""
    try:
        return tuple(split_words(text))
    except ArgumentsNotUnderstood:
        return tuple(text.split())


def require_word(text: str) -> str:
    """The text, if it is exactly one printable kernel argument; otherwise raises ArgumentsNotUnderstood."""
    if not text.isprintable():
        raise ArgumentsNotUnderstood(f"{text!r} contains characters that cannot be printed")
    words = split_words(text)
    if len(words) != 1 or words[0] != text:
        what = "is empty" if not words else f"is {len(words)} arguments" if len(words) > 1 else "has space around it"
        raise ArgumentsNotUnderstood(
            f"{text!r} {what}; give one argument per list entry, with double quotes around a value that contains spaces"
        )
    if text == END_OF_KERNEL_WORDS or not key_of(text):
        raise ArgumentsNotUnderstood(f"{text!r} is not a kernel argument: it has no name")
    return text


@dataclass(frozen=True)
class Difference:
    """What somebody changed between two command lines, to be made again on a third one."""

    base: KernelArguments
    wanted: KernelArguments

    @property
    def removed(self) -> tuple[str, ...]:
        """The words of `base` that `wanted` has less often."""
        return self.base.missing_from(self.wanted)

    @property
    def added(self) -> tuple[str, ...]:
        """The words of `wanted` that `base` has less often."""
        return self.wanted.missing_from(self.base)

    def onto(self, arguments: KernelArguments) -> KernelArguments:
        """The third command line with the difference made, as far as it is not there already: doing it twice changes nothing."""
        goal = Counter(self.wanted.words)
        result = list(arguments.words)
        for word in dict.fromkeys(self.removed):
            while result.count(word) > goal[word]:
                del result[len(result) - 1 - result[::-1].index(word)]
        for word in dict.fromkeys(self.added):
            while result.count(word) < goal[word]:
                result.append(word)
        return KernelArguments(tuple(result))
