"""The files that an inventory names: SSH keys, image archives, programs for hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from provision import methods
from provision.model.documents import ContainerDocument, Decoded, ValueDocument
from provision.model.fields import images, secrets, ssh_keys
from provision.model.findings import BadValueError, Finding, Loc
from provision.model.inventory import Image, LocalBinary, MethodOptions


class NamedFiles:
    """The files of an inventory in `folder`; each archive is read once.

    `key` is the private key for all hosts, `host_keys` those of single hosts, `of_networks` the
    programs that the hosts of each network get, `variables` those of each container,
    `network_secrets` those of each network by option, `secrets` the files with values of variables
    and secrets, and `findings` the files that cannot be used.
    """

    def __init__(self, decoded: Decoded, folder: Path) -> None:
        self.folder = folder
        self.findings: list[Finding] = []
        self.key = self._key(decoded.ssh.key, ("ssh", "key"))
        self.host_keys = {
            name: self._key(ssh.key, ("hosts", name, "ssh", "key"))
            for name, ssh in decoded.host_ssh.items()
        }
        self.of_networks = {
            name: self._of_network(name, network.method, decoded.options[name])
            for name, network in decoded.networks.items()
        }
        self.secrets: list[Path] = []
        self.network_secrets = {
            name: dict(self._secrets(name, network.method, decoded.options[name]))
            for name, network in decoded.networks.items()
        }
        self.variables = {
            name: dict(self._variables(name, container))
            for name, container in decoded.containers.items()
        }
        self.archives: dict[str, Image | BadValueError] = {}
        for name, container in decoded.containers.items():
            if container.image is not None and not isinstance(container.image, str):
                self._archive(name, container.image.archive)

    def _key(self, text: str | None, loc: Loc) -> Path | None:
        try:
            return None if text is None else ssh_keys.private_key(text, self.folder)
        except BadValueError as error:
            self.findings.append(Finding(loc, error.message, error.hint))
            return None

    def _of_network(
        self, network: str, method: str, options: MethodOptions
    ) -> dict[str, LocalBinary]:
        """The controller's files that a network's hosts get, by the option that names them."""
        files: dict[str, LocalBinary] = {}
        for option, file in methods.named(method).controller_files(options, self.folder).items():
            if isinstance(file, BadValueError):
                loc = ("networks", network, *option.split("."))
                self.findings.append(Finding(loc, file.message, file.hint))
            else:
                files[option] = file
        return files

    def _secrets(
        self, network: str, method: str, options: MethodOptions
    ) -> Iterator[tuple[str, str]]:
        """The secrets of a network, by the option that names each."""
        for option, check in methods.named(method).secrets.items():
            source = getattr(options, option)
            if source is not None:
                try:
                    value = self._value(source)
                    check(value)
                    yield option, value
                except BadValueError as error:
                    loc = ("networks", network, option, "file" if source.file else "from_env")
                    self.findings.append(Finding(loc, error.message, error.hint))

    def _variables(self, name: str, container: ContainerDocument) -> Iterator[tuple[str, str]]:
        """The names and values of a container's variables; those of `env` count last."""
        yield from self._of_env_files(name, container)
        for variable, source in container.env.items():
            try:
                yield variable, self._value(source)
            except BadValueError as error:
                key = "file" if isinstance(source, ValueDocument) and source.file else "from_env"
                loc = ("containers", name, "env", variable, key)
                self.findings.append(Finding(loc, error.message, error.hint))

    def _of_env_files(self, name: str, container: ContainerDocument) -> Iterator[tuple[str, str]]:
        single = isinstance(container.env_file, str)
        files = [container.env_file] if isinstance(container.env_file, str) else container.env_file
        for k, file in enumerate(files or ()):
            try:
                path, variables = secrets.env_file(file, self.folder)
            except BadValueError as error:
                loc: Loc = ("containers", name, "env_file", *(() if single else (k,)))
                self.findings.append(Finding(loc, error.message, error.hint))
                continue
            self.secrets.append(path)
            yield from variables.items()

    def _value(self, source: str | ValueDocument) -> str:
        if isinstance(source, str):
            return source
        if source.file is None:
            return secrets.controller_variable(source.from_env or "")
        path, text = secrets.file_text(source.file, self.folder)
        self.secrets.append(path)
        return text

    def _archive(self, container: str, text: str) -> None:
        if text not in self.archives:
            self.archives[text] = self._image(text)
        error = self.archives[text]
        if isinstance(error, BadValueError):
            loc = ("containers", container, "image", "archive")
            self.findings.append(Finding(loc, error.message, error.hint))

    def _image(self, text: str) -> Image | BadValueError:
        # Imported here, as most inventories name no archive.
        from provision.model.fields.image_archives import saved_image

        try:
            return saved_image(text, self.folder)
        except BadValueError as error:
            return error

    def image(self, container: ContainerDocument) -> Image:
        """The image of a container; busybox where the file names none."""
        if container.image is None or isinstance(container.image, str):
            return Image(container.image or images.DEFAULT)
        image = self.archives[container.image.archive]
        assert isinstance(image, Image)  # otherwise `findings` is not empty
        return image
