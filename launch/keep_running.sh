#!/usr/bin/env bash
# Runs a command again for as long as it ends with 42: stopped with the state saved, start me again.
#
#   keep_running.sh STATE COMMAND...
#
# The file STATE says `running PID` (of this script), and at the end `ended CODE`. A SIGTERM to this script is passed on;
# the command may save and leave, and is then not started again. RESTART_SECONDS (10) lie between two starts.
set -u

(($# >= 2)) || {
  echo "keep_running.sh: STATE and COMMAND are needed" >&2
  exit 2
}
state=$1
shift
stop='' signalled='' child=''

# shellcheck disable=SC2329 # called by the trap
pass_on() {
  stop=1 signalled=1
  if [[ -n $child ]]; then kill -TERM "$child" 2>/dev/null; fi
}
trap pass_on TERM INT

say_state() {
  echo "$*" >"$state.new" && mv "$state.new" "$state"
}

say_state "running $$"
while :; do
  "$@" &
  child=$!
  # A signal ends the wait, not the command.
  signalled=1
  while [[ -n $signalled ]]; do
    signalled=
    wait "$child"
    code=$?
  done
  child=
  if ((code != 42)) || [[ -n $stop ]]; then break; fi
  sleep "${RESTART_SECONDS:-10}" &
  wait $!
  if [[ -n $stop ]]; then break; fi
done
say_state "ended $code"
exit "$code"
