#!/usr/bin/env bash
# One of several processes in an image, out of the image's reach: again.sh COMMAND... ends with 75, 'again', where the
# command was told to end and lost its image over it. What it saved last is what it goes on from.
asked=
trap 'asked=yes' USR1 TERM # SLURM signals every process of a step: nothing to pass on
"$@" &
child=$!
while kill -0 "$child" 2>/dev/null; do
    wait "$child"
done
wait "$child"
code=$?
# 138: ended of SIGUSR1, which it does not know; at the time limit it would start anew for ever
if [ -n "$asked" ] && [ "$code" -ne 0 ] && [ "$code" -ne 138 ]; then code=75; fi
exit "$code"
