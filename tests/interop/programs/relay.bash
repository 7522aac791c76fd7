# A client on bash's /dev/tcp: `relay.bash talk|copy|read PORT [LINES]`. It cannot half-close: newlines are counted.
exec 3<>"/dev/tcp/127.0.0.1/$2" || exit
case $1 in
talk) # a line, its answer, the next line
  while IFS= read -r line; do
    printf '%s\n' "$line" >&3
    IFS= read -r answer <&3 || exit
    printf '%s\n' "$answer"
  done
  ;;
copy) # standard input to the daemon, and meanwhile so many lines of the answer to standard output
  cat <&0 >&3 &
  head -n "$3" <&3
  ;;
read) # the same by bash alone
  while IFS= read -r line; do printf '%s\n' "$line"; done <&0 >&3 &
  for ((count = 0; count < $3; count++)); do
    IFS= read -r answer <&3 || exit
    printf '%s\n' "$answer"
  done
  ;;
esac
wait
