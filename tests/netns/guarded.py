"""The real guard in a namespace: systemd and Docker are stand-ins, the kernel is this machine's."""

from __future__ import annotations

from provision.engine import guard
from provision.engine.guard import TransactionStep, Txn
from provision.engine.records import TransactionRecord, readable_records
from provision.transport.base import Output
from tests.netns.test_kinds import HOST, Namespace

TXN = Txn("0a", "secret", "me@here", "demo", "apply")
CHANGE = "echo changed >/run/changed\n"
UNDO = """case $1 in
list) echo 0 ;;
early) ;;
0) rm -f /run/changed ;;
esac
"""

# Runs a command as systemd does: with no variable of the login. Timers are not started.
_SYSTEMD_RUN = r"""#!/bin/sh
case $* in *--wait*) ;; *) exit 0 ;; esac
while [ "$1" != /bin/sh ]; do shift; done
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
"""
# /run/job: what `show` says of the boot unit. Units of acts have ended, timers run.
_SYSTEMCTL = r"""#!/bin/sh
case $* in
show*) cat /run/job 2>/dev/null ;;
*is-active*timer) ;;
*is-active*) exit 3 ;;
esac
exit 0
"""
# The docker command as it is with a broken configuration, another daemon, or one that is down.
_DOCKER = r"""#!/bin/sh
config=${DOCKER_CONFIG:-$HOME/.docker}/config.json
[ ! -e "$config" ] || echo "WARNING: Error loading config file: $config: invalid character" >&2
if [ -n "$DOCKER_HOST$DOCKER_CONTEXT" ] || [ -e /run/docker-down ]; then
  echo 'Cannot connect to the Docker daemon' >&2; exit 1
fi
case $1 in ps) echo 0a1 ;; inspect) echo '/web image running' ;; esac
"""
_INSTALL = f"""
mount -t tmpfs none /usr/local/sbin
mount -t tmpfs none /root; mkdir /root/.docker
put() {{ cat >"$1" && chmod 755 "$1"; }}
put /run/systemd-run <<'@'
{_SYSTEMD_RUN}
@
put /run/systemctl <<'@'
{_SYSTEMCTL}
@
put /usr/local/sbin/docker <<'@'
{_DOCKER}
@
for tool in systemd-run systemctl; do
  mount --bind "/run/$tool" "$(command -v "$tool")"
done
"""


class Guarded:
    """A namespace with a guard, and its change `TXN`."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        namespace.sh(_INSTALL)

    def run(self, script: str, variables: str = "") -> Output:
        """Run a script in a login that has these `variables`, lines of shell text."""
        return self.namespace.transport.run(HOST, f"{variables}\n{script}", timeout_s=100)

    def arm(self, variables: str = "") -> None:
        """Arm the guard for `CHANGE`."""
        script = guard.arm(TXN, TransactionStep(UNDO, ":\n"), seconds=60, nonce="n")
        output = self.run(script, variables)
        assert output.status == 0, output

    def act(self, variables: str = "") -> Output:
        """Make the change."""
        journal = f"{guard.journal(1).replace('$1', '0')}\n"
        return self.run(guard.act(TXN, 1, journal + CHANGE, nonce="n"), variables)

    def revert(self, variables: str = "") -> TransactionRecord:
        """Roll the change back; the host's record of it."""
        output = self.run(guard.revert(TXN.id, "failed", nonce="n"), variables)
        (record,) = readable_records(output.stdout)
        return record

    def boot(self, stage: str) -> Output:
        """Run the guard as a boot unit does."""
        path, _ = guard.program()
        return self.run(f"env -i PATH=/usr/bin:/bin sh {path} boot {stage}")
