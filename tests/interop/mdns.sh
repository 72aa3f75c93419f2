#!/bin/bash
# mDNS against foreign implementations, in network namespaces of this run:
#
#     A ----+                      A, B, C: 10.53.0.1, .2, .3 on e0, and IPv6 link-local
#     B ----+---- switch           A and D share a second network on e1: 10.54.0.1, .4
#     C ----+
#     L (nothing but lo)           X, Y, Z; F, G, H: on switches of their own, for what takes long, beside the rest
#
# usage: mdns.sh [path of lan-watch]
set -u
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
watch=$(realpath -m "${1:-$here/../../build/debug/lan-watch}")
prefix=km$$
A=${prefix}A B=${prefix}B C=${prefix}C D=${prefix}D L=${prefix}L X=${prefix}X Y=${prefix}Y Z=${prefix}Z
F=${prefix}F G=${prefix}G H=${prefix}H S=${prefix}S T=${prefix}T U=${prefix}U V=${prefix}V
spaces="$A $B $C $D $L $X $Y $Z $F $G $H $S $T $U $V"
work=$(mktemp -d)
passed=0 failed=0 skipped=0
pids=()
id_a=aaaaaaaa-0000-4000-8000-00000000000a
id_b=bbbbbbbb-0000-4000-8000-00000000000b

cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
    for space in $spaces; do ip netns del "$space" 2>/dev/null; done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

ok() { echo "ok $1"; passed=$((passed + 1)); }
not_ok() {
    echo "not ok $1"
    failed=$((failed + 1))
    for file in "$work"/*.out; do
        [ -s "$file" ] || continue
        echo "#   $(basename "$file"):"
        tail -n 15 "$file" | cut -c1-400 | sed 's/^/#     /'
    done
}
skip() { echo "skip $1 $2"; skipped=$((skipped + 1)); }
finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}
check() { # NAME STATUS
    if [ "$2" -eq 0 ]; then ok "$1"; else not_ok "$1"; fi
}

# Run in a namespace, its output in work/NAME.out, its process id in $last.
start() { # NAME SPACE COMMAND...
    local name=$1 space=$2
    shift 2
    ip netns exec "$space" "$@" >"$work/$name.out" 2>&1 &
    last=$!
    pids+=("$last")
}
stop() { # PID...
    local pid status=0
    for pid in "$@"; do kill "$pid" 2>/dev/null; done
    for pid in "$@"; do
        wait "$pid" 2>/dev/null || status=1
        forget "$pid"
    done
    return $status
}
forget() { # PID, which has been waited for
    local pid kept=()
    for pid in "${pids[@]}"; do [ "$pid" = "$1" ] || kept+=("$pid"); done
    pids=("${kept[@]}")
}
# Wait up to SECONDS until the output has a line that matches.
sees() { # NAME SECONDS PATTERN
    local tries=$(($2 * 20))
    while ! grep -Eqs -- "$3" "$work/$1.out"; do
        [ $((tries -= 1)) -gt 0 ] || return 1
        sleep 0.05
    done
}
# The last line about an instance whose name begins so.
last_of() { grep -Es "^(seen|gone) $2" "$work/$1.out" | tail -n 1; }
sees_last() { # NAME SECONDS INSTANCE PATTERN
    local tries=$(($2 * 20))
    until last_of "$1" "$3" | grep -Eq -- "$4"; do
        [ $((tries -= 1)) -gt 0 ] || return 1
        sleep 0.05
    done
}
instance_of() { # NAME ID: the name of an instance of that device, as it was seen
    grep -oE "^seen $2-[0-9a-f]{4}" "$work/$1.out" | head -n 1 | cut -d' ' -f2
}

cable() { # SPACE INTERFACE SWITCH [ADDRESS]
    ip link add "$2" netns "$1" type veth peer name "$2${1#"$prefix"}" netns "$3" || return 1
    ip -n "$3" link set "$2${1#"$prefix"}" master br0 up
    ip -n "$1" link set "$2" up
    [ -z "${4:-}" ] || ip -n "$1" addr add "$4/24" dev "$2"
}
network() {
    local space
    for space in $spaces; do
        ip netns add "$space" && ip -n "$space" link set lo up || return 1
        # Addresses are usable at once, and nothing else than these tests is said on the network.
        ip netns exec "$space" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.router_solicitations=0
    done
    for space in $S $T $U $V; do
        ip -n "$space" link add br0 type bridge mcast_snooping 0 && ip -n "$space" link set br0 up || return 1
    done
    cable "$A" e0 "$S" 10.53.0.1 && cable "$B" e0 "$S" 10.53.0.2 && cable "$C" e0 "$S" 10.53.0.3 &&
        cable "$A" e1 "$U" 10.54.0.1 && cable "$D" e1 "$U" 10.54.0.4 && cable "$X" e0 "$T" 10.55.0.1 &&
        cable "$Y" e0 "$T" 10.55.0.2 && cable "$Z" e0 "$T" 10.55.0.3 &&
        cable "$F" e0 "$V" 10.56.0.1 && cable "$G" e0 "$V" 10.56.0.2 && cable "$H" e0 "$V" 10.56.0.3 || return 1
    for space in $F $G $H; do # the flood is of IPv4: the other family's cache would help
        ip netns exec "$space" sysctl -qw net.ipv6.conf.e0.disable_ipv6=1
    done
    ip -n "$A" link set e1 down # until it is its turn
    ip -n "$C" route add default via 10.53.0.1 # bonjour-service wants one
}

# ---- what is tried ----

two_see_each_other() {
    start b "$B" "$watch" --id $id_b --fp 0123456789abcdef --port 7002 --later-pair 2abcde
    local b=$last
    start a "$A" "$watch" --id $id_a --port 7001
    local a=$last
    sees a 4 "^seen $id_b-[0-9a-f]{4} 7002 v=1;id=$id_b;fp=0123456789abcdef 10\.53\.0\.2:7002,\[fe80::[0-9a-f:]+%[0-9]+\]:7002$" &&
        sees b 4 "^seen $id_a-[0-9a-f]{4} 7001 v=1;id=$id_a;fp=0{16} 10\.53\.0\.1:7001,"
    check "two see each other" $?

    kill -USR1 "$b"
    sees_last a 2 "$id_b" ";pair=2abcde "
    check "a pairing tag is seen" $?
    sleep 1 # what is younger than a second is not flushed (RFC 6762 section 10.2)
    kill -USR1 "$b"
    sees_last a 4 "$id_b" "fp=0123456789abcdef 10"
    check "a pairing tag that is over is seen" $?

    ip -n "$B" addr add 10.53.0.77/24 dev e0
    sees_last a 4 "$id_b" "10\.53\.0\.77:7002"
    check "an address that is added is seen" $?
    ip -n "$B" addr del 10.53.0.77/24 dev e0
    sees_last a 4 "$id_b" "fp=0123456789abcdef 10\.53\.0\.2:7002,[^ ,]+$"
    check "an address that is removed is no longer seen" $?

    kill -USR2 "$b"
    sees_last a 3 "$id_b" "^gone"
    local status=$?
    kill -USR2 "$b"
    [ $status -eq 0 ] && sees_last a 3 "$id_b" "^seen"
    check "withdrawn and announced again" $?

    stop "$b"
    local clean=$?
    sees_last a 2 "$id_b" "^gone"
    check "a goodbye is seen at once" $?
    stop "$a" && [ $clean -eq 0 ]
    check "they end without leaks" $?
}

on_one_machine() {
    start b "$B" "$watch" --id $id_b
    local b=$last
    start a "$B" "$watch" --id $id_a
    local a=$last
    sees a 4 "^seen $id_b.* 10\.53\.0\.2:7000" && sees b 4 "^seen $id_a.* 10\.53\.0\.2:7000"
    check "two on one machine see each other" $?
    stop "$a" "$b"
    start b "$L" "$watch" --id $id_b
    b=$last
    start a "$L" "$watch" --id $id_a
    a=$last
    sees a 4 "^seen $id_b.* 127\.0\.0\.1:7000" && sees b 4 "^seen $id_a.* 127\.0\.0\.1:7000"
    check "two on one machine without a network see each other" $?
    stop "$a" "$b"
}

same_name() {
    start b "$B" "$watch" --id $id_b --instance twin --port 7002
    local b=$last
    sleep 1.5
    start a "$A" "$watch" --id $id_a --instance twin --port 7001
    local a=$last
    sees b 5 "^seen twin-2 7001 .* 10\.53\.0\.1:7001" && sees a 5 "^seen twin 7002 .* 10\.53\.0\.2:7002"
    check "of one name twice the second gets a number" $?
    stop "$a" "$b"
}

two_networks() {
    ip -n "$A" link set e1 up
    start d "$D" "$watch" --id dddddddd-0000-4000-8000-00000000000d
    local d=$last
    start b "$B" "$watch" --id $id_b
    local b=$last
    start a "$A" "$watch" --id $id_a
    local a=$last scope
    scope=$(ip -n "$A" -o link show e1 | cut -d: -f1)
    sees d 4 "^seen $id_a.* 10\.54\.0\.1:7000,\[fe80:[^ ,]+\]:7000$" &&
        sees b 4 "^seen $id_a.* 10\.53\.0\.1:7000,\[fe80:[^ ,]+\]:7000$" &&
        sees a 4 "^seen $id_b.* 10\.53\.0\.2:7000" &&
        sees a 4 "^seen dddddddd.* 10\.54\.0\.4:7000,\[fe80::[0-9a-f:]+%$scope\]:7000$"
    check "two networks: each sees the addresses of its own" $?
    ip -n "$A" link set e1 down
    sees_last a 3 dddddddd "^gone"
    local status=$?
    ip -n "$A" link set e1 up
    [ $status -eq 0 ] && sees_last a 5 dddddddd "^seen" && sees_last d 5 $id_a "^seen.* 10\.54\.0\.1:7000"
    check "a network that goes and comes back" $?
    stop "$a" "$b" "$d"
    ip -n "$A" link set e1 down
}

ipv6_only() {
    ip -n "$A" addr flush dev e0 scope global
    ip -n "$B" addr flush dev e0 scope global
    ip -n "$B" addr add fd53::2/64 dev e0 nodad
    start b "$B" "$watch" --id $id_b
    local b=$last
    start a "$A" "$watch" --id $id_a
    local a=$last
    sees_last a 4 $id_b "fp=0{16} [^ .]*\[fd53::2\]:7000" && sees_last b 4 $id_a "fp=0{16} \[fe80::[0-9a-f:]+%[0-9]+\]:7000$"
    check "IPv6 alone, and link-local alone" $?
    stop "$a" "$b"
    ip -n "$B" addr del fd53::2/64 dev e0
    ip -n "$A" addr add 10.53.0.1/24 dev e0
    ip -n "$B" addr add 10.53.0.2/24 dev e0
}

avahi() {
    if ! command -v avahi-daemon >/dev/null; then
        skip "avahi" "no avahi-daemon"
        return
    fi
    local bus=no clean daemon
    command -v dbus-daemon >/dev/null && command -v avahi-browse >/dev/null && bus=yes
    printf '%s\n' '<busconfig><type>system</type>' "<listen>unix:path=$work/bus</listen>" '<policy context="default">' \
        '<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>' >"$work/bus.conf"
    printf '%s\n' '[server]' 'host-name=machine-b' '[wide-area]' 'enable-wide-area=no' >"$work/avahi.conf"
    [ $bus = yes ] || printf '%s\n' '[server]' 'enable-dbus=no' >>"$work/avahi.conf"
    export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$work/bus"
    if [ $bus = yes ]; then
        start dbus "$B" dbus-daemon --config-file="$work/bus.conf" --nofork --nopidfile
        daemon=$last
        sleep 0.3
    fi
    # /run of its own: there may be a daemon of the machine
    start daemon "$B" sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && exec avahi-daemon "$@"' sh \
        --no-drop-root --no-chroot --no-rlimits -f "$work/avahi.conf"
    local avahi=$last
    sees daemon 5 "Server startup complete"
    start b "$B" "$watch" --id $id_b --fp 0123456789abcdef --pair 00abcd
    local b=$last
    start a "$A" "$watch" --id $id_a
    local a=$last
    sees a 5 "^seen $id_b-[0-9a-f]{4} 7000 v=1;id=$id_b;fp=0123456789abcdef;pair=00abcd 10\.53\.0\.2:7000" && sees b 5 "^seen $id_a"
    check "beside an avahi-daemon two see each other" $?
    if [ $bus = yes ]; then
        ip netns exec "$B" timeout 5 avahi-browse -rpt _spacedrive._tcp >"$work/browse.out" 2>&1
        sees browse 1 "^=;e0;IPv4;$id_b\\\\?-.*;_spacedrive._tcp;local;$id_b-[0-9a-f]{4}-kith\.local;10\.53\.0\.2;7000;.*\"id=$id_b\"" &&
            sees browse 1 "^=;e0;IPv4;$id_a.*;10\.53\.0\.1;7000;.*\"id=$id_a\""
        check "avahi-browse sees both" $?
        start foreign "$B" avahi-publish-service foreign-avahi _spacedrive._tcp 7009 v=1 id=x
        local publisher=$last
        sees a 4 "^seen foreign-avahi 7009 v=1;id=x 10\.53\.0\.2:7009"
        check "what avahi-publish announces is seen" $?
        stop "$publisher"
        sees_last a 3 foreign-avahi "^gone"
        check "what avahi-publish withdraws is gone" $?
    else
        skip "avahi-browse" "no dbus-daemon or avahi-browse"
    fi
    sleep 1 # collisions come one a second
    clean=$(grep -cE 'conflict|collision|withdraw' "$work/daemon.out")
    [ "$clean" -eq 0 ] && ! grep -Eq "^seen $id_b-[0-9a-f]{4}-" "$work/a.out"
    check "neither the daemon nor we are renamed" $?
    stop "$a" "$b" "$avahi"
    [ $bus = no ] || stop "$daemon"
    unset DBUS_SYSTEM_BUS_ADDRESS
}

foreign_peer() { # LABEL OUTPUT FOREIGN-PID: beside a started peer "foreign-x" on C with port 7003
    local label=$1 out=$2 foreign=$3
    start a "$A" "$watch" --id $id_a --fp 0123456789abcdef --port 7001 --later-pair 3fffff
    local a=$last
    sees "$out" 6 "^seen $id_a-[0-9a-f]{4} 7001 v=1;id=$id_a;fp=0123456789abcdef .*10\.53\.0\.1"
    check "$label sees us" $?
    sees a 6 "^seen foreign-x 7003 .*id=$id_b.* 10\.53\.0\.3:7003"
    check "we see $label" $?
    kill -USR1 "$a"
    sees "$out" 10 "^seen $id_a.*;pair=3fffff " # said 0, 1, 3 and 7 s after the change
    check "$label sees a pairing tag" $?
    stop "$foreign"
    sees_last a 4 foreign-x "^gone"
    check "we see $label go" $?
    stop "$a"
}

zeroconf() {
    local python=
    for python in /usr/bin/python3 python3; do $python -c 'import zeroconf' 2>/dev/null && break; python=; done
    if [ -z "$python" ]; then
        skip "zeroconf" "no Python zeroconf"
        return
    fi
    start zeroconf "$C" $python "$here/mdns_zeroconf.py" 10.53.0.3 foreign-x 7003 v=1 id=$id_b fp=0123456789abcdef
    foreign_peer zeroconf zeroconf "$last"
}

bonjour() {
    if [ -z "$npm" ] || ! wait "$npm"; then
        skip "bonjour-service" "npm cannot install it"
        return
    fi
    start bonjour "$C" env NODE_PATH="$work/npm/node_modules" node "$here/mdns_bonjour.js" foreign-x 7003 v=1 id=$id_b \
        fp=0123456789abcdef
    foreign_peer bonjour-service bonjour "$last"
}

# Floods leave a full cache behind, in which a newcomer finds no room until it is flushed.
hostile() {
    hostile=no
    if ! command -v python3 >/dev/null; then
        skip "hostile neighbour" "no python3"
        return
    fi
    hostile=yes
    start f "$F" "$watch" --id $id_a --want $id_b
    hostile_f=$last
    start g "$G" "$watch" --id $id_b --later-pair 123456
    hostile_g=$last
    sees f 4 "^seen $id_b"
    ip netns exec "$H" python3 "$here/mdns_hostile.py" 10.56.0.3 noise
    ip netns exec "$H" python3 "$here/mdns_hostile.py" 10.56.0.3 cname "$(instance_of f $id_b)"
    kill -USR1 "$hostile_g"
    sees_last f 3 $id_b ";pair=123456 "
    check "noise and CNAMEs do no harm" $?
    ip netns exec "$H" python3 "$here/mdns_hostile.py" 10.56.0.3 flood 2000
    kill -USR1 "$hostile_g"
    sees_last f 10 $id_b "fp=0{16} " # it is said 0, 1, 3 and 7 s after the change, and a flood swallows some
    check "in a flood a wanted instance is still followed" $?
    [ "$(grep -Ec '^seen 0000' "$work/f.out")" -gt 256 ]
    check "in a flood more instances are seen than are followed" $?
    start h "$H" "$watch" --id cccccccc-0000-4000-8000-00000000000c
    hostile_h=$last
}
hostile_end() {
    [ $hostile = yes ] || return
    sees f 15 "^seen cccccccc" && sees g 1 "^seen cccccccc"
    check "who comes after a flood is seen" $?
    ! grep -q "^gone $id_b" "$work/f.out"
    check "who was there before a flood stays" $?
    [ "$(awk '/VmHWM/ { print $2 }' "/proc/$hostile_f/status")" -lt 65536 ]
    check "a flood takes less than 64 MiB" $?
    stop "$hostile_f" "$hostile_g" "$hostile_h"
    check "they end after all that" $?
}

# ---- what takes long, beside the rest ----

long_start() {
    start x "$X" "$watch" --id $id_a
    long_x=$last
    start y "$Y" "$watch" --id $id_b
    long_y=$last
    start z "$Z" "$watch" --id cccccccc-0000-4000-8000-00000000000c
    long_z=$last
    long_begin=$SECONDS
}
killed() {
    sees x 4 "^seen cccccccc" && kill -9 "$long_z"
    wait "$long_z" 2>/dev/null
    forget "$long_z"
    killed_at=$SECONDS
}
long_end() {
    # three lives of the records, and then some
    while [ $((SECONDS - long_begin)) -lt 62 ]; do sleep 0.5; done
    sees_last x 1 "$id_b" "^seen" && sees_last y 1 "$id_a" "^seen" && ! grep -q "^gone [ab]" "$work/x.out" "$work/y.out"
    check "who stays is seen for over a minute" $?
    stop "$long_x" "$long_y"
}

if ! [ -x "$watch" ]; then
    skip "all" "no $watch"
    finish
fi
if ! unshare -n true 2>/dev/null || ! network 2>"$work/network.err"; then
    skip "all" "network namespaces are not allowed here"
    finish
fi
npm=
if command -v npm >/dev/null && command -v node >/dev/null; then
    npm install --prefix "$work/npm" --no-audit --no-fund --loglevel=error bonjour-service@1.4.4 >"$work/npm.log" 2>&1 &
    npm=$!
fi
long_start
hostile
two_see_each_other
killed
on_one_machine
same_name
two_networks
ipv6_only
if [ $((SECONDS - killed_at)) -gt 30 ]; then
    echo "# the cases before took $((SECONDS - killed_at)) s"
fi
sees_last x $((killed_at + 30 > SECONDS ? killed_at + 30 - SECONDS : 1)) cccccccc "^gone"
check "who was killed is gone within 30 s" $?
avahi
zeroconf
bonjour
hostile_end
long_end
finish
