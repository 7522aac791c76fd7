# Completion of upperctl(1) for fish. A test compares its words with the program's.

set -l commands send status stats top ping version
complete -c upperctl -f
complete -c upperctl -s h -l help -d 'Show the options'
complete -c upperctl -l socket -r -F -d "The daemon's socket"
complete -c upperctl -l tcp -x -a '(__fish_print_hostnames)' -d "The daemon's TCP address"
complete -c upperctl -s n -x -d "The daemon's name"

complete -c upperctl -n "not __fish_seen_subcommand_from $commands" -s V -l version -d 'Show the version'
complete -c upperctl -n "not __fish_seen_subcommand_from $commands" -a send -d 'Send text, print it in upper case'
complete -c upperctl -n "not __fish_seen_subcommand_from $commands" -a status -d 'Is it running?'
complete -c upperctl -n "not __fish_seen_subcommand_from $commands" -a stats -d 'What every child does, and the totals'
complete -c upperctl -n "not __fish_seen_subcommand_from $commands" -a top -d 'The children, live'
complete -c upperctl -n "not __fish_seen_subcommand_from $commands" -a ping -d 'Does it answer, and how fast?'
complete -c upperctl -n "not __fish_seen_subcommand_from $commands" -a version -d 'Of upperctl and of the daemon'

complete -c upperctl -n '__fish_seen_subcommand_from send' -l file -r -F -d 'Send this file'
complete -c upperctl -n '__fish_seen_subcommand_from send' -l timeout -x -d 'Seconds to wait for an answer'

complete -c upperctl -n '__fish_seen_subcommand_from status' -l json -d 'One JSON object'
complete -c upperctl -n '__fish_seen_subcommand_from stats' -l json -d 'One JSON object'
complete -c upperctl -n '__fish_seen_subcommand_from stats' -l prometheus -d "Prometheus's text format"
complete -c upperctl -n '__fish_seen_subcommand_from stats' -l output -r -F -d 'With --prometheus: replace this file'
complete -c upperctl -n '__fish_seen_subcommand_from stats' -l watch -d 'Again and again'

complete -c upperctl -n '__fish_seen_subcommand_from top' -l sort -x \
    -a 'pid state user rate cpu mem conns msgs in out peer idle' -d 'The order'
complete -c upperctl -n '__fish_seen_subcommand_from top' -l interval -x -d 'Seconds between looks'
complete -c upperctl -n '__fish_seen_subcommand_from top' -l once -d 'One picture'

complete -c upperctl -n '__fish_seen_subcommand_from ping' -s c -x -d 'So many'
complete -c upperctl -n '__fish_seen_subcommand_from ping' -s i -x -d 'Seconds from one to the next'
complete -c upperctl -n '__fish_seen_subcommand_from ping' -s W -l timeout -x -d 'Seconds to wait for an answer'
complete -c upperctl -n '__fish_seen_subcommand_from ping' -s q -d 'The summary only'
