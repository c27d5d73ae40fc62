# is_owned TYPE ID INVENTORY succeeds if a container or network has the label of an inventory.
# TYPE is `container` or `network`. Status 1: it has another label, or none. Status 2: Docker does
# not tell. Names say nothing: others may have removed ours and made their own of the same name.
# Defines: is_owned

is_owned() {
  case $1 in container) labels=.Config.Labels ;; *) labels=.Labels ;; esac
  label=$(docker inspect --type "$1" --format "{{index $labels \"provision\"}}" "$2") || return 2
  case $label in "$3" | "$3"/*) ;; *) return 1 ;; esac
}
