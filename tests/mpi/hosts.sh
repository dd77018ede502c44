#!/usr/bin/env bash
# Three hosts in network namespaces, and a program over them: `tests/mpi/hosts.sh WHAT PROGRAM ...`.
#
#   run PROGRAM [ARGUMENT...]     two ranks on each host; its output, and its exit code
#   crash LINE PROGRAM [ARGUMENT...]
#                                 the same; once it has printed a line that contains LINE, all
#                                 processes of the last host are killed: the job must end by
#                                 itself, soon, with words, and leave none behind
#   cut LINE PROGRAM [ARGUMENT...]
#                                 the same, but the host's link goes down: only time tells
#
# Needs root, iproute2, and Open MPI 4 or 5 as MPIRUN (default: mpirun). The hosts are connected to
# each other by a bridge in a namespace of its own, and to nothing else. All is gone at the end,
# also after a failure. HOSTS_SECONDS limits a run (default: 60).
set -euo pipefail

work=""
hosts=(alpha beta gamma)
prefix="mpi$$"
limit="${HOSTS_SECONDS:-60}"
mpirun="$(command -v "${MPIRUN:-mpirun}")"
here="$(realpath "${BASH_SOURCE[0]}")"

# HOST COMMAND...: becomes that command, on that host, with its name and the names of the others.
on() {
    local host="$1"
    shift
    # shellcheck disable=SC2016 # is expanded there
    exec ip netns exec "$prefix-$host" unshare --uts sh -c '
        hostname "$1" && mount --bind "$2/hosts" /etc/hosts && shift 2 && exec "$@"
    ' sh "$host" "$work" "$@"
}

processes() { # HOST
    ip netns pids "$prefix-$1" 2>/dev/null || true
}

kill_all() { # HOST
    processes "$1" | xargs --no-run-if-empty kill -KILL 2>/dev/null || true
}

unplug() { # HOST
    ip -n "$prefix-switch" link set "$1" down
}

clean_up() {
    local host
    for host in "${hosts[@]}"; do
        kill_all "$host"
        ip netns delete "$prefix-$host" 2>/dev/null || true
    done
    ip netns delete "$prefix-switch" 2>/dev/null || true
    rm -rf "$work"
}

make_hosts() {
    local host number=0
    ip netns add "$prefix-switch"
    ip -n "$prefix-switch" link add bridge type bridge
    ip -n "$prefix-switch" link set bridge up
    echo "127.0.0.1 localhost" >"$work/hosts"
    for host in "${hosts[@]}"; do
        number=$((number + 1))
        ip netns add "$prefix-$host"
        ip -n "$prefix-$host" link set lo up
        # Both ends are made where they belong: nothing appears on this machine itself.
        ip -n "$prefix-$host" link add net0 type veth peer name "$host" netns "$prefix-switch"
        ip -n "$prefix-switch" link set "$host" master bridge up
        ip -n "$prefix-$host" address add "10.77.0.$number/24" dev net0
        ip -n "$prefix-$host" link set net0 up
        echo "10.77.0.$number $host" >>"$work/hosts"
    done
    # What Open MPI takes for ssh: HOST COMMAND, the command for that host's shell.
    cat >"$work/agent" <<AGENT
#!/bin/sh
host="\$1"
shift
exec "$here" "agent" "$prefix" "$work" "\$host" "\$*"
AGENT
    chmod +x "$work/agent"
}

# The program on all hosts, from the first.
start() {
    local each
    each="$(printf '%s:2,' "${hosts[@]}")"
    local options=(-n 6 --host "${each%,}" --map-by node --bind-to none)
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    local what
    for what in time:2 intvl:1 probes:3; do # when a silent peer is asked, and given up
        export "OMPI_MCA_oob_tcp_keepalive_${what%:*}=${what#*:}"
        export "PRTE_MCA_oob_tcp_keepalive_${what%:*}=${what#*:}"
    done
    export TMPDIR="$work" # what a killed host leaves there goes with it
    export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export OMPI_MCA_btl_tcp_if_include=net0 OMPI_MCA_oob_tcp_if_include=net0
    if "$mpirun" --version | grep -q ' 4\.'; then
        options+=(--mca plm_rsh_agent "$work/agent")
    else
        export PRTE_MCA_prte_if_include=net0 OMPI_MCA_async_mpi_finalize=1
        unset OMPI_MCA_oob_tcp_if_include
        options+=(--prtemca plm_ssh_agent "$work/agent" --with-ft ulfm)
    fi
    (on "${hosts[0]}" timeout --kill-after=5 "$limit" "$mpirun" "${options[@]}" "$@")
}

# Whatever mpirun started has to be gone with it.
nothing_left() {
    local host turns=100 left
    for host in "${hosts[@]}"; do
        while left="$(processes "$host")" && [[ -n "$left" ]]; do
            if ((turns-- == 0)); then
                echo "left behind on $host: ${left//$'\n'/ }"
                exit 1
            fi
            sleep 0.05
        done
    done
}

lose() { # HOW SECONDS LINE PROGRAM ARGUMENT...
    local how="$1" most="$2" line="$3" begun turns="$((limit * 20))" taken status=0
    shift 3
    : >"$work/output"
    start "$@" >"$work/output" 2>&1 &
    until grep -Fq "$line" "$work/output"; do
        if ! kill -0 $! 2>/dev/null || ((turns-- == 0)); then
            cat "$work/output"
            echo "it did not say '$line'"
            exit 1
        fi
        sleep 0.05
    done
    begun="$(date +%s%N)"
    "$how" "${hosts[-1]}"
    wait $! || status=$?
    taken=$((($(date +%s%N) - begun) / 1000000))
    cat "$work/output"
    kill_all "${hosts[-1]}" # what does not know yet that it is alone
    echo "host ${hosts[-1]} lost ($how): the job ended after $taken ms with exit code $status"
    if ((status == 124 || taken > most * 1000)); then
        echo "it did not end by itself, or took more than $most s"
        exit 1
    fi
    # Which of the two connections is seen to end first differs from run to run.
    grep -Eq "lost communication with|unable to reliably start|failed to report back" \
        "$work/output" || {
        echo "nothing says why"
        exit 1
    }
}

what="${1:-}"
shift || true
case "$what" in
agent) # from the stand-in for ssh: PREFIX WORK HOST COMMAND
    prefix="$1" work="$2"
    on "$3" sh -c "$4"
    ;;
run | crash | cut)
    work="$(mktemp -d)"
    trap clean_up EXIT
    trap 'exit 1' INT TERM
    make_hosts
    case "$what" in
    run) start "$@" ;;
    crash) lose kill_all 10 "$@" ;;
    cut) lose unplug 40 "$@" ;;
    esac
    nothing_left
    ;;
*)
    sed -n 's/^# \{0,1\}//p' "$here" | sed 1d | head -n 13
    exit 2
    ;;
esac
