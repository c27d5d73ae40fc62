# container_id NAME and network_id NAME print the full id, and nothing where none has the name.
# Docker treats an unknown name as an id prefix and may match another container or network, so
# programs resolve the name first. Both fail where Docker does not answer: an unanswered question
# must not count as an absent container.
# Defines: container_id network_id

container_id() { ids=$(docker ps --all --no-trunc --format '{{.ID}} {{.Names}}') && id_of "$1"; }
network_id() { ids=$(docker network ls --no-trunc --format '{{.ID}} {{.Name}}') && id_of "$1"; }
id_of() {
  printf '%s\n' "$ids" | while read -r docker_id docker_name; do
    [ "$docker_name" != "$1" ] || echo "$docker_id"
  done
}
