# within PID COMMAND… executes a command in the network namespace of a process (0: this host). It
# replaces the shell, so call it in a subshell or in the background.
# Defines: within

within() {
  namespace=$1; shift
  if [ "$namespace" = 0 ]; then exec "$@"; else exec nsenter -t "$namespace" -n "$@"; fi
}
