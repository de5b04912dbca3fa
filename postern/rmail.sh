#!/bin/sh
# rmail - mail from UUCP: who sent it is said in the "From" lines at the start, the last host first.

path=
user=
line=
while IFS= read -r line; do
  case "$line" in
    "From "* | ">From "*) ;;
    *) break ;;
  esac
  rest="${line#*From }"
  user="${rest%% *}"
  case "$line" in
    *" remote from "*) path="$path${line##* remote from }!" ;;
  esac
  line=
done

sendmail="$(dirname "$0")/../sbin/sendmail"
if [ -n "$user" ]; then
  { printf '%s\n' "$line"; cat; } | "$sendmail" -i -f "$path$user" -- "$@"
else
  { printf '%s\n' "$line"; cat; } | "$sendmail" -i -- "$@"
fi
