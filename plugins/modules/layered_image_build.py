#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module entry of layered_image_build."""

from __future__ import annotations

DOCUMENTATION = r"""
module: layered_image_build
short_description: Build a layered image once per set of inputs, and push it
version_added: 0.1.0
description:
  - Builds an image on a build host with C(buildah) or C(podman), pushes it, and proves what arrived in the registry.
  - All inputs together have a key, RV(input_key). It covers the Containerfile, everything in the build context that an ignore file
    does not hide, the digest of every image that the Containerfile reads, build arguments, labels and the platform.
  - The key becomes a label and a second tag of the pushed image, C(TAG-) and the first 12 characters of the key. An image under that
    second tag with that label was made from the same inputs, so nothing is built and nothing is pushed.
    The registry is the only memory, and it does not matter which build host is used.
  - Every image from outside that the Containerfile names, in C(FROM), C(COPY --from) or C(RUN --mount from=), is resolved to a digest
    and pinned in a copy of the Containerfile. The user's file and the context are never written to.
  - The layers have fixed timestamps, the creation time of the base. The same inputs give the same digest as far as the C(RUN) steps do.
  - What C(RUN) and C(ADD) fetch from the network is not part of the key. Give it a build argument that changes with it,
    such as the date of a repository snapshot, or use O(force).
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.registry_access
attributes:
  check_mode:
    support: full
    details: Resolves all digests and computes the key. The digest of an image that is yet to be built is V(null).
  diff_mode:
    support: full
    details: Shows which inputs differ from those of the image that is now under the tag.
  idempotent:
    support: full
    details: Except with O(force).
  async:
    support: full
  platform:
    support: full
    platforms: posix
options:
  image:
    description: Where to push to, in full with the registry, as C(NAME:TAG).
    type: str
    required: true
  base:
    description:
      - The image to build on, by tag or digest. It is resolved, and pulled by digest.
      - If the Containerfile has no C(FROM), it gets one with this image.
      - If it has, this image replaces the one that the final stage rests on, also if the final stage builds on an earlier stage.
        Other stages keep theirs.
      - Required if the Containerfile has no C(FROM).
    type: str
  containerfile:
    description:
      - Path of the Containerfile on the build host. Make it absolute, for example with C(playbook_dir) or C(inventory_dir),
        because Ansible does not say where a relative path would start.
      - Exactly one of O(containerfile) and O(containerfile_content) is required.
    type: path
  containerfile_content:
    description: The Containerfile itself.
    type: str
  context:
    description:
      - Directory on the build host from which C(COPY) and C(ADD) take files. Without it there are none to take.
      - C(.containerignore) or C(.dockerignore) in it, or C(NAME.containerignore) beside O(containerfile), hides what it names
        from the build and from the key.
    type: path
  build_args:
    description:
      - Values for the C(ARG) instructions.
      - They are no place for secrets. They are in the history of the image, in the process list of the build host while it builds,
        and in RV(commands), which callback plugins and logs may keep. A hash of each is in a label of the image and in RV(inputs).
    type: dict
    default: {}
  labels:
    description: Labels of the image. Names must not begin with C(io.imagemode.), which is where the key is.
    type: dict
    default: {}
  push:
    description:
      - Whether to push. If V(false), the image stays in the storage of the build host under both tags.
        That is also where it is looked for then.
    type: bool
    default: true
  engine:
    description: What builds. V(auto) takes C(buildah), or C(podman) if that is not installed.
    type: str
    choices: [auto, buildah, podman]
    default: auto
  isolation:
    description:
      - How C(RUN) steps are isolated from the build host.
      - V(auto) takes V(chroot) inside a container and on hosts without an OCI runtime, else what the engine prefers.
    type: str
    choices: [auto, oci, rootless, chroot]
    default: auto
  build_timeout:
    description: Seconds that the build may take, and also the wait for another build of the same image on this host.
    type: int
    default: 7200
  work_dir:
    description:
      - Directory on the build host for the logs of the last ten builds of each image, readable for their owner only, and for the
        list of layers that O(layer_cache) keeps.
    type: path
    default: ~/.cache/imagemode-build
  layer_cache:
    description:
      - Keep the layers of the latest build in the storage of the build host, so that a change in the last step runs only that step,
        and a build that failed resumes. Layers of older builds are removed.
      - If V(false), everything that the build made or pulled is removed.
    type: bool
    default: true
  force:
    description: Build without cached layers and push, although there is an image with the same key.
    type: bool
    default: false
requirements:
  - C(buildah), or C(podman) 4.3 or newer
seealso:
  - module: imagemode.nodes.image_digest_info
  - module: imagemode.nodes.bootc_switch
"""

EXAMPLES = r"""
- name: Build the image of the fleet on the controller
  imagemode.nodes.layered_image_build:
    image: registry.example.com/fleet/node:2026.11
    base: registry.example.com/base/os:9.6
    containerfile: "{{ inventory_dir }}/files/Containerfile"
    context: "{{ inventory_dir }}/files/context"
    build_args:
      SNAPSHOT: "2026-11-20"
    authfile: ~/.config/containers/auth.json
  delegate_to: localhost
  run_once: true
  register: build

- name: Stage what was built
  imagemode.nodes.bootc_switch:
    image: "{{ build.image }}"
    expected_digests: "{{ build.expected_digests }}"

- name: A Containerfile in the playbook, without FROM
  imagemode.nodes.layered_image_build:
    image: registry.example.com/fleet/node:test
    base: registry.example.com/base/os:9.6
    containerfile_content: |
      RUN dnf -y install tuned && dnf clean all
      RUN bootc container lint
"""

RETURN = r"""
msg:
  description: What came of it in a line for people, or what went wrong and what to do about it.
  returned: always
  type: str
  sample: >-
    registry.example.com/fleet/node:2026.11 is
    registry.example.com/fleet/node@sha256:9f2c1de0a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e
    (built, 1834220 bytes pushed, input key 4be81c09d2aa)
image:
  description: The image pinned by digest; V(null) if it was not pushed, or would yet have to be built in check mode.
  returned: success
  type: str
  sample: registry.example.com/fleet/node@sha256:9f2c1de0a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e
reference:
  description: The image by tag.
  returned: success
  type: str
  sample: registry.example.com/fleet/node:2026.11
digest:
  description: The digest under the tag, read back from the registry; V(null) where RV(image) is.
  returned: success
  type: str
expected_digests:
  description: Every digest that a node running this image may report, ready for the option of that name in other modules.
  returned: success
  type: list
  elements: str
platforms:
  description: The digest of each platform's manifest.
  returned: success
  type: dict
  sample: {"linux/amd64": "sha256:9f2c1de0a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e"}
action:
  description:
    - V(build) if it was built, V(nothing) if there was an image from the same inputs.
    - V(retag) if there was one, but the tag named another image. The tag was pointed to it without a build.
  returned: success
  type: str
  sample: nothing
input_key:
  description: The key over all inputs, 64 hexadecimal digits.
  returned: once it is known
  type: str
inputs:
  description: What the key covers. Compare two results to see why an image was built again.
  returned: once they are known
  type: list
  elements: dict
  contains:
    name:
      description: Such as V(containerfile), V(context), V(base), C(build_arg NAME), C(image NAME:TAG).
      type: str
      returned: always
    hash:
      description: Its hash; for an image its digest.
      type: str
      returned: always
pushed_bytes:
  description: Bytes of layers and configuration that were uploaded. Layers that the registry had are not among them.
  returned: success
  type: int
commands:
  description:
    - The commands that built, pushed and tagged, or would in check mode, each as a list of words.
    - The values of O(build_args) are among the words. Credentials are not.
  returned: always
  type: list
  elements: list
log:
  description: Path on the build host of the whole output of build and push, if there was a build.
  returned: success
  type: str
failure:
  description: What went wrong, as data.
  returned: failure
  type: dict
  contains:
    category:
      description: >-
        V(input) a mistake in the options or the Containerfile, V(base_pull) an image to build on cannot be had, V(dependency) a package
        cannot be had, V(step) a step failed, V(lint) C(bootc container lint) failed, V(push), V(registry), V(disk) the build host is full,
        V(engine) the engine is missing or cannot work.
      type: str
      returned: always
    message:
      description: What was seen and what to do about it.
      type: str
      returned: always
    step:
      description: The step that failed.
      type: str
      returned: always
    line:
      description: Its line in the user's Containerfile.
      type: int
      returned: always
    excerpt:
      description: The last lines of the output.
      type: list
      elements: str
      returned: always
    log:
      description: Path of the whole output on the build host.
      type: str
      returned: always
    retryable:
      description: Whether running again can help without changing anything.
      type: bool
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_run import layered_build
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import BUILD_SPEC


def main() -> None:
    """Run on the build host."""
    module = AnsibleModule(
        argument_spec=BUILD_SPEC,
        mutually_exclusive=[("containerfile", "containerfile_content")],
        required_one_of=[("containerfile", "containerfile_content")],
        supports_check_mode=True,
    )
    outcome = layered_build(module.params, module.check_mode)
    for warning in outcome.warnings:
        module.warn(warning)
    if outcome.failed:
        module.fail_json(**outcome.result)
    module.exit_json(**outcome.result)


if __name__ == "__main__":
    main()
