"""The limit of the benchmark: a bare loop of threads, each with one paramiko connection.

    python limit.py KNOWN_HOSTS KEY FOLDER END HOST ADDRESS …

Runs the script FOLDER/HOST.sh on each host, as `provision` does, and discards the output. The
output must contain END, which the script prints last: an exit status of 0 would also be that of
a shell that read no script at all.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko

# provision's transport runs scripts like this: the shell reads the whole script before it runs
# any of it. `sh -s` would stop at the script's own `exec </dev/null`.
SHELL = """sh -c 'eval "$(cat)"'"""


def main(known_hosts: str, key: str, folder: str, end: str, *pairs: str) -> None:
    """Run the script of every host once, on all hosts at the same time."""
    private_key = paramiko.Ed25519Key.from_private_key_file(key)

    def run(host: str, address: str) -> None:
        client = paramiko.SSHClient()
        client.load_host_keys(known_hosts)
        client.connect(
            address, username="root", pkey=private_key, look_for_keys=False, allow_agent=False
        )
        channel = client.get_transport().open_session()
        channel.exec_command(SHELL)
        channel.sendall(Path(folder, f"{host}.sh").read_bytes())
        channel.shutdown_write()
        output = bytearray()
        while chunk := channel.recv(65536):
            output += chunk
        if end.encode() not in output:
            raise SystemExit(f"{host}: the script did not run to its end: {bytes(output[-500:])!r}")
        client.close()

    hosts, addresses = pairs[::2], pairs[1::2]
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(run, hosts, addresses))


if __name__ == "__main__":
    main(*sys.argv[1:])
