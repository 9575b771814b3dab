# What the launchers share; to be sourced.

# Ends with the script's usage (its first comment block) and a line about what is wrong.
usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
    [ $# -eq 0 ] || printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2
    exit 2
}

# A command line as one would type it.
quoted() {
    local line
    printf -v line ' %q' "$@"
    printf '%s\n' "${line# }"
}

# Runs a command, or only prints it in a dry run.
run() {
    if [ "$dry_run" = yes ]; then
        quoted "$@"
    else
        "$@"
    fi
}

# The value of an option that needs one: needed "$@" where $1 is the option.
needed() {
    [ $# -ge 2 ] || usage "$1 needs a value"
    printf '%s' "$2"
}

# Checks that the arguments of training name a configuration and a workdir.
check_training() {
    local argument found=""
    for argument in "$@"; do
        case "$argument" in
            --config | --config=*) found+=c ;;
            --workdir | --workdir=*) found+=w ;;
        esac
    done
    [[ $found == *c* && $found == *w* ]] || usage "expected --config FILE and --workdir DIR among the arguments of training"
}
