"""What the guard compares of Docker, from answers of its API."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from provision.resources.render import program_text

ID = "0b2c" * 16
NETWORK = {
    "Name": "blue",
    "Driver": "bridge",
    "IPAM": {"Driver": "default", "Config": [{"Subnet": "172.20.0.0/24"}]},
    "Options": {},
    "Labels": {"provision": "demo/blue"},
}
STUBS = """use strict; use warnings;
sub ask { return (STATUS, $ENV{ONE}) }
sub get_ours { my ($path) = @_; return $path =~ m{^/networks} ? $ENV{NETWORKS} : $ENV{LIST} }
"""


def container(**labels: str) -> dict[str, Any]:
    """The parts of an inspected container that the program reads, and some beside them."""
    return {
        "Id": ID,
        "Name": "/c1",
        "State": {"Status": "running", "Pid": 7},
        "HostConfig": {
            "LogConfig": {"Type": "json-file", "Config": {}},
            "NetworkMode": "blue",
            "Binds": ["/data:/data"],
            "PortBindings": {},
            "RestartPolicy": {"Name": "always"},
        },
        "Config": {"Image": "a:1", "Cmd": ["sleep", '"}\\'], "Labels": labels},
        "NetworkSettings": {"Networks": {"blue": {"IPAMConfig": {"IPv4Address": "172.20.0.9"}}}},
    }


def lines(one: object, *, status: int = 200) -> subprocess.CompletedProcess[str]:
    """Run the program with these answers of Docker."""
    program = STUBS.replace("STATUS", str(status)) + program_text("guard/docker_objects.pl")
    environment = {
        "ONE": one if isinstance(one, str) else json.dumps(one, separators=(",", ":")),
        "NETWORKS": json.dumps([NETWORK], separators=(",", ":")),
        "LIST": f'[{{"Id":"{ID}"}}]',
    }
    argv = ["perl", "-"]
    return subprocess.run(argv, input=program, capture_output=True, text=True, env=environment)


def test_what_is_compared_of_a_network_and_a_container() -> None:
    """Not the process id; the fixed address; the id only where values are not printed."""
    process = lines(container(provision="demo/blue"))
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.splitlines() == [
        'container "/c1" "a:1" ["sleep","\\"}\\\\"] {"provision":"demo/blue"}',
        'container "/c1" "running" "blue" {"Name":"always"}',
        'container "/c1" ["/data:/data"] {}',
        'container "/c1" blue "172.20.0.9"',
        'network "blue" "bridge" [{"Subnet":"172.20.0.0/24"}] {} {"provision":"demo/blue"}',
    ]
    assert f'"/c1" {ID}' in lines(container(**{"provision.env": "digest"})).stdout


def test_a_long_label_hides_nothing() -> None:
    """A program of perl counts no more than 65,535 repetitions of a group."""
    process = lines(container(provision="demo/blue", text='a"' * 20_000 + "b" * 50_000))
    assert process.returncode == 0
    assert 'container "/c1" blue "172.20.0.9"' in process.stdout.splitlines()


@pytest.mark.parametrize("answer", ['{"Name":"/c1","State":', '{"Name":"/c1","Config":{"Image"'])
def test_an_answer_that_is_cut_off_is_no_answer(answer: str) -> None:
    """Half of an object would be equal before and after a rollback that is not complete."""
    process = lines(answer)
    assert (process.returncode, process.stdout) == (1, "")


def test_a_container_that_docker_cannot_tell_of_hides_no_other_object() -> None:
    """Docker answers with status 500 for a container whose removal has failed."""
    assert f"container {ID} 500" in lines("{}", status=500).stdout
    assert 'network "blue"' in lines("{}", status=500).stdout
    assert "container" not in lines("{}", status=404).stdout
