#!/usr/bin/env bash
# librabbitmq through amqp-tools. What it shows: see README.md. The tools have
# no confirms and no transactions, and each is a connection of its own.
set -euo pipefail

export url=$WARREN_URL queue="clients.amqp-tools.$$"
dir=$(mktemp -d)
consumer=
finish() {
  [ -z "$consumer" ] || kill "$consumer" 2>/dev/null || true
  amqp-delete-queue -u "$url" -q "$queue" >/dev/null 2>&1 || true # there after a failure only
  rm -rf "$dir"
}
trap finish EXIT

# check WHAT GOT WANT
check() { [ "$2" = "$3" ] || { printf '%s: got %q, want %q\n' "$1" "$2" "$3" >&2; exit 1; }; }

# refused TEXT COMMAND... wants a command to fail with a message that has TEXT.
refused() {
  local text=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "$* did not fail" >&2
    exit 1
  fi
  [[ $output == *"$text"* ]] || { echo "$* failed with '$output', not with '$text'" >&2; exit 1; }
}

# queue_is_empty: amqp-get has an exit status for that.
queue_is_empty() {
  local code=0
  amqp-get -u "$url" -q "$queue" >"$dir/got" || code=$?
  check "get from an empty queue: exit status" "$code" 2
}

echo "amqp-tools $(dpkg-query -W -f '${Version}' amqp-tools)"

check "declared queue" "$(amqp-declare-queue -u "$url" -q "$queue")" "$queue"
generated=$(amqp-declare-queue -u "$url" -q "")
check "generated queue name" "${generated%%-*}" amq.gen
check "messages in the deleted queue" "$(amqp-delete-queue -u "$url" -q "$generated")" 0

# Bodies of no, of few and of many bytes.
: >"$dir/empty"
printf 'gr\303\274\303\237e' >"$dir/text"
head -c 300000 /dev/urandom >"$dir/large"
for body in empty text large; do
  amqp-publish -u "$url" -r "$queue" -p -C text/plain -E utf-8 -t reply -H 'name: value' <"$dir/$body"
done
for body in empty text large; do
  amqp-get -u "$url" -q "$queue" >"$dir/got"
  cmp "$dir/$body" "$dir/got"
done
queue_is_empty

# While 1 is at work, 2 is still in the queue: -c 1 also means a prefetch of 1.
seq 5 | amqp-publish -u "$url" -r "$queue" -l
check "consumed, and then got" \
  "$(amqp-consume -u "$url" -q "$queue" -c 1 -- sh -c 'cat; amqp-get -u "$url" -q "$queue"' | xargs)" "1 2"

# amqp-consume does not acknowledge a message for which its command fails.
check "consumed" "$(amqp-consume -u "$url" -q "$queue" -p 2 -c 3 -- sh -c 'read n; echo "$n"; [ "$n" != 3 ]' | xargs)" "3 4 5"
check "back in the queue" "$(amqp-get -u "$url" -q "$queue")" 3
queue_is_empty

# Heartbeats alone keep an idle consumer; then a message comes by way of an
# exchange.
amqp-consume -u "$url" --heartbeat=2 -e amq.topic -r "$queue.*" -c 1 -- cat >"$dir/got" 2>"$dir/log" &
consumer=$!
sleep 6.5
amqp-publish -u "$url" -e amq.topic -r "$queue.key" -b bound
wait "$consumer" || { cat "$dir/log" >&2; exit 1; }
consumer=
check "body by way of an exchange" "$(cat "$dir/got")" bound

check "messages in the deleted queue" "$(amqp-delete-queue -u "$url" -q "$queue")" 0
refused "server channel error 404, message: NOT_FOUND - no queue '$queue' in vhost" amqp-get -u "$url" -q "$queue"
refused "server connection error 403, message: ACCESS_REFUSED" amqp-get -u "amqp://nobody:wrong@${url#*@}" -q "$queue"
