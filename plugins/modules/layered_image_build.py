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
  - Builds an image on a build host with C(buildah) or C(podman), checks it, pushes it, signs it, and proves what arrived in the registry.
  - The image is made in this order, from what changes least to what changes most. The base; the kernel, extensions, packages and
    components that options name; the Containerfile; a rendered machine config and kernel arguments; and O(containerfile_final).
    So a change of configuration runs nothing of the Containerfile again, and pushes little more than itself.
  - All inputs together have a key, RV(input_key). It covers the Containerfile, everything in the build context that an ignore file
    does not hide, the digest of every image that is read, packages, repositories and all other options that can change the result.
  - The key becomes a label and a second tag of the pushed image, C(TAG-) and the first 12 characters of the key. An image under that
    second tag with that label was made from the same inputs, so nothing is built and nothing is pushed.
    The registry is the only memory, and it does not matter which build host is used.
  - Every image from outside that a Containerfile names, in C(FROM), C(COPY --from) or C(RUN --mount from=), is resolved to a digest
    and pinned in a copy of the Containerfile. The user's files and the context are never written to.
  - The layers have fixed timestamps, the creation time of the base. The same inputs give the same digest as far as the C(RUN) steps do.
  - What C(RUN) and C(ADD) fetch from the network is not part of the key. Give it a build argument that changes with it,
    such as the date of a repository snapshot, name the repository in O(repositories), or use O(force).
  - Before the push, every layer that the build added is searched for the secrets it was given.
author:
  - imagemode.nodes contributors (@imagemode)
extends_documentation_fragment:
  - imagemode.nodes.attributes
  - imagemode.nodes.registry_access
  - imagemode.nodes.image_signing
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
      - If it has, the C(FROM) of the image that the final stage rests on has to name the same repository, or C(base).
        Other stages keep theirs.
      - Required if there is no Containerfile with a C(FROM), and O(release) is not given.
    type: str
  release:
    description:
      - A release payload instead of O(base), an image that says in C(/release-manifests/image-references) of which images it consists.
        What O(release_component) names there is the base. When the payload moves, the image is built again.
    type: str
  release_component:
    description: The name of the image in O(release) to build on, such as V(rhel-coreos).
    type: str
  components:
    description:
      - Images whose content becomes part of this one, each in a layer of its own and with a label of its own,
        C(io.imagemode.component.NAME). They are pinned by digest. A path that two of them bring is found before anything is built.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A name, unique among the components. Lower-case letters, digits, C(.), C(_) and C(-).
        type: str
        required: true
      image:
        description: The image, in full with the registry, by tag or digest.
        type: str
        required: true
      tree:
        description: A directory of the image, whose content is copied. C(/usr) if neither this nor O(components[].rpms) is given.
        type: str
      dest:
        description: Where O(components[].tree) goes, C(/usr) or C(/etc) or a directory below. C(/usr) if not given.
        type: str
      rpms:
        description:
          - A directory of the image with RPMs, all of which are installed. What they need comes from the repositories.
        type: str
      version:
        description: Its version. If not given, the label C(org.opencontainers.image.version) of its image, else the tag.
        type: str
  packages:
    description:
      - Packages to install from the repositories, as names, C(NAME-VERSION-RELEASE), C(NAME.ARCH), capabilities or paths.
        Each is looked for after the installation.
    type: list
    elements: str
    default: []
  extensions:
    description:
      - Sets of packages by the names that OpenShift gives them, V(ipsec), V(kerberos), V(kernel-devel), V(sandboxed-containers),
        V(sysstat), V(usbguard) and V(wasm), and those of O(extension_packages).
    type: list
    elements: str
    default: []
  extension_packages:
    description: More extensions, or other packages for known ones, as a dictionary of names to lists of packages.
    type: dict
    default: {}
  kernel_type:
    description:
      - Which kernel the image has. V(default) replaces another one that the base has. V(64k-pages) exists for C(arm64) only.
      - If not given, the kernel of the base stays, unless the machine config wants another.
    type: str
    choices: [default, realtime, 64k-pages]
  kernel_arguments:
    description:
      - Kernel arguments that the image brings, in C(/usr/lib/bootc/kargs.d). M(imagemode.nodes.bootc_switch) and bootc apply them,
        and M(imagemode.nodes.rpmostree_rebase) on hosts that only have rpm-ostree.
    type: list
    elements: str
    default: []
  machine_config:
    description:
      - Directory on the build host that M(imagemode.nodes.machine_config_render) wrote. What it assigns to the image goes into it,
        and the built image is compared with it path by path. What it assigns to hosts is not touched.
    type: path
  repositories:
    description:
      - Package repositories for every C(RUN) step of the build. They take the place of those in C(/etc/yum.repos.d) of the base while
        the image is built, and nothing of them is left in a layer.
      - The index of each is part of the key, so new packages make a new image.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A name, unique among the repositories.
        type: str
        required: true
      baseurl:
        description: An address with C(http) or C(https), or the absolute path of a directory on the build host.
        type: str
      file:
        description: A C(.repo) file on the build host, instead of O(repositories[].baseurl).
        type: path
      gpgkey:
        description: The public key of the packages, a file on the build host.
        type: path
      gpgcheck:
        description: Whether packages have to be signed.
        type: bool
        default: true
      sslcacert:
        description: The CA of the server, a file on the build host. O(ca_file) if not given.
        type: path
      sslclientcert:
        description: A client certificate, a file on the build host.
        type: path
      sslclientkey:
        description: The key of O(repositories[].sslclientcert), a file on the build host.
        type: path
      credentials:
        description: A file on the build host with C(USER:PASSWORD).
        type: path
      snapshot:
        description: Any text that changes when packages are to be taken anew. The index of the repository is not looked at then.
        type: str
  entitlement:
    description:
      - The subscription with which packages are fetched. V(none), V(auto) for what is installed on the build host, or a directory
        with C(SERIAL.pem) and C(SERIAL-key.pem).
      - It is mounted while the image is built and never in a layer.
    type: str
    default: none
  secrets:
    description:
      - Secrets for C(RUN --mount=type=secret,id=ID) of the Containerfiles.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The name by which a step mounts it.
        type: str
        required: true
      src:
        description: The file with the secret on the build host. Either this or O(secrets[].value).
        type: path
      value:
        description: The secret itself.
        type: str
      version:
        description: Stands for the secret in the key, as nothing of the secret may be there. Change it to build anew with another one.
        type: str
        default: ""
  containerfile:
    description:
      - Path of the Containerfile on the build host. Make it absolute, for example with C(playbook_dir) or C(inventory_dir),
        because Ansible does not say where a relative path would start.
      - Without it and O(containerfile_content), the image consists of what the other options put on the base.
    type: path
  containerfile_content:
    description: The Containerfile itself.
    type: str
  containerfile_final:
    description:
      - Path of a Containerfile without C(FROM), for what has to come after the configuration.
    type: path
  containerfile_final_content:
    description: That Containerfile itself.
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
  version:
    description: The version of the image, which becomes the label C(org.opencontainers.image.version) and is what hosts show of it.
    type: str
  platforms:
    description:
      - The platforms to build for, such as V(linux/amd64) and V(linux/arm64). With more than one the result is an index.
        Steps for another architecture than the build host's need an emulator, C(qemu-user-static).
      - If empty, the build host's own.
    type: list
    elements: str
    default: []
  push:
    description:
      - Whether to push. If V(false), the image stays in the storage of the build host under both tags.
        That is also where it is looked for then.
    type: bool
    default: true
  base_authfile:
    description: Credentials for the images that are read, if they are not in O(authfile).
    type: path
  push_authfile:
    description: Credentials for the registry of O(image), if they are not in O(authfile).
    type: path
  checks:
    description:
      - What to do when the image would not work on a host, from C(bootc container lint) and checks that need no bootc.
        V(fail) does not push it, V(warn) reports it, V(skip) does not look.
      - The comparison with O(machine_config) and the search for secrets are always done.
    type: str
    choices: [fail, warn, skip]
    default: fail
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
  progress_file:
    description: Where to write how far the build is, for programs. The task shows it by itself.
    type: path
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
      RUN systemctl enable tuned

- name: An image of components and configuration, without a Containerfile
  imagemode.nodes.layered_image_build:
    image: registry.example.com/fleet/worker:2026.11
    base: registry.example.com/base/os:9.6
    version: "2026.11"
    components:
      - {name: kubelet, image: "registry.example.com/fleet/kubelet:1.33", rpms: /rpms}
      - {name: runtime, image: "registry.example.com/fleet/runtime:1.33", tree: /usr}
    machine_config: /var/lib/builds/worker-config
    kernel_arguments: [nosmt]
    sign:
      sigstore_key: /etc/pki/containers/fleet.key
      passphrase_file: /etc/pki/containers/fleet.passphrase

- name: A secret for a step, and a repository that is only there while the image is built
  imagemode.nodes.layered_image_build:
    image: registry.example.com/fleet/node:2026.11
    base: registry.example.com/base/os:9.6
    repositories:
      - {name: fleet, baseurl: "https://repo.example.com/el9", gpgkey: /etc/pki/rpm-gpg/fleet.asc}
    packages: [tuned]
    secrets:
      - {id: license, src: /etc/agent/license, version: "2026-11"}
    containerfile_content: |
      RUN --mount=type=secret,id=license agent-setup --license /run/secrets/license
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
    - V(sign) if there was one that only lacked the signature.
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
changed_inputs:
  description: The inputs in which the image that was under the tag differs, where it is built anew and says from what it was made.
  returned: success
  type: list
  elements: str
  sample: [component kubelet, context]
base:
  description: The image that was built on, pinned by digest.
  returned: once it is known
  type: str
components:
  description: The components of the image.
  returned: once they are known
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    version:
      description: Its version.
      type: str
      returned: always
    image:
      description: Its image, pinned by digest.
      type: str
      returned: always
    kind:
      description: V(tree) or V(rpms).
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
        cannot be had, V(step) a step failed, V(conflict) two components bring the same path, V(verify) the image differs from the
        machine config, V(lint) the image would not work on a host, V(leak) a secret is in it, V(sign) it could not be signed,
        V(push), V(registry), V(disk) the build host is full, V(engine) the engine is missing or cannot work.
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
from ansible_collections.imagemode.nodes.plugins.module_utils._build.layered_build import layered_build
from ansible_collections.imagemode.nodes.plugins.module_utils._build.module_outcome import finish
from ansible_collections.imagemode.nodes.plugins.module_utils._build.options import BUILD_RULES, BUILD_SPEC


def main() -> None:
    """Run on the build host."""
    module = AnsibleModule(
        argument_spec=BUILD_SPEC,
        supports_check_mode=True,
        **BUILD_RULES,
    )
    finish(module, layered_build(module.params, module.check_mode))


if __name__ == "__main__":
    main()
