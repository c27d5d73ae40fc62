"""Steps that restart Docker on a host, and that stop and start its containers. Pure."""

from __future__ import annotations

from provision.resources.steps import Run, sh

# Docker before 23 has no --validate; there a start that fails is reverted.
VALIDATE = sh("dockerd --help | grep -q -- --validate || exit 0; dockerd --validate >/dev/null")
# systemd refuses to start a unit that has failed too often (StartLimitBurst) until it is reset.
RESTART = sh("systemctl reset-failed docker 2>/dev/null; systemctl restart docker.service")

# Arguments: docker0's address, MTU and masquerading as dockerd ran with them.
RUNS_WITH = r"""
option() { docker network inspect --format "{{index .Options \"com.docker.network.$1\"}}" bridge; }
mtu=$(option driver.mtu) && masquerade=$(option bridge.enable_ip_masquerade) || exit
[ "${mtu:-1500} ${masquerade:-true}" = "$2 $3" ] &&
[ "$(ip -4 -o address show dev docker0 | sed -n 's/.* inet \([0-9./]*\) .*/\1/p')" = "$1" ]
"""


def each(verb: str, ids: tuple[str, ...]) -> Run:
    """`docker VERB` for each container that still exists: the same plan may have removed some.

    One that is removed is stashed until the change is confirmed: it stays stopped, since its
    networks may be gone already. Docker lists the newest first, so that one which shares the
    namespace of another cannot start before it: each that fails is tried once more.
    """
    name = """name=$(docker ps -a --no-trunc -f "id=$c" --format '{{.Names}}')"""
    stashed = "case ${name##*.provision-} in *[!0-9a-f]*) ;; *) continue ;; esac"
    absent = f"case $name in '') continue ;; *.provision-?*) {stashed} ;; esac"
    first = f'{name}; {absent}; docker {verb} "$c" >/dev/null 2>&1 || again="$again $c"'
    second = f'docker {verb} "$c" >/dev/null || failed=yes'
    loops = f"again='' failed=''; for c; do {first}; done; for c in $again; do {second}; done"
    return sh(f'{loops}; [ -z "$failed" ]', *ids)
