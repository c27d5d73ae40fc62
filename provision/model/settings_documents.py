"""The keys of a container that are settings of Docker alone, and the settings that they make.

Their names, values and meaning are those of Compose.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from provision.model.document import MAPPING, TEXT, Document
from provision.model.fields import container_settings as forms
from provision.model.fields.scalars import Argument, between, number_range
from provision.model.findings import BadValueError
from provision.model.inventory import ContainerSetting
from provision.model.text import quoted


def _as_text(value: Any) -> Any:
    """A number as text: in these keys, quotes make no difference."""
    return str(value) if type(value) is int else value


def _not_empty(items: list[str]) -> list[str]:
    if not items:
        raise BadValueError("the list is empty", "remove it, or write a value")
    return items


def _distinct_paths(value: Any) -> Any:
    """Refuse /run and /run/ together: the paths that are decoded are equal."""
    paths: set[str] = set()
    for key in value if isinstance(value, dict) else ():
        if isinstance(key, str) and key.startswith("/"):
            path = forms.absolute_path(key)
            if path in paths:
                raise BadValueError(f"{quoted(key)} has a file system already", "remove one")
            paths.add(path)
    return value


_NUMBER_OR_TEXT = WithJsonSchema({"type": ["integer", "string"]})


def _limit_tag(value: Any) -> str | None:
    if isinstance(value, dict):
        return MAPPING
    return TEXT if isinstance(value, str) or type(value) is int else None


def _restart(value: Any) -> Any:
    policy = forms.restart(value) if isinstance(value, str) else None
    if policy is None:
        # `schema_errors` words the message by this type of error.
        raise PydanticCustomError("literal_error", "unknown", {"expected": _RESTARTS})
    return policy


_RESTARTS = ", ".join(f"'{policy}'" for policy in forms.RESTARTS)
RestartPolicy = Annotated[
    str,
    BeforeValidator(_restart),
    WithJsonSchema(
        {"anyOf": [{"enum": list(forms.RESTARTS)}, {"pattern": "^on-failure:[0-9]{1,6}$"}]}
    ),
]
NumberOrText = Annotated[str, BeforeValidator(_as_text), _NUMBER_OR_TEXT]
SettingText = Annotated[NumberOrText, AfterValidator(forms.literal)]
Entrypoint = Annotated[list[Argument], AfterValidator(_not_empty)]
User = Annotated[NumberOrText, AfterValidator(forms.user)]
ContainerPath = Annotated[str, AfterValidator(forms.absolute_path)]
HostNameInside = Annotated[str, AfterValidator(forms.hostname)]
Signal = Annotated[NumberOrText, AfterValidator(forms.signal)]
Length = Annotated[str, AfterValidator(forms.length)]
Seconds = Annotated[str, AfterValidator(forms.whole_seconds)]
Memory = Annotated[NumberOrText, AfterValidator(forms.memory)]
ShmSize = Annotated[NumberOrText, AfterValidator(forms.shm_size)]
Cpus = Annotated[NumberOrText, AfterValidator(forms.cpus)]
Capability = Annotated[str, AfterValidator(forms.capability)]
Device = Annotated[str, AfterValidator(forms.device)]
SysctlName = Annotated[str, AfterValidator(forms.sysctl_name)]
UlimitName = Annotated[str, AfterValidator(forms.ulimit_name)]
LabelName = Annotated[str, AfterValidator(forms.label_name)]
ExtraHostName = Annotated[str, AfterValidator(forms.extra_host)]
ExtraAddress = Annotated[str, AfterValidator(forms.extra_address)]
LogDriver = Annotated[str, AfterValidator(forms.log_driver)]
TmpfsOptions = Annotated[NumberOrText, AfterValidator(forms.tmpfs_options)]
HealthTest = Annotated[list[Argument], AfterValidator(forms.test)]
Retries = Annotated[int, AfterValidator(between(1, 1000, "retries")), number_range(1, 1000)]


class HealthcheckDocument(Document):
    """`healthcheck`: a command that Docker runs in the container."""

    test: HealthTest | None = None
    interval: Length | None = None
    timeout: Length | None = None
    start_period: Length | None = None
    start_interval: Length | None = None
    retries: Retries | None = None


class LoggingDocument(Document):
    """`logging`: Docker's log driver and its options."""

    driver: LogDriver | None = None
    options: dict[Argument, SettingText] = {}


class UlimitDocument(Document):
    """An entry of `ulimits` with two limits."""

    soft: NumberOrText
    hard: NumberOrText

    @model_validator(mode="after")
    def _ordered(self) -> UlimitDocument:
        forms.ulimit(self.soft, self.hard)
        return self

    def __str__(self) -> str:
        return forms.ulimit(self.soft, self.hard)


def _single_limit(text: str) -> str:
    return forms.ulimit(text, text)


Limit = Annotated[NumberOrText, AfterValidator(_single_limit), Tag(TEXT)]
LimitPair = Annotated[UlimitDocument, Tag(MAPPING)]
Ulimit = Annotated[Limit | LimitPair, Discriminator(_limit_tag)]


class SettingsDocument(Document):
    """The keys of a container that Docker keeps as they are."""

    entrypoint: Entrypoint | None = None
    user: User | None = None
    working_dir: ContainerPath | None = None
    hostname: HostNameInside | None = None
    labels: dict[LabelName, SettingText] = {}
    healthcheck: HealthcheckDocument | None = None
    cap_add: list[Capability] = []
    cap_drop: list[Capability] = []
    devices: list[Device] = []
    sysctls: dict[SysctlName, SettingText] = {}
    ulimits: dict[UlimitName, Ulimit] = {}
    logging: LoggingDocument | None = None
    extra_hosts: dict[ExtraHostName, ExtraAddress] = {}
    group_add: list[User] = []
    security_opt: list[Argument] = []
    tmpfs: Annotated[dict[ContainerPath, TmpfsOptions], BeforeValidator(_distinct_paths)] = {}
    shm_size: ShmSize | None = None
    mem_limit: Memory | None = None
    cpus: Cpus | None = None
    stop_signal: Signal | None = None
    stop_grace_period: Seconds | None = None
    init: bool | None = None
    privileged: bool = False
    read_only: bool = False
    tty: bool = False
    stdin_open: bool = False

    def settings(self) -> tuple[ContainerSetting, ...]:
        """The settings, sorted by key."""
        return tuple(sorted(self._settings(), key=lambda setting: setting.key))

    def _settings(self) -> Iterator[ContainerSetting]:
        for key in _TEXTS:
            if (text := getattr(self, key)) is not None:
                yield ContainerSetting(key, text)
        for key in _FLAGS:
            if flag := getattr(self, key):
                yield ContainerSetting(key, "true")
            elif key == "init" and flag is False:
                yield ContainerSetting(key, "false")
        for key, is_set in _LISTS.items():
            if entries := getattr(self, key):
                # Capabilities are a set, whose order Docker does not keep.
                entries = sorted(set(entries)) if is_set else entries
                yield ContainerSetting(key, json.dumps(entries))
        for key in _MAPPINGS:
            for name, value in getattr(self, key).items():
                yield ContainerSetting(f"{key}.{name}", str(value))
        yield from self._logging()
        yield from self._healthcheck()

    def _logging(self) -> Iterator[ContainerSetting]:
        if self.logging is not None:
            if self.logging.driver is not None:
                yield ContainerSetting("logging.driver", self.logging.driver)
            for name, value in self.logging.options.items():
                yield ContainerSetting(f"logging.options.{name}", value)

    def _healthcheck(self) -> Iterator[ContainerSetting]:
        for key, value in self.healthcheck or ():
            if value is not None:
                text = json.dumps(value) if key == "test" else str(value)
                yield ContainerSetting(f"healthcheck.{key}", text)


_TEXTS = (
    *("user", "working_dir", "hostname", "shm_size", "mem_limit", "cpus"),
    *("stop_signal", "stop_grace_period"),
)
_FLAGS = ("init", "privileged", "read_only", "tty", "stdin_open")
_LISTS = {
    **dict.fromkeys(("cap_add", "cap_drop"), True),
    **dict.fromkeys(("entrypoint", "devices", "group_add", "security_opt"), False),
}
"""The keys with lists; True for one whose order has no meaning."""
_MAPPINGS = ("labels", "sysctls", "ulimits", "extra_hosts", "tmpfs")
