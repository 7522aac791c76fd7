# Completion of upperctl(1) for bash. A test compares its words with the program's.

_upperctl() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' words='' index
    # bash splits --socket=PATH into three words.
    if [[ $current == '=' ]]; then
        current=''
    elif [[ $before == '=' ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${COMP_WORDS[index]} in
        --socket | --tcp | -n)
            ((index++))
            if [[ ${COMP_WORDS[index]} == '=' ]]; then ((index++)); fi
            ;;
        -*) ;;
        *)
            command=${COMP_WORDS[index]}
            break
            ;;
        esac
    done
    COMPREPLY=()
    case $command:$before in
    *:--socket | send:--file | stats:--output)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    *:--tcp)
        mapfile -t COMPREPLY < <(compgen -A hostname -- "$current")
        return
        ;;
    top:--sort)
        words='pid state user rate cpu mem conns msgs in out peer idle'
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
        return
        ;;
    top:--interval | send:--timeout | ping:--timeout | ping:-[ciW] | *:-n) return ;;
    :*) words='send status stats top ping version -V --version' ;;
    send:*) words='--file --timeout' ;;
    status:*) words='--json' ;;
    stats:*) words='--json --prometheus --output --watch' ;;
    top:*) words='--sort --interval --once' ;;
    ping:*) words='-c -i -W --timeout -q' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words -h --help --socket --tcp -n" -- "$current")
}

complete -F _upperctl upperctl
