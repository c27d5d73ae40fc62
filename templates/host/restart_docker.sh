# Restarts Docker, which makes its firewall rules again, and starts the containers that ran.
# With live-restore they run on; without it Docker starts only those with a restart policy itself.

running=$(docker ps -q --no-trunc) || exit
systemctl reset-failed docker 2>/dev/null
systemctl restart docker.service || exit
for container in $running; do
  [ -n "$(docker ps -aq --no-trunc -f "id=$container")" ] || continue
  docker start "$container" >/dev/null || exit
done
