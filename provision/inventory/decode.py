"""Decode the data of a file into documents, item by item. Pure.

An invalid item is left out and reported, so that the rules can still check all valid items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from provision import methods
from provision.inventory.schema import host_document, method_keys, network_document, options_of
from provision.inventory.schema_errors import finding
from provision.model.documents import (
    ContainerDocument,
    Decoded,
    Document,
    GuestDocument,
    HostDocument,
    HostSshDocument,
    NetworkDocument,
    SshDocument,
    TopDocument,
)
from provision.model.findings import BadValueError, Finding, Loc
from provision.model.inventory import MethodOptions
from provision.model.suggest import did_you_mean
from provision.model.text import quoted

SECTIONS = ("hosts", "groups", "networks", "containers", "guests")
_Doc = TypeVar("_Doc", bound=Document)
_MEMBERS = TypeAdapter(list[str])


def decode(data: object) -> Decoded:
    """All valid documents of a file's data, and the findings about the invalid ones."""
    decoder = _Decoder()
    top = decoder.document(TopDocument, data, ())
    sections = _mapping(data)
    raw = {name: _mapping(sections.get(name)) for name in SECTIONS}
    ssh = decoder.document(SshDocument, sections.get("ssh"), ("ssh",))
    networks = decoder.networks(raw["networks"])
    options = decoder.options(networks)
    return Decoded(
        name=top.name if top else "",
        ssh=ssh or SshDocument(),
        hosts=decoder.hosts(raw["hosts"]),
        host_ssh=decoder.host_ssh(raw["hosts"]),
        groups=decoder.groups(raw["groups"]),
        networks={name: networks[name] for name in options},
        options=options,
        containers=decoder.items(ContainerDocument, raw["containers"], "containers"),
        guests=decoder.items(GuestDocument, raw["guests"], "guests"),
        declared={name: tuple(raw[name]) for name in SECTIONS},
        packages=top.packages if top else "install",
        firewall=top.firewall if top else "report",
        findings=tuple(decoder.findings),
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class _Decoder:
    """Validates items and collects the findings."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def document(self, schema: type[_Doc], value: object, loc: Loc) -> _Doc | None:
        """The document of a mapping; None if it is invalid."""
        try:
            return schema.model_validate({} if value is None else value)
        except ValidationError as error:
            self.report(error, loc, schema)
            return None

    def report(self, error: ValidationError, loc: Loc, schema: type[Document] | None) -> None:
        details = error.errors(include_url=False)
        self.findings += [finding(detail, loc, schema) for detail in details]

    def items(self, schema: type[_Doc], raw: dict[str, Any], section: str) -> dict[str, _Doc]:
        documents = {n: self.document(schema, value, (section, n)) for n, value in raw.items()}
        return {name: document for name, document in documents.items() if document}

    def hosts(self, raw: dict[str, Any]) -> dict[str, HostDocument]:
        """The documents of hosts, with the keys of the methods that their mappings name."""
        schemas = {name: host_document(method_keys(_mapping(value))) for name, value in raw.items()}
        documents = {n: self.document(schemas[n], raw[n], ("hosts", n)) for n in raw}
        return {name: document for name, document in documents.items() if document}

    def host_ssh(self, raw: dict[str, Any]) -> dict[str, HostSshDocument]:
        """The `ssh` of each host that has one."""
        mappings = {name: value["ssh"] for name, value in raw.items() if "ssh" in _mapping(value)}
        documents = {
            name: self.document(HostSshDocument, value, ("hosts", name, "ssh"))
            for name, value in mappings.items()
        }
        return {name: document for name, document in documents.items() if document}

    def groups(self, raw: dict[str, Any]) -> dict[str, list[str]]:
        groups = {}
        for name, value in raw.items():
            try:
                groups[name] = _MEMBERS.validate_python(value, strict=True)
            except ValidationError as error:
                self.report(error, ("groups", name), None)
        return groups

    def networks(self, raw: dict[str, Any]) -> dict[str, NetworkDocument]:
        documents = {name: self.network(name, value) for name, value in raw.items()}
        return {name: document for name, document in documents.items() if document}

    def network(self, name: str, value: object) -> NetworkDocument | None:
        """A network with the keys of its method, which are unknown if the method is unknown."""
        method = value.get("method") if isinstance(value, dict) else None
        if isinstance(method, str) and not methods.is_known(method):
            self.findings.append(_unknown_method(method, ("networks", name, "method")))
            return None
        schema = network_document(method) if isinstance(method, str) else NetworkDocument
        return self.document(schema, value, ("networks", name))

    def options(self, networks: Mapping[str, NetworkDocument]) -> dict[str, MethodOptions]:
        """The Options of each network; a method may refuse a combination of keys."""
        options: dict[str, MethodOptions] = {}
        for name, document in networks.items():
            cls = options_of(document.method)
            try:
                options[name] = cls(**{f.name: getattr(document, f.name) for f in fields(cls)})
            except ValueError as error:
                hint = error.hint if isinstance(error, BadValueError) else ""
                self.findings.append(Finding(("networks", name), str(error), hint))
        return options


def _unknown_method(method: str, loc: Loc) -> Finding:
    known = methods.names()
    hint = did_you_mean(method, known, "methods", limit=len(known))
    return Finding(loc, f"unknown method {quoted(method)}", hint)
