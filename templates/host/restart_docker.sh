# Restarts Docker, which makes its firewall rules again, and starts the containers that ran.
# With live-restore they run on; without it Docker starts only those with a restart policy itself.

running=$(docker ps -q --no-trunc) || exit
systemctl reset-failed docker 2>/dev/null
systemctl restart docker.service || exit
# The newest come first: one that shares the namespace of another is tried again after that one.
again=
for container in $running; do
  [ -n "$(docker ps -aq --no-trunc -f "id=$container")" ] || continue
  docker start "$container" >/dev/null 2>&1 || again="$again $container"
done
failed=
for container in $again; do docker start "$container" >/dev/null || failed=yes; done
[ -z "$failed" ]
