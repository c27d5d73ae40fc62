"""Plain data → the documents of `inventory_schema`, item by item.

An item with a mistake is left out and its mistakes are told, so that the rules can still be
asked about all the others. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from provision import methods
from provision.inventory.schema import network_document, options_of
from provision.inventory.schema_errors import finding
from provision.model.documents import (
    ContainerDocument,
    Decoded,
    Document,
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

SECTIONS = ("hosts", "groups", "networks", "containers")
_Doc = TypeVar("_Doc", bound=Document)
_MEMBERS = TypeAdapter(list[str])


def decode(data: object) -> Decoded:
    """All documents of a file's data, and every finding about them."""
    decoder = _Decoder()
    top = decoder.document(TopDocument, data, ())
    found = data if isinstance(data, dict) else {}
    raw = {name: _mapping(found.get(name)) for name in SECTIONS}
    ssh = decoder.document(SshDocument, found.get("ssh"), ("ssh",))
    networks = decoder.networks(raw["networks"])
    options = decoder.options(networks)
    return Decoded(
        name=top.name if top else "",
        ssh=ssh or SshDocument(),
        hosts=decoder.items(HostDocument, raw["hosts"], "hosts"),
        host_ssh=decoder.host_ssh(raw["hosts"]),
        groups=decoder.groups(raw["groups"]),
        networks={name: networks[name] for name in options},
        options=options,
        containers=decoder.items(ContainerDocument, raw["containers"], "containers"),
        declared={name: tuple(raw[name]) for name in SECTIONS},
        packages=top.packages if top else "install",
        findings=tuple(decoder.findings),
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


class _Decoder:
    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def document(self, kind: type[_Doc], value: object, at: Loc) -> _Doc | None:
        try:
            return kind.model_validate({} if value is None else value)
        except ValidationError as error:
            self.refuse(error, at, tuple(kind.model_fields))
            return None

    def refuse(self, error: ValidationError, at: Loc, known: tuple[str, ...]) -> None:
        details = error.errors(include_url=False)
        self.findings += [finding(detail, at, known) for detail in details]

    def items(self, kind: type[_Doc], raw: dict[str, Any], section: str) -> dict[str, _Doc]:
        documents = {n: self.document(kind, value, (section, n)) for n, value in raw.items()}
        return {name: document for name, document in documents.items() if document}

    def host_ssh(self, raw: dict[str, Any]) -> dict[str, HostSshDocument]:
        """The ssh of each host that says something of its own."""
        given = {name: value["ssh"] for name, value in raw.items() if "ssh" in _mapping(value)}
        documents = {
            name: self.document(HostSshDocument, value, ("hosts", name, "ssh"))
            for name, value in given.items()
        }
        return {name: document for name, document in documents.items() if document}

    def groups(self, raw: dict[str, Any]) -> dict[str, list[str]]:
        groups = {}
        for name, value in raw.items():
            try:
                groups[name] = _MEMBERS.validate_python(value, strict=True)
            except ValidationError as error:
                self.refuse(error, ("groups", name), ())
        return groups

    def networks(self, raw: dict[str, Any]) -> dict[str, NetworkDocument]:
        documents = {name: self.network(name, value) for name, value in raw.items()}
        return {name: document for name, document in documents.items() if document}

    def network(self, name: str, value: object) -> NetworkDocument | None:
        """A network with its method's keys; of an unknown method only the method is told."""
        method = value.get("method") if isinstance(value, dict) else None
        if isinstance(method, str) and method not in methods.names():
            self.findings.append(_no_method(method, ("networks", name, "method")))
            return None
        kind = network_document(method) if isinstance(method, str) else NetworkDocument
        return self.document(kind, value, ("networks", name))

    def options(self, networks: Mapping[str, NetworkDocument]) -> dict[str, MethodOptions]:
        """What the methods themselves make of their keys."""
        found: dict[str, MethodOptions] = {}
        for name, document in networks.items():
            kind = options_of(document.method)
            try:
                found[name] = kind(**{f.name: getattr(document, f.name) for f in fields(kind)})
            except ValueError as error:
                hint = error.hint if isinstance(error, BadValueError) else ""
                self.findings.append(Finding(("networks", name), str(error), hint))
        return found


def _no_method(method: str, at: Loc) -> Finding:
    known = methods.names()
    return Finding(at, f"unknown method {quoted(method)}", did_you_mean(method, known, "methods"))
