# shellcheck shell=bash
# Sourced. Reading a host: files under ROOT, the tools there are, its CPUs and memory, and the broker's configuration.
#
# ROOT is empty for this machine, else the directory that stands for `/`. Every path below is written as on the host
# (`/sys/...`) and has ROOT put before it at the last moment. Answers come back in REPLY, since a process for each of
# some thousand small files would take seconds.

ROOT=
CONFIG=
LOG_DIRS=()
NICS_ASKED=()

# A fault of use or of the host: status 2, as Ringlog's own.
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# get PATH: the first line of a file, as it stands. Fails where there is no such file, or it cannot be read.
get() {
  REPLY=
  [ -r "$ROOT$1" ] && [ ! -d "$ROOT$1" ] || return 1
  { IFS= read -r REPLY <"$ROOT$1"; } 2>/dev/null || [ -n "$REPLY" ]
}

# get_or PATH DEFAULT
get_or() { get "$1" || REPLY=$2; }

# get_choice PATH: of `none [mq-deadline] kyber` the chosen one; CHOICES has all that may be chosen, where the file says.
get_choice() {
  get "$1" || return 1
  CHOICES=
  case $REPLY in
  *\[*\]*)
    CHOICES=${REPLY//[\[\]]/}
    REPLY=${REPLY#*\[}
    REPLY=${REPLY%%\]*}
    ;;
  esac
}

# A file that may not be chosen to read is not there, for those who ask with this.
exists() { [ -e "$ROOT$1" ]; }

# tool NAME: the path of a program that reads or changes the host. With another root this machine's programs would speak
# of this machine: then only those of the directory RINGLOG_TUNING_TOOLS are used.
tool() {
  if [ -z "$ROOT" ]; then
    REPLY=$(command -v "$1") || REPLY=$(PATH=/usr/sbin:/sbin:$PATH command -v "$1")
  else
    REPLY=${RINGLOG_TUNING_TOOLS:+$RINGLOG_TUNING_TOOLS/$1}
  fi
  [ -n "$REPLY" ] && [ -x "$REPLY" ]
}

# ask TOOL ARG...: what the tool prints, in REPLY. Fails where there is no such tool, or it fails.
ask() {
  tool "$1" || return 1
  local program=$REPLY
  shift
  REPLY=$(RINGLOG_TUNING_ROOT=$ROOT LC_ALL=C timeout 10 "$program" "$@" 2>/dev/null)
}

# field NAME TEXT: what follows `NAME:` on a line of TEXT, without the blanks around it.
field() {
  local line
  while IFS= read -r line; do
    line=${line#"${line%%[![:space:]]*}"}
    case $line in
    "$1":*)
      REPLY=${line#"$1":}
      REPLY=${REPLY#"${REPLY%%[![:space:]]*}"}
      REPLY=${REPLY%"${REPLY##*[![:space:]]}"}
      return 0
      ;;
    esac
  done <<<"$2"
  return 1
}

is_number() { [[ $1 =~ ^[0-9]+$ ]]; }

# cpus_in LIST: `0-2,8` as the words `0 1 2 8`.
cpus_in() {
  local part out=
  local IFS=,
  for part in $1; do
    case $part in
    *-*) out+=" $(seq -s ' ' "${part%-*}" "${part#*-}")" ;;
    ?*) out+=" $part" ;;
    esac
  done
  REPLY=${out# }
}

# mask_of CPU...: the kernel's words for a set of CPUs: groups of 32 bits in hexadecimal, the highest first.
mask_of() {
  local cpu group highest=0 out='' words=()
  for cpu; do
    group=$((cpu / 32))
    words[group]=$((${words[group]:-0} | 1 << cpu % 32))
    [ "$group" -le "$highest" ] || highest=$group
  done
  printf -v out '%x' "${words[highest]:-0}"
  for ((group = highest - 1; group >= 0; group--)); do
    printf -v out '%s,%08x' "$out" "${words[group]:-0}"
  done
  REPLY=$out
}

# mask_plain MASK: without the zeros that the kernel puts before it; what mask_of gives.
mask_plain() {
  REPLY=$1
  while [[ $REPLY == 0* && $REPLY != 0 ]]; do
    REPLY=${REPLY#0}
    REPLY=${REPLY#,}
  done
}

# log2_ceil NUMBER: the least power of two that is not smaller.
power_of_two() {
  REPLY=1
  while [ "$REPLY" -lt "$1" ]; do REPLY=$((REPLY * 2)); done
}

# What the host is: ONLINE (CPUs, as words), CPUS (how many), MEMORY_KIB, KERNEL, BOOT.
know_host() {
  exists /proc/meminfo && exists /sys/devices/system/cpu ||
    die "${ROOT:-/}: no /proc and /sys of a Linux host can be read there"
  get /sys/devices/system/cpu/online || die "${ROOT:-/}: cannot read /sys/devices/system/cpu/online"
  cpus_in "$REPLY"
  ONLINE=$REPLY
  # shellcheck disable=SC2086 # one word a CPU
  set -- $ONLINE
  CPUS=$#
  [ "$CPUS" -gt 0 ] || die "${ROOT:-/}: /sys/devices/system/cpu/online names no CPU"
  MEMORY_KIB=0
  local name value _
  while read -r name value _; do
    [ "$name" != MemTotal: ] || MEMORY_KIB=$value
  done <"$ROOT/proc/meminfo"
  is_number "$MEMORY_KIB" && [ "$MEMORY_KIB" -gt 0 ] || die "${ROOT:-/}: /proc/meminfo has no MemTotal"
  get /proc/sys/kernel/osrelease || die "${ROOT:-/}: cannot read /proc/sys/kernel/osrelease"
  KERNEL=$REPLY
  get_or /proc/sys/kernel/random/boot_id unknown
  BOOT=$REPLY
}

# What the broker is told: LOG_DIRS, unless given already, with journal.dir behind them, and SHARDS (0: one for each CPU).
know_broker() {
  SHARDS=0
  local line key value dir
  if [ -z "$CONFIG" ] && [ -r "$ROOT/etc/ringlog/server.properties" ]; then
    CONFIG=$ROOT/etc/ringlog/server.properties
  fi
  if [ -n "$CONFIG" ]; then
    [ -f "$CONFIG" ] && [ -r "$CONFIG" ] || die "$CONFIG: cannot be read"
    while IFS= read -r line || [ -n "$line" ]; do
      line=${line%$'\r'}
      line=${line#"${line%%[![:space:]]*}"}
      case $line in '' | '#'* | '!'*) continue ;; esac
      key=${line%%[=:[:space:]]*}
      value=${line#"$key"}
      [[ $value =~ ^[[:space:]]*[=:]?[[:space:]]*(.*[^[:space:]])?[[:space:]]*$ ]] && value=${BASH_REMATCH[1]}
      case $key in
      num.shards) SHARDS=$value ;;
      log.dirs) CONFIG_DIRS=$value ;;
      log.dir) CONFIG_DIR=$value ;;
      journal.dir) CONFIG_JOURNAL=$value ;;
      esac
    done <"$CONFIG"
    is_number "$SHARDS" || die "$CONFIG: num.shards is \"$SHARDS\", not a number"
  fi
  if [ ${#LOG_DIRS[@]} = 0 ]; then
    local list=${CONFIG_DIRS:-${CONFIG_DIR:-/var/lib/ringlog}}
    while [ -n "$list" ]; do
      dir=${list%%,*}
      [ "$dir" = "$list" ] && list= || list=${list#*,}
      dir=${dir#"${dir%%[![:space:]]*}"}
      dir=${dir%"${dir##*[![:space:]]}"}
      [ -z "$dir" ] || LOG_DIRS+=("$dir")
    done
    [ -z "${CONFIG_JOURNAL:-}" ] || LOG_DIRS+=("$CONFIG_JOURNAL")
  fi
  for dir in "${LOG_DIRS[@]}"; do
    case $dir in
    /*) ;;
    *) die "log directory \"$dir\" is not an absolute path" ;;
    esac
    case $dir in *[$'\t\n']*) die "log directory $(printf %q "$dir") holds a tab or a new line" ;; esac
  done
}

# runs NAME...: whether a process of one of these names (as /proc/PID/comm has it, 15 characters) runs; REPLY is its number.
runs() {
  local path name
  for path in "$ROOT"/proc/[0-9]*/comm; do
    { IFS= read -r name <"$path"; } 2>/dev/null || continue
    case " $* " in
    *" $name "*)
      path=${path%/comm}
      REPLY=${path##*/}
      return 0
      ;;
    esac
  done
  return 1
}

# CPUs that interrupts and packets should go to, out of the CPUs named: those that no shard is pinned to, where there are
# such, else all of them. Shard i of Ringlog is pinned to the i-th CPU it may use.
cpus_for_interrupts() {
  local cpu at=0 free=() near=" $* " all=("$@")
  if [ "$SHARDS" -gt 0 ] && [ "$SHARDS" -lt "$CPUS" ]; then
    for cpu in $ONLINE; do
      [ "$at" -lt "$SHARDS" ] || case $near in *" $cpu "*) free+=("$cpu") ;; esac
      at=$((at + 1))
    done
  fi
  [ ${#free[@]} = 0 ] || all=("${free[@]}")
  REPLY=${all[*]}
}
