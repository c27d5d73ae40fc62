# serve starts the servers of one target and prints `serves NAME`, or `failed NAME REASON`.
# Prelude: compare/within.sh
# Variables: pids life program
# Defines: serve
# Arguments: candidate, process id, address, port of iperf3, port of answer.pl.
# $pids is the folder with a file for each process that runs; $life the seconds after which a server
# ends by itself; $program the text of answer.pl.

serve() {
  log=$pids/log.$1; tries=0
  within "$2" setsid timeout "$life" iperf3 -s -B "$3" -p "$4" >"$log" 2>&1 &
  iperf=$!; echo >"$pids/$iperf" || { kill "$iperf"; return; }
  answerer=$(within "$2" perl -e "$program" "$life" "$3" "$5" 2>&1)
  case $answerer in
    *[!0-9]*|'') echo "failed $1 $answerer" | tr '\n' ' '; echo; return;;
    *) echo >"$pids/-$answerer" || kill -- "-$answerer";; # it leads a process group
  esac
  until [ -n "$(within "$2" ss -Hltn "sport = :$4")" ]; do
    tries=$((tries + 1)); [ $tries -lt 50 ] || break
    sleep 0.1
  done
  sleep 0.1
  # /proc/PID/cmdline is empty for a process that has ended, but that nobody has waited for.
  if [ -n "$(tr -d '\0' <"/proc/$iperf/cmdline")" ]; then rm -f "$log"; echo "serves $1"
  else echo "failed $1 iperf3: $(tail -n 1 "$log")"; fi
}
