#!/bin/bash
# Two nquic-peer against each other over loopback: the real sockets, both families, Retry, key updates, a killed side.
# usage: nquic.sh [BUILD_FOLDER]     prints "ok NAME", "not ok NAME" or "skip NAME reason", and a sum at the end.
set -u
build=${1:-${KITH_BUILD:-build/debug}}
peer=$build/nquic-peer
work=$(mktemp -d)
passed=0 failed=0 skipped=0
server= nat=

stop_server() {
    [ -n "$server" ] && kill "$server" 2>/dev/null && wait "$server" 2>/dev/null
    server=
}
stop_nat() {
    [ -n "$nat" ] && kill "$nat" 2>/dev/null && wait "$nat" 2>/dev/null
    nat=
}
trap 'stop_nat; stop_server; rm -rf "$work"' EXIT

ok() { echo "ok $1"; passed=$((passed + 1)); }
not_ok() { echo "not ok $1"; failed=$((failed + 1)); cat "$work"/*.out 2>/dev/null | sed 's/^/# /'; }
skip() { echo "skip $1 $2"; skipped=$((skipped + 1)); }
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}

# start ADDR OPTION...: a listener; sets $at and $key, or fails.
start() {
    local addr=$1; shift
    "$peer" --listen "$addr" "$@" >"$work/server.out" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        at=$(sed -n 's/^listening //p' "$work/server.out")
        key=$(sed -n 's/^key //p' "$work/server.out")
        [ -n "$at" ] && return 0
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

# dial OPTION...: run to the end; its status.
dial() { timeout 60 "$peer" --connect "$at" "$@" >"$work/client.out" 2>&1; }
says() { grep -q "$1" "$work/client.out"; }

[ -x "$peer" ] || { not_ok "there is $peer"; finish; }

# What it is asked must make sense; nothing is run otherwise.
wrong=
for arguments in '' '--listen 127.0.0.1:0 --connect 127.0.0.1:9' '--connect 127.0.0.1:9 --bytes abc' '--connect 127.0.0.1:9 --streams 65' \
    '--connect 127.0.0.1:9 --streams 0' '--connect 127.0.0.1:9 --key-updates -1' '--listen 127.0.0.1:0 --key 12' '--listen nowhere' \
    '--listen 127.0.0.1:0 more' '--what'; do
    timeout 10 "$peer" $arguments >"$work/client.out" 2>&1
    [ $? -eq 2 ] && says '^usage: nquic-peer' || wrong=$arguments
done
[ -z "$wrong" ] && ok "wrong arguments" || not_ok "wrong arguments: $wrong"
"$peer" --help >"$work/client.out" 2>/dev/null && says '^usage: nquic-peer' && ok "help" || not_ok "help"

for family in v4 v6; do
    case $family in v4) any=127.0.0.1:0 ;; v6) any='[::1]:0' ;; esac
    if ! start "$any"; then skip "$family" "cannot listen on $any"; stop_server; continue; fi
    dial --expect "$key" && says "^ok streams=4 bytes=1048576 " && ok "$family echo" || not_ok "$family echo"
    dial --streams 40 --bytes 20000 && says '^ok streams=40 ' && ok "$family many streams" || not_ok "$family many streams"
    dial --bytes 20000000 && says 'mtu=1452' && ok "$family large" || not_ok "$family large"
    dial --key-updates 3 && says 'key_updates=3' && ok "$family key updates" || not_ok "$family key updates"
    wrong=$(printf '%064d' 7)
    dial --expect "$wrong"; [ $? -eq 1 ] && says '^failed WRONG_DEVICE' && ok "$family wrong device" || not_ok "$family wrong device"
    stop_server
    start "$any" --retry
    dial && says 'retry=1' && ok "$family retry" || not_ok "$family retry"
    stop_server
done

# An endpoint in Python that shares no code with ours, in both roles.
python=$(dirname "$0")/hyphae_peer.py
python3 "$python" server /dev/null/none >/dev/null 2>&1; [ $? -eq 77 ] && no_python=1 || no_python=
run_python() { timeout 60 python3 "$python" "$@" >"$work/python.out" 2>&1; }
judge=$(dirname "$0")/hyphae_judge.py
judge() { timeout 120 python3 "$judge" "$@" >"$work/python.out" 2>&1; }
roam=$(dirname "$0")/hyphae_roam.py
roam() { timeout 60 python3 "$roam" "$@" >"$work/python.out" 2>&1; }
port_in() { for _ in $(seq 100); do [ -s "$1" ] && break; sleep 0.05; done; cat "$1"; }
if [ -n "$no_python" ]; then
    skip "independent endpoint" "Python's cryptography is missing"
else
    for retry in '' --retry; do
        start 127.0.0.1:0 $retry
        run_python client 127.0.0.1 "${at##*:}" --expect "$key" && ok "independent client ${retry#--}" || not_ok "independent client ${retry#--}"
        run_python client 127.0.0.1 "${at##*:}" --update && ok "independent client updates keys ${retry#--}" || not_ok "independent client updates keys ${retry#--}"
        if [ -z "$retry" ]; then
            judge rules 127.0.0.1 "${at##*:}" && ok "rules" || not_ok "rules"
            roam wander 127.0.0.1 "${at##*:}" 5 && ok "independent client whose address changes" || not_ok "independent client whose address changes"
        fi
        for size in 8 0 20; do
            run_python odd 127.0.0.1 "${at##*:}" $size && ok "odd client, ids of $size ${retry#--}" || not_ok "odd client, ids of $size ${retry#--}"
        done
        stop_server
        rm -f "$work/port"
        run_python server "$work/port" $retry &
        server=$!
        at=127.0.0.1:$(port_in "$work/port")
        dial --streams 3 --bytes 30000 --key-updates "$([ -z "$retry" ] && echo 2 || echo 0)" && wait $server && ok "independent server ${retry#--}" || not_ok "independent server ${retry#--}"
        server=
    done

    judge accuse "$peer" && ok "rules, of a server" || not_ok "rules, of a server"

    # Behind a NAT that rebinds, to an independent server that follows and asks.
    rm -f "$work/port"
    roam follow "$work/port" &
    server=$!
    python3 "$roam" nat "$work/nat" 127.0.0.1 "$(port_in "$work/port")" &
    nat=$!
    at=127.0.0.1:$(port_in "$work/nat")
    dial --streams 3 --bytes 200000 && wait $server && ok "NAT before an independent server" || not_ok "NAT before an independent server"
    server=
    stop_nat
fi

# The listener is killed and comes back on the same port with the same key: the dialler hears of it by a stateless reset, not by its idle time-out.
secret=$(printf '%064d' 42)
if start 127.0.0.1:0 --key "$secret"; then
    timeout 60 "$peer" --connect "$at" --hold >"$work/client.out" 2>&1 &
    client=$!
    for _ in $(seq 100); do says '^ok' && break; sleep 0.05; done
    kill -9 "$server"; wait "$server" 2>/dev/null
    start "$at" --key "$secret"
    wait $client; status=$?
    if [ $status -eq 1 ] && says '^ok' && says '^failed LOST by peer'; then ok "killed listener"; else not_ok "killed listener"; fi
    stop_server
else
    skip "killed listener" "cannot listen"
fi

# The dialler is killed: the listener stays and serves the next one.
if start 127.0.0.1:0; then
    timeout 60 "$peer" --connect "$at" --hold >"$work/client.out" 2>&1 &
    client=$!
    for _ in $(seq 100); do says '^ok' && break; sleep 0.05; done
    kill -9 $client; wait $client 2>/dev/null
    dial && says '^ok' && ok "killed dialler" || not_ok "killed dialler"
    stop_server
else
    skip "killed dialler" "cannot listen"
fi
finish
