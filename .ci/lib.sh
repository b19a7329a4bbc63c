# Helpers for the scripts beside this file; sourced, not run.

# A directory of this run, gone at its end together with all processes that
# were started through `background`.
work=$(mktemp -d)
background_pids=()

finish() {
  local pid
  for pid in ${background_pids[@]+"${background_pids[@]}"}; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  # The module cache is read-only, and so are copies of it.
  chmod -R u+w "$work" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# background COMMAND... starts a process that ends with this script; its id is
# in $last_pid.
background() {
  "$@" &
  last_pid=$!
  background_pids+=("$last_pid")
}

# answers HOST PORT: does anything take a TCP connection there?
answers() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# free_port prints a TCP port of 127.0.0.1 on which nobody listens, outside the
# range from which the kernel takes ports for outgoing connections.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 12000))
    answers 127.0.0.1 "$port" || { echo "$port"; return; }
  done
  echo "no free port found" >&2
  return 1
}

# start_warren [FLAG...] starts $work/warren in memory on a free port of
# 127.0.0.1 and waits until it answers; the port is in $warren_port, and its
# output in $work/warren.log.
start_warren() {
  warren_port=$(free_port)
  background "$work/warren" -listen "127.0.0.1:$warren_port" -data "" "$@" >"$work/warren.log" 2>&1 </dev/null
  for _ in $(seq 100); do
    answers 127.0.0.1 "$warren_port" && return
    kill -0 "$last_pid" 2>/dev/null || break
    sleep 0.1
  done
  echo "warren does not answer on 127.0.0.1:$warren_port" >&2
  cat "$work/warren.log" >&2
  return 1
}
