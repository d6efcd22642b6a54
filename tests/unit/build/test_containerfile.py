# SPDX-License-Identifier: GPL-3.0-or-later
"""Containerfiles: what is accepted, which line a mistake has, and how images from outside are pinned."""

from __future__ import annotations

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import (
    Containerfile,
    InvalidContainerfile,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile_images import (
    ImagePlace,
    image_uses,
    label_instruction,
    pinned_text,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.image_reference import ImageReference

BASE = ImageReference.parse("registry.example.com/base/os:9.6")
DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", None, "no instruction"),
        ("# only a comment\n\n", None, "no instruction"),
        ("FROM a.io/x\nRUNN true\n", 2, "Did you mean RUN?"),
        ("FROM a.io/x\nRUN true \\\n\n  # why\n  && true\nCOPPY a b\n", 6, "Did you mean COPY?"),
        ("RUN a\n  && b\n", 2, "needs a \\ at the end"),
        ("FROM a.io/x\nRUN\n", 2, "RUN needs an argument"),
        ("FROM a.io/x\nCOPY a\n", 2, "a source and a destination"),
        ('FROM a.io/x\nCOPY ["a"]\n', 2, "a source and a destination"),
        ("FROM a.io/x y\n", 1, "FROM takes an image"),
        ("FROM\n", 1, "FROM needs an argument"),
        ("RUN true\nFROM a.io/x\n", 1, "before the first FROM"),
        ("FROM a.io/x\nENV NAME\n", 2, "name=value"),
        ("FROM a.io/x\nARG 1x=2\n", 2, "ARG needs a name"),
        ("FROM a.io/x\nRUN cat <<EOF\nhello\n", 2, "never ended"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(InvalidContainerfile) as raised:
        Containerfile.parse(text)
    assert raised.value.line == line
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from a.io/x as y\nrun  a\n", [("FROM", "a.io/x as y", 1, 1), ("RUN", "a", 2, 2)]),
        ("RUN a \\\n  && b\nUSER c", [("RUN", "a   && b", 1, 2), ("USER", "c", 3, 3)]),
        ("# escape=`\nRUN a `\n  b\n", [("RUN", "a   b", 2, 3)]),
        ("RUN a \\\n# comment\n\n  b\nUSER c\n", [("RUN", "a   b", 1, 4), ("USER", "c", 5, 5)]),
        ("RUN <<EOF\nFROM is text here\nEOF\nUSER c\n", [("RUN", "<<EOF", 1, 3), ("USER", "c", 4, 4)]),
        ("COPY <<-'A' <<B /x/\n1\n\tA\n2\nB\nUSER c\n", [("COPY", "<<-'A' <<B /x/", 1, 5), ("USER", "c", 6, 6)]),
        ("RUN echo $((1<<SHIFT))\nUSER c\n", [("RUN", "echo $((1<<SHIFT))", 1, 1), ("USER", "c", 2, 2)]),
        ("RUN echo 'see <<EOF here'\nUSER c\n", [("RUN", "echo 'see <<EOF here'", 1, 1), ("USER", "c", 2, 2)]),
        ('RUN echo " <<EOF"\n', [("RUN", 'echo " <<EOF"', 1, 1)]),
        ("RUN echo it\\'s <<A\nx\nA\n", [("RUN", "echo it\\'s <<A", 1, 3)]),
        ("RUN cat <<<EOF\n", [("RUN", "cat <<<EOF", 1, 1)]),
        ("RUN cat << EOF\n", [("RUN", "cat << EOF", 1, 1)]),
        ("RUN cat 3<<'X.Y' >/f\n1\nX.Y\nUSER c\n", [("RUN", "cat 3<<'X.Y' >/f", 1, 3), ("USER", "c", 4, 4)]),
        ('RUN cat <<"E O"\n1\nE O\n', [("RUN", 'cat <<"E O"', 1, 3)]),
        ("RUN cat <<EOF;\nEOF\nEOF;\n", [("RUN", "cat <<EOF;", 1, 3)]),
        ('RUN ["echo", "<<EOF"]\n', [("RUN", '["echo", "<<EOF"]', 1, 1)]),
        ("RUN\ta\n", [("RUN", "a", 1, 1)]),
        ("RUN --mount=type=cache,target=/x --network=none make\n", [("RUN", "make", 1, 1)]),
        ("RUN a \\\r\n  b\r\n", [("RUN", "a   b", 1, 2)]),
        ("CMD\n", [("CMD", "", 1, 1)]),
    ],
)
def test_instructions_have_their_lines(text: str, expected: list[tuple[str, str, int, int]]) -> None:
    found = Containerfile.parse(text).instructions
    assert [(one.keyword, one.arguments, one.line, one.last_line) for one in found] == expected


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_only_a_line_feed_ends_a_line(character: str) -> None:
    text = f"FROM registry.example.com/base/os:9.6\nRUN printf 'x{character}y'\nRUN <<EOF\nx{character}y\nEOF\n"
    containerfile = Containerfile.parse(text)
    assert [found.line for found in containerfile.instructions] == [1, 2, 3]
    assert pinned_text(containerfile, (), {}) == text


@pytest.mark.parametrize(
    ("text", "base", "pinned"),
    [
        pytest.param(
            "# mine\n\nRUN a\n",
            BASE,
            f"# mine\n\nFROM {BASE.name}@{DIGEST}\nRUN a\n",
            id="no FROM: the base is put before",
        ),
        pytest.param(
            "FROM registry.example.com/base/os:9.6\nRUN a\n",
            None,
            f"FROM {BASE.name}@{DIGEST}\nRUN a\n",
            id="FROM is pinned",
        ),
        pytest.param(
            f"FROM {BASE.name}:dev\nRUN a\n",
            BASE,
            f"FROM {BASE.name}@{DIGEST}\nRUN a\n",
            id="base replaces the only FROM",
        ),
        pytest.param(
            "FROM base\nRUN a\n", BASE, f"FROM {BASE.name}@{DIGEST}\nRUN a\n", id="FROM base is what base says"
        ),
        pytest.param(
            "FROM other.io/x:1 AS tools\nRUN a\nFROM base\nCOPY --from=tools /a /b\n",
            BASE,
            f"FROM other.io/x@{OTHER_DIGEST} AS tools\nRUN a\nFROM {BASE.name}@{DIGEST}\nCOPY --from=tools /a /b\n",
            id="base replaces the final stage only",
        ),
        pytest.param(
            "FROM base AS os\nRUN a\nFROM os\nRUN b\n",
            BASE,
            f"FROM {BASE.name}@{DIGEST} AS os\nRUN a\nFROM os\nRUN b\n",
            id="base replaces what the final stage rests on",
        ),
        pytest.param(
            "ARG V=9.6\nARG REPO=registry.example.com/base\nFROM ${REPO}/os:$V\n",
            None,
            f"ARG V=9.6\nARG REPO=registry.example.com/base\nFROM {BASE.name}@{DIGEST}\n",
            id="arguments in FROM",
        ),
        pytest.param(
            "FROM --platform=$BUILDPLATFORM \\\n  registry.example.com/base/os:9.6 \\\n  AS x\nUSER y\n",
            None,
            f"FROM --platform=$BUILDPLATFORM \\\n  {BASE.name}@{DIGEST} \\\n  AS x\nUSER y\n",
            id="a FROM over several lines keeps its lines",
        ),
        pytest.param(
            "FROM scratch\nCOPY --from=registry.example.com/base/os:9.6 / /\nRUN --mount=type=bind,from=other.io/x:1,target=/x a\n",
            None,
            f"FROM scratch\nCOPY --from={BASE.name}@{DIGEST} / /\nRUN --mount=type=bind,from=other.io/x@{OTHER_DIGEST},target=/x a\n",
            id="images of COPY and of mounts",
        ),
        pytest.param(
            "FROM scratch AS zero\nCOPY --from=registry.example.com/base/os:9.6 / /\nFROM zero\nCOPY --from=0 / /\n",
            None,
            f"FROM scratch AS zero\nCOPY --from={BASE.name}@{DIGEST} / /\nFROM zero\nCOPY --from=0 / /\n",
            id="stages by number are not images",
        ),
        pytest.param(
            "FROM scratch\nRUN --mount=from=other.io/x,target=/a --mount=from=other.io/x,target=/b true\n",
            None,
            f"FROM scratch\nRUN --mount=from=other.io/x@{OTHER_DIGEST},target=/a "
            f"--mount=from=other.io/x@{OTHER_DIGEST},target=/b true\n",
            id="the same image twice in one step",
        ),
        pytest.param(
            "FROM scratch\nRUN --mount=from=other.io/x-extra,target=/a \\\n --mount=from=other.io/x,target=/b true\n",
            None,
            f"FROM scratch\nRUN --mount=from=other.io/x-extra@{OTHER_DIGEST},target=/a \\\n"
            f" --mount=from=other.io/x@{OTHER_DIGEST},target=/b true\n",
            id="an image whose name begins like another's",
        ),
        pytest.param(
            "FROM scratch AS other.io/x/y\nFROM scratch\nCOPY \\\n# not --from=other.io/x\n--from=other.io/x /a /b\n",
            None,
            "FROM scratch AS other.io/x/y\nFROM scratch\nCOPY \\\n# not --from=other.io/x\n"
            f"--from=other.io/x@{OTHER_DIGEST} /a /b\n",
            id="comments are left alone",
        ),
    ],
)
def test_every_image_from_outside_is_pinned(text: str, base: ImageReference | None, pinned: str) -> None:
    containerfile = Containerfile.parse(text)
    uses = image_uses(containerfile, base, {})
    digests = {use.reference.canonical: DIGEST if use.reference == BASE else OTHER_DIGEST for use in uses}
    assert pinned_text(containerfile, uses, digests) == pinned


@pytest.mark.parametrize(
    ("text", "base", "line", "says"),
    [
        ("RUN a\n", None, None, "no FROM and the option base is not given"),
        ("FROM fedora:44\n", None, 1, "does not name its registry"),
        ("FROM a.io/x\nFROM scratch\nRUN a\n", BASE, 2, "FROM scratch"),
        ("ARG V\nFROM a.io/x:$V\n", None, 2, "$V has no value"),
        ("FROM a.io/x\nCOPY --from=bulider /a /b\n", None, 2, "not the name of an earlier stage"),
        ("FROM a.io/X:1\n", None, 1, "only lower-case"),
    ],
)
def test_an_image_that_cannot_be_pinned_is_a_mistake(
    text: str, base: ImageReference | None, line: int | None, says: str
) -> None:
    with pytest.raises(InvalidContainerfile) as raised:
        image_uses(Containerfile.parse(text), base, {})
    assert raised.value.line == line
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("RUN echo hi \\\n", "RUN echo hi \n"),
        ("RUN echo hi \\", "RUN echo hi \n"),
        ("RUN a \\\n  && b \\  \n\n# end \\\n", "RUN a \\\n  && b \n\n# end \\\n"),
        ("# escape=`\nRUN dir C:\\\n", "# escape=`\nRUN dir C:\\\n"),
        ("# escape=`\nRUN a `\n", "# escape=`\nRUN a \n"),
        ("RUN cat <<EOF\n\\\nEOF\n# \\\n", "RUN cat <<EOF\n\\\nEOF\n# \\\n"),
    ],
)
def test_nothing_continues_the_last_instruction(text: str, written: str) -> None:
    assert pinned_text(Containerfile.parse(text), (), {}) == written


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("RUN a \\\n  echo b\\\\\n\n", 2, "Remove it"),
        ("FROM other.io/\\\nx:1\n", 1, "Write it in one piece"),
    ],
)
def test_what_cannot_be_rewritten_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    containerfile = Containerfile.parse(text)
    uses = image_uses(containerfile, None, {}) if containerfile.has_from else ()
    with pytest.raises(InvalidContainerfile) as raised:
        pinned_text(containerfile, uses, {use.reference.canonical: OTHER_DIGEST for use in uses})
    assert raised.value.line == line
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("from_text", "values", "expected"),
    [
        ("a.io/x:$V", {"V": "2"}, "a.io/x:2"),
        ("a.io/x:${V:-3}", {}, "a.io/x:1"),
        ("a.io/x:${W:-3}", {}, "a.io/x:3"),
        ("a.io/x:${V:+4}", {}, "a.io/x:4"),
        ("a.io/x:1-$TARGETARCH", {"TARGETARCH": "arm64"}, "a.io/x:1-arm64"),
    ],
)
def test_arguments_in_from_are_expanded(from_text: str, values: dict[str, str], expected: str) -> None:
    uses = image_uses(Containerfile.parse(f"ARG V=1\nFROM {from_text}\n"), None, values)
    assert [(use.place, use.reference.canonical) for use in uses] == [(ImagePlace.FROM, expected)]


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("COPY a b", True),
        ("ADD --chown=1:1 a b", True),
        ("ADD https://example.com/x /x", False),
        ("COPY --from=a.io/x /a /b", False),
        ("RUN cp a b", False),
        ("COPY <<EOF /x\nCOPY a b\nEOF", False),
    ],
)
def test_what_needs_a_context(text: str, needs: bool) -> None:
    assert (Containerfile.parse(text).needs_context() is not None) is needs


def test_a_step_of_the_engine_is_found_again() -> None:
    containerfile = Containerfile.parse("ARG A=1\nFROM a.io/x AS one\nRUN a\n\nFROM a.io/y\nRUN b\nUSER c\n")
    lines = {
        (stage, step): found.line
        for stage in (1, 2, 3)
        for step in (1, 2, 3, 4)
        if (found := containerfile.instruction_of_step(stage, step)) is not None
    }
    assert lines == {(1, 1): 2, (1, 2): 3, (2, 1): 5, (2, 2): 6, (2, 3): 7}


@pytest.mark.parametrize(
    ("labels", "escape", "text"),
    [
        ({}, "\\", ""),
        ({"b": "2", "a": "1"}, "\\", 'LABEL "a"="1" "b"="2"\n'),
        ({"a": '{"x":"$HOME\\"}'}, "\\", 'LABEL "a"="{\\"x\\":\\"\\$HOME\\\\\\"}"\n'),
        ({"a": '"$`'}, "`", 'LABEL "a"="`"`$``"\n'),
    ],
)
def test_labels_are_quoted_for_the_file(labels: dict[str, str], escape: str, text: str) -> None:
    assert label_instruction(labels, escape) == text
