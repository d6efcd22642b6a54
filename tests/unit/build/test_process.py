# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the container tools: what comes back from them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import DeadlinePassed, capture, stream
from ansible_collections.imagemode.nodes.plugins.module_utils._core.build_failure import (
    FailureCategory,
    build_failure,
    registry_failure,
)
from ansible_collections.imagemode.nodes.plugins.module_utils._core.containerfile import Containerfile
from ansible_collections.imagemode.nodes.plugins.module_utils._core.step_source import StepSource

LATIN_1 = "printf 'Stra\\337e\\n'"


def test_output_that_is_not_utf_8_reaches_a_result(tmp_path: Path) -> None:
    lines: list[str] = ["STEP 2/2: RUN a"]

    def note(line: str) -> bool:
        lines.append(line)
        return True

    assert stream(["sh", "-c", f"{LATIN_1}; exit 3"], tmp_path / "log", 10, note) == 3
    failure = build_failure(StepSource(Containerfile.parse("FROM a.io/x\nRUN a\n")), lines, 3, "a.io/x", None)
    assert failure.excerpt == ("Stra\ufffde",)
    json.dumps(failure.as_result(), ensure_ascii=False).encode()
    assert (tmp_path / "log").read_bytes() == b"Stra\xdfe\n"


def test_errors_that_are_not_utf_8_reach_a_result() -> None:
    done = capture(["sh", "-c", f"{LATIN_1}; {LATIN_1} >&2"], 10)
    assert (done.raw, done.output, done.errors) == (b"Stra\xdfe\n", "Stra\ufffde\n", "Stra\ufffde\n")
    failure = registry_failure(FailureCategory.REGISTRY, "resolve", "r.io/os:1", done.errors, None)
    json.dumps(failure.as_result(), ensure_ascii=False).encode()


def test_much_output_and_a_wait_are_both_kept() -> None:
    done = capture(["sh", "-c", "head -c 300000 /dev/zero; sleep 1.2; echo end"], 20)
    assert (done.exit_code, len(done.raw), done.raw[-4:]) == (0, 300004, b"end\n")


def test_a_command_that_takes_too_long_is_ended() -> None:
    begin = time.monotonic()
    with pytest.raises(DeadlinePassed, match="sleep did not answer within 1 s"):
        capture(["sleep", "77"], 1.4)
    assert 1.3 < time.monotonic() - begin < 10


@pytest.mark.parametrize(("cleaning_up", "finished"), [(False, False), (True, True)])
def test_only_cleaning_up_goes_on_when_the_controller_is_gone(
    tmp_path: Path, cleaning_up: bool, finished: bool
) -> None:
    program = (
        "import sys\n"
        "from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import capture\n"
        f"capture(['sh', '-c', 'sleep 3; touch {tmp_path}/finished'], 60, cleaning_up={cleaning_up})\n"
    )
    module = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert module.stdout is not None
    module.stdout.close()
    assert (module.wait(20) == 0) is finished
    time.sleep(0 if finished else 3)
    assert (tmp_path / "finished").exists() is finished


def test_a_signal_also_ends_what_threads_wait_for() -> None:
    program = """
from concurrent.futures import ThreadPoolExecutor
from ansible_collections.imagemode.nodes.plugins.module_utils._build.process import Interrupted, capture, ending_on_signals
try:
    with ending_on_signals(), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(capture, ["sleep", "60"], 60)
        print("asked", flush=True)
        asked.result()
except Interrupted as error:
    print(error)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        process.terminate()
        began = time.monotonic()
        assert process.communicate(timeout=40)[0] == "ended by SIGTERM\n"
        assert time.monotonic() - began < 30
