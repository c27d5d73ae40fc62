"""The limit of the benchmark: one paramiko connection a host in threads, one script, no thought.

    python limit.py KNOWN_HOSTS KEY FOLDER HOST ADDRESS …

Runs the script FOLDER/HOST.sh on each host, reads its output and throws it away.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko


def main(known_hosts: str, key: str, folder: str, *pairs: str) -> None:
    """Ask every host once."""
    pkey = paramiko.Ed25519Key.from_private_key_file(key)

    def ask(host: str, address: str) -> None:
        client = paramiko.SSHClient()
        client.load_host_keys(known_hosts)
        client.connect(address, username="root", pkey=pkey, look_for_keys=False, allow_agent=False)
        channel = client.get_transport().open_session()
        channel.exec_command("sh -s")
        channel.sendall(Path(folder, f"{host}.sh").read_bytes())
        channel.shutdown_write()
        while channel.recv(65536):
            pass
        assert channel.recv_exit_status() == 0, host
        client.close()

    hosts, addresses = pairs[::2], pairs[1::2]
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(ask, hosts, addresses))


if __name__ == "__main__":
    main(*sys.argv[1:])
