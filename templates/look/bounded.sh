# `bounded COMMAND…` runs a command for at most 40 s and prints what it prints, if it ends well.
# Status 1: it failed or took too long. Status 3: it printed more than 8 MiB. The bound is needed
# since a shell keeps all of `$(…)` in memory: output without an end would fill the host's memory.
# Defines: bounded

bounded() {
  output=$({ timeout -k 2 40 "$@" && echo @whole; } | head -c 8388608)
  case $output in *@whole) printf '%s\n' "${output%@whole}"; return ;; esac
  [ ${#output} -lt 8388600 ] || return 3
  return 1
}
