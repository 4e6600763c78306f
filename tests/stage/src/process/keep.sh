# Runs a program for a process that may be killed at any moment: that process
# holds the other end of the pipe on stdin, and when the pipe closes the program
# is killed. Until then each line of the pipe names a signal for the program.
#
#   sh -c <this> sh STDIN STDOUT STDERR PROGRAM ARGUMENT...
#
# Says the program's process id, and ends with the program's status.
in=$1 out=$2 err=$3
shift 3
exec 3<&0 </dev/null
"$@" <"$in" >>"$out" 2>>"$err" 3<&- &
child=$!
{
    while read -r signal <&3; do kill -s "$signal" "$child"; done
    kill -s KILL "$child"
} >/dev/null 2>&1 &
watcher=$!
exec 3<&-
echo "$child"
exec >&-
wait "$child"
status=$?
kill -s KILL "$watcher"
exit "$status"
