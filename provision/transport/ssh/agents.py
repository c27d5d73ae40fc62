"""Agents: the keys of the one that IdentityAgent names, else of SSH_AUTH_SOCK."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH

from provision.transport.ssh.endpoint import home_expanded

ANSWER_S = 30.0
"""Seconds that an agent has for an answer: it may ask a person."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent at a socket; None: there is none."""

    path: Path | None

    def keys(self) -> tuple[paramiko.AgentKey, ...]:
        """The keys of the agent; none if it does not answer, as for ssh."""
        if self.path is None:
            return ()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(self.path))
            return _Client(connection).get_keys()
        except (paramiko.SSHException, OSError):
            connection.close()
            return ()


class _Client(AgentSSH):
    """paramiko's client for agents, which knows only SSH_AUTH_SOCK by itself."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connect(connection)  # type: ignore[attr-defined]


def agent(option: str) -> Agent:
    """The agent that a value of IdentityAgent names, whose tokens have been replaced."""
    if option.lower() == "none":
        return Agent(None)
    if option.startswith("$"):
        option = os.environ.get(option[1:].strip("{}"), "")
    elif option == "SSH_AUTH_SOCK":
        option = os.environ.get("SSH_AUTH_SOCK", "")
    return Agent(home_expanded(option) if option else None)
