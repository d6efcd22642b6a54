# SPDX-License-Identifier: GPL-3.0-or-later
"""The role image_build: who hears of a failed build, what is left to the next job, and several build hosts at once."""

from __future__ import annotations

import email
import email.policy
import http.server
import json
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from build_project import LOCAL, BuildProject, artifacts, http_sink, smtp_sink
from lab.registry import Registry

FAILS = "COPY motd /usr/lib/motd\nRUN echo sorry >&2; exit 3\n"
SECRET = "hush-hush-token"


@pytest.fixture
def project(tmp_path: Path, registry: Registry, base_image: str, monkeypatch: pytest.MonkeyPatch) -> BuildProject:
    assert base_image
    builders = {
        "builder-x86": {**LOCAL, "imagemode_build_platform": "linux/amd64"},
        "builder-arm": {**LOCAL, "imagemode_build_platform": "linux/arm64"},
    }
    return BuildProject.create(tmp_path, registry, monkeypatch, builders)


def test_success_is_left_to_the_next_job_and_to_the_next_task(project: BuildProject, registry: Registry) -> None:
    play = {
        "hosts": "workers",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.import_role": {"name": "imagemode.nodes.image_build", "rolespec_validate": False}},
            {"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} gets {{ imagemode_build.digest }}"}},
        ],
    }
    (project.directory / "play.yml").write_text(yaml.safe_dump([play]))
    run = project.run(playbook=project.directory / "play.yml")
    assert run.returncode == 0, run.stdout + run.stderr
    digest = registry.digest(project.repository, "1")
    left = artifacts(run)
    assert (left["failed"], left["changed"], left["digest"]) == (False, True, digest)
    assert left["image"].endswith(f"{project.repository}@{digest}")
    assert left["expected_digests"] == [digest]
    assert len(left["input_key"]) == 64
    assert Path(left["log"]).is_file()
    for node in ("n1", "n2"):
        assert f"{node} gets {digest}" in run.stdout

    again = artifacts(project.run(playbook=project.directory / "play.yml"))
    assert (again["changed"], again["digest"], again["log"]) == (False, digest, None)


def test_a_failure_is_said_left_to_the_next_job_and_a_corrected_build_resumes(project: BuildProject) -> None:
    project.containerfile("RUN echo slow\n" + FAILS)
    run = project.run()
    assert run.returncode != 0
    left = artifacts(run)
    failure = left["failure"]
    assert left["failed"] is True
    assert (failure["category"], failure["line"], failure["retryable"]) == ("step", 3, False)
    assert (failure["host"], failure["image"]) == ("localhost", project.variables["imagemode_image"])
    assert "sorry" in failure["excerpt"]
    assert "sorry" in Path(failure["log"]).read_text()
    said = run.stdout.partition("Say what went wrong]")[2].partition("TASK [")[0]
    assert "was not built on localhost: step, at line 3 of the Containerfile" in said
    assert f"The whole output is on localhost in {failure['log']}" in said
    last = run.stdout.partition("Fail with what went wrong]")[2]
    assert failure["message"] in last

    project.containerfile("RUN echo slow\nCOPY motd /usr/lib/motd\nRUN true\n")
    corrected = project.run()
    assert corrected.returncode == 0, corrected.stdout
    assert "Using cache" in Path(artifacts(corrected)["log"]).read_text()


def test_everybody_who_wants_to_know_is_told(project: BuildProject) -> None:
    project.containerfile(FAILS)
    (project.directory / "token").write_text(f"{SECRET}\n")
    task = {"copy": {"content": "{{ imagemode_build_failure }}", "dest": str(project.directory / "told")}}
    (project.directory / "files" / "tell.yml").write_text(
        yaml.safe_dump([{"ansible.builtin.copy": task["copy"], "delegate_to": "localhost", "vars": LOCAL}])
    )
    with http_sink() as sink, smtp_sink() as mails:
        project.set(
            imagemode_build_notify_url=f"{sink.url}/{SECRET}-url",
            imagemode_build_notify_token_file=str(project.directory / "token"),
            imagemode_build_notify_mail={
                "to": ["os-team@example.com", "night@example.com"],
                "sender": "builds@example.com",
                "host": "127.0.0.1",
                "port": mails.port,
            },
            imagemode_build_notify_tasks="files/tell.yml",
        )
        run = project.run("-vvv")

    (headers, post), *others = sink.posts
    assert others == []
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert (post["event"], post["image"]) == ("imagemode.build.failed", project.variables["imagemode_image"])
    assert (post["failure"]["category"], post["failure"]["line"]) == ("step", 2)
    assert "at line 2 of the Containerfile" in post["text"]

    (taken,) = mails.mails
    mail = email.message_from_string(taken, policy=email.policy.default)
    assert mail["To"] == "os-team@example.com, night@example.com"
    assert mail["Subject"].strip() == f"{project.variables['imagemode_image']} was not built (step)"
    assert "sorry" in mail.get_content()

    told = yaml.safe_load((project.directory / "told").read_text())
    assert (told["category"], told["line"]) == ("step", 2)

    assert SECRET not in run.stdout + run.stderr
    assert run.returncode != 0


BROKEN_HOOKS = [
    {
        "imagemode_build_notify_url": "http://127.0.0.1:1/x",
        "imagemode_build_notify_mail": {"to": ["a@example.com"], "sender": "b@example.com", "port": 1},
        "imagemode_build_notify_tasks": "nowhere.yml",
    },
    {
        "imagemode_build_notify_url": "http://127.0.0.1:1/x",
        "imagemode_build_notify_token_file": "/nowhere/token",
        "imagemode_build_notify_mail": {"sender": "nobody-to-mail@example.com"},
        "imagemode_build_notify_tasks": "files/Containerfile",
    },
]


@pytest.mark.parametrize(
    ("hooks", "why"),
    zip(BROKEN_HOOKS, ["no answer", "it was not sent"]),
    ids=["nobody is there", "nothing is right"],
)
def test_hooks_that_fail_are_said_and_hide_nothing(project: BuildProject, hooks: dict[str, Any], why: str) -> None:
    project.containerfile(FAILS)
    project.set(**hooks)
    run = project.run()
    assert f"could not be posted ({why}" in run.stdout
    assert "imagemode_build_notify_mail: " in run.stdout
    assert "imagemode_build_notify_tasks: " in run.stdout
    assert (
        "at line 2 of the Containerfile exited with status 3" in run.stdout.partition("Fail with what went wrong]")[2]
    )
    assert artifacts(run)["failure"]["category"] == "step"


def test_a_url_that_refuses_is_said_with_its_status_and_the_mail_still_goes(project: BuildProject) -> None:
    project.containerfile(FAILS)
    with http_sink(status=500) as sink, smtp_sink() as mails:
        mail = {"to": ["night@example.com"], "sender": "b@example.com", "host": "127.0.0.1", "port": mails.port}
        project.set(imagemode_build_notify_url=sink.url, imagemode_build_notify_mail=mail)
        run = project.run()
    assert "could not be posted (HTTP status 500)" in run.stdout
    assert len(mails.mails) == 1


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"imagemode_build_containerfle": "x"}, "did you mean imagemode_build_containerfile?"),
        ({"imagemode_build_hosts": "bilders"}, "Not in the inventory: bilders"),
        ({"imagemode_build_host": "builder-amr"}, "Not in the inventory: builder-amr (did you mean builder-arm?)"),
        ({"imagemode_build_args": "none"}, "'imagemode_build_args'"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_said_in_a_line(
    project: BuildProject, variables: dict[str, Any], told: str
) -> None:
    project.set(**variables)
    run = project.run("--check")
    assert run.returncode != 0
    failed = run.stdout + run.stderr
    assert told in failed
    assert "No place for secrets" not in failed  # a description of the specification


def test_paths_start_beside_the_inventory(project: BuildProject) -> None:
    project.containerfile("RUN true\n")
    project.set(imagemode_authfile="files/auth.json")
    run = project.run("--check")
    assert f"The credentials file {project.directory}/files/auth.json does not exist" in run.stdout
    assert "imagemode_authfile" not in run.stdout  # no option is named

    (project.directory / "files" / "auth.json").write_text('{"auths": {}}')
    (project.directory / "files" / "mc.yaml").write_text("ignition: {version: 3.4.0}\n")
    project.set(imagemode_machine_configs="files/mc.yaml")  # one instead of a list of one
    assert project.run("--check").returncode == 0


def test_what_a_machine_config_leaves_to_the_nodes_is_said(project: BuildProject) -> None:
    project.containerfile("RUN true\n")
    (project.directory / "files" / "mc.ign").write_text(
        '{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/agent/token", "mode": 384,'
        ' "contents": {"source": "data:,hush"}}]}}'
    )
    project.set(imagemode_machine_configs=["files/mc.ign"])
    run = project.run("--check")
    said = run.stdout.partition("Say what is not in the image]")[2].partition("TASK [")[0]
    assert "/etc/agent/token" in said
    assert "host_files" in said


def test_nobody_is_told_in_check_mode(project: BuildProject) -> None:
    project.containerfile("RUNN true\n")
    with http_sink() as sink:
        project.set(imagemode_build_notify_url=sink.url)
        run = project.run("--check")
    assert run.returncode != 0
    assert "Did you mean RUN?" in run.stdout
    assert sink.posts == []


def test_a_build_host_that_is_gone_is_a_failure_like_others(project: BuildProject) -> None:
    with http_sink() as sink:
        project.set(imagemode_build_notify_url=sink.url, imagemode_build_host="n2")
        run = project.run()
    assert run.returncode != 0
    (_headers, post), *_others = sink.posts
    assert (post["failure"]["host"], post["failure"]["category"], post["failure"]["retryable"]) == (
        "n2",
        "engine",
        True,
    )
    assert "The connection to the build host failed" in post["failure"]["message"]
    assert "unreachable=0" in run.stdout


def test_an_odd_variable_is_refused_before_anything_happens(project: BuildProject) -> None:
    project.set(imagemode_build_packages={"no": "list"})
    run = project.run()
    assert run.returncode != 0
    assert "imagemode_build_packages" in run.stdout
    assert "Build and push" not in run.stdout


def test_each_architecture_is_built_on_its_own_host_and_put_together(project: BuildProject, registry: Registry) -> None:
    project.set(imagemode_build_hosts="builders", imagemode_build_base="", imagemode_build_checks="skip")
    project.containerfile("FROM scratch\nCOPY motd /usr/lib/motd\n")
    run = project.run()
    assert run.returncode == 0, run.stdout + run.stderr
    left = artifacts(run)
    assert sorted(left["platforms"]) == ["linux/amd64", "linux/arm64"]
    assert left["digest"] == registry.digest(project.repository, "1")
    assert {"1", "1-amd64", "1-arm64"} <= set(registry.tags(project.repository))
    for architecture in ("amd64", "arm64"):
        assert left["platforms"][f"linux/{architecture}"] == registry.digest(project.repository, f"1-{architecture}")
    assert sorted(left["logs"]) == ["builder-arm", "builder-x86"]

    again = project.run()
    assert "changed=1" not in again.stdout
    assert artifacts(again)["digest"] == left["digest"]


def test_one_architecture_that_fails_is_named_and_the_tag_stays(project: BuildProject, registry: Registry) -> None:
    project.set(imagemode_build_hosts="builders", imagemode_build_base="", imagemode_build_checks="skip")
    project.containerfile("FROM scratch\nCOPY motd /usr/lib/motd\n")
    assert project.run().returncode == 0
    before = registry.digest(project.repository, "1")
    project.containerfile("FROM scratch\nCOPY motd /usr/lib/message\n")
    hosts = project.directory / "hosts.yml"
    inventory = yaml.safe_load(hosts.read_text())
    inventory["all"]["children"]["builders"]["hosts"]["builder-arm"].update(ansible_connection="ssh", ansible_port=1)
    hosts.write_text(yaml.safe_dump(inventory))
    run = project.run()
    assert run.returncode != 0
    left = artifacts(run)
    assert [failure["host"] for failure in left["failures"]] == ["builder-arm"]
    assert "builder-arm" in run.stdout.partition("Fail with what went wrong]")[2]
    assert registry.digest(project.repository, "1") == before


def test_build_hosts_work_at_the_same_time(project: BuildProject) -> None:
    """Each build waits in its step for the other."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    shutil.copy(busybox, project.directory / "files" / "busybox")
    hosts = project.directory / "hosts.yml"
    inventory = yaml.safe_load(hosts.read_text())
    inventory["all"]["children"]["builders"]["hosts"]["builder-arm"]["imagemode_build_platform"] = "linux/amd64/v2"
    hosts.write_text(yaml.safe_dump(inventory))
    meeting = threading.Barrier(2)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            meeting.wait(60)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        get = f"/bin/wget -q -O /dev/null http://127.0.0.1:{server.server_address[1]}/"
        project.containerfile(f"FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/wget\nRUN {get}\n")
        project.set(
            imagemode_build_hosts=["builder-x86", "builder-arm"], imagemode_build_base="", imagemode_build_checks="skip"
        )
        run = project.run()
        server.shutdown()
    assert not meeting.broken, run.stdout
    # No more than that: on one machine the two share a layer cache, in which the engine does not tell variants apart.
    assert "changed: [n1 -> builder-x86]" in run.stdout
    assert "changed: [n2 -> builder-arm]" in run.stdout


def test_two_build_hosts_of_one_architecture_are_a_mistake(project: BuildProject) -> None:
    project.set(imagemode_build_hosts=["builder-x86", "builder-x86"], imagemode_build_checks="skip")
    run = project.run()
    assert run.returncode != 0
    assert "more than one build host for the same platform: they built linux/amd64, linux/amd64" in run.stdout


def test_machine_configs_are_rendered_and_built_in_and_check_mode_says_which_input_differs(
    project: BuildProject, registry: Registry
) -> None:
    configs = project.directory / "files" / "configs"
    configs.mkdir()

    def write(source: str) -> None:
        file = {"path": "/etc/fleet.conf", "mode": 0o644, "contents": {"source": source}}
        ignition = {"ignition": {"version": "3.4.0"}, "storage": {"files": [file]}}
        (configs / "50-fleet.json").write_text(json.dumps(ignition))

    write("data:,one")
    project.set(imagemode_machine_configs=["files/configs"], imagemode_build_checks="skip")
    first = project.run()
    assert first.returncode == 0, first.stdout + first.stderr
    assert project.run("--check").stdout.count("changed=1") == 0

    write("data:,two")
    checked = project.run("--check", "--diff")
    assert checked.returncode == 0, checked.stdout
    assert "is yet to be built" in checked.stdout
    assert re.search(r"^\+.*machine.config", checked.stdout, re.MULTILINE), checked.stdout
    assert registry.digest(project.repository, "1") == artifacts(first)["digest"]


def test_nothing_is_removed_while_a_node_cannot_be_asked(project: BuildProject, registry: Registry) -> None:
    project.set(imagemode_build_retention={"keep": 0})
    for number in range(2):
        project.containerfile(f"COPY motd /usr/lib/motd{number}\n")
        run = project.run()
        assert run.returncode == 0, run.stdout + run.stderr
    assert "nobody knows what these nodes run: n1, n2" in run.stdout
    assert len(registry.tags(project.repository)) == 3
