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
  { exists /proc/meminfo && exists /sys/devices/system/cpu; } ||
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
  { is_number "$MEMORY_KIB" && [ "$MEMORY_KIB" -gt 0 ]; } || die "${ROOT:-/}: /proc/meminfo has no MemTotal"
  get /proc/sys/kernel/osrelease || die "${ROOT:-/}: cannot read /proc/sys/kernel/osrelease"
  KERNEL=$REPLY
  get_or /proc/sys/kernel/random/boot_id unknown
  BOOT=$REPLY
}

# properties FILE KEY...: the values of these keys in PROPERTIES, by key, as the broker reads them: Java's properties
# (java.util.Properties.load) in UTF-8. A line that ends in an odd number of backslashes goes on in the next one, without the
# blanks that that begins with; a comment does not. The last of several lines for one key counts.
declare -A PROPERTIES=()
properties() {
  local file=$1 wanted=" ${*:2} " text lines line next key value at last blank=$' \t\f' pair
  pair="^(([^\\:=$blank]|\\\\.)*)[$blank]*[:=]?[$blank]*(.*)\$"
  { [ -f "$file" ] && [ -r "$file" ]; } || die "$file: cannot be read"
  IFS= read -r -d '' text <"$file"
  text=${text//$'\r\n'/$'\n'}
  mapfile -t lines <<<"${text//$'\r'/$'\n'}"
  last=$((${#lines[@]} - 1))
  for ((at = 0; at <= last; at++)); do
    line=${lines[at]#"${lines[at]%%[!$blank]*}"}
    case $line in '' | '#'* | '!'*) continue ;; esac
    while continues "$line"; do
      line=${line%\\}
      # Like the broker's reader: what is to go on and does not is no line.
      [ "$at" -lt "$last" ] || continue 2
      at=$((at + 1))
      next=${lines[at]}
      line+=${next#"${next%%[![:space:]]*}"}
    done
    [[ $line =~ $pair ]] || die "$file: not a properties file"
    value=${BASH_REMATCH[3]}
    unescaped "$file" "${BASH_REMATCH[1]}"
    key=$REPLY
    case $wanted in *" $key "*) ;; *) continue ;; esac
    unescaped "$file" "$value"
    value=${REPLY#"${REPLY%%[![:space:]]*}"}
    PROPERTIES[$key]=${value%"${value##*[![:space:]]}"}
  done
}

# continues LINE: whether an odd number of backslashes ends it.
continues() {
  local end=${1##*[!\\]}
  [ $((${#end} % 2)) = 1 ]
}

# unescaped FILE TEXT: \t \n \r \f, \uXXXX in UTF-8; any other character behind a backslash is itself.
unescaped() {
  local rest=$2 out='' code byte
  while [[ $rest == *\\* ]]; do
    out+=${rest%%\\*}
    rest=${rest#*\\}
    case $rest in
    t*) out+=$'\t' ;;
    n*) out+=$'\n' ;;
    r*) out+=$'\r' ;;
    f*) out+=$'\f' ;;
    u*)
      code=0
      ! [[ ${rest:1:4} =~ ^[0-9A-Fa-f]{4}$ ]] || code=$((16#${rest:1:4}))
      # Half of a pair of UTF-16 is none either.
      if [ "$code" = 0 ] || [ $((code >> 11)) = 27 ]; then die "$1: not a properties file: \"\\${rest:0:5}\" is no character"; fi
      for byte in $((code < 0x80 ? code : 0)) $((code >= 0x800 ? 0xe0 | code >> 12 : 0)) \
        $((code >= 0x800 ? 0x80 | code >> 6 & 63 : code >= 0x80 ? 0xc0 | code >> 6 : 0)) $((code >= 0x80 ? 0x80 | code & 63 : 0)); do
        [ "$byte" != 0 ] || continue
        printf -v byte '\\x%02x' "$byte"
        printf -v byte '%b' "$byte"
        out+=$byte
      done
      rest=${rest:4}
      ;;
    *) out+=${rest:0:1} ;;
    esac
    rest=${rest:1}
  done
  REPLY=$out$rest
}

# What the broker is told: LOG_DIRS, unless given already, with journal.dir behind them, and SHARDS (0: not told).
know_broker() {
  SHARDS=0
  local dir
  if [ -z "$CONFIG" ] && [ -r "$ROOT/etc/ringlog/server.properties" ]; then
    CONFIG=$ROOT/etc/ringlog/server.properties
  fi
  if [ -n "$CONFIG" ]; then
    properties "$CONFIG" num.shards log.dirs log.dir journal.dir
    SHARDS=${PROPERTIES[num.shards]-0}
    SHARDS=${SHARDS#+}
    is_number "$SHARDS" || die "$CONFIG: num.shards is \"$SHARDS\", not a number"
    SHARDS=$((10#$SHARDS))
  fi
  if [ ${#LOG_DIRS[@]} = 0 ]; then
    local list=${PROPERTIES[log.dirs]:-${PROPERTIES[log.dir]:-/var/lib/ringlog}}
    while [ -n "$list" ]; do
      dir=${list%%,*}
      if [ "$dir" = "$list" ]; then list=''; else list=${list#*,}; fi
      dir=${dir#"${dir%%[![:space:]]*}"}
      dir=${dir%"${dir##*[![:space:]]}"}
      [ -z "$dir" ] || LOG_DIRS+=("$dir")
    done
    [ -z "${PROPERTIES[journal.dir]:-}" ] || LOG_DIRS+=("${PROPERTIES[journal.dir]}")
  fi
  for dir in "${LOG_DIRS[@]}"; do
    case $dir in
    /*) ;;
    *) die "log directory \"$dir\" is not an absolute path" ;;
    esac
    case $dir in *[$'\t\n']*) die "log directory $(printf %q "$dir") holds a tab or a new line" ;; esac
  done
}

# usual_shards: SHARDS where the broker is not told, as src/server/run.rs has it: one for each CPU, and one where there are but two.
usual_shards() {
  [ "$SHARDS" = 0 ] || return 0
  SHARDS=$CPUS
  [ "$SHARDS" -gt 2 ] || SHARDS=1
  [ "$SHARDS" -le 1024 ] || SHARDS=1024
}

# runs NAME...: whether a process of one of these names (as /proc/PID/comm has it, 15 characters) runs; REPLY is its number.
# The names are read once for a plan: a knob that asks for each of some hundred interrupts must not read them each time.
declare -A PROCESSES=()
runs() {
  local path name
  if [ ${#PROCESSES[@]} = 0 ]; then
    PROCESSES[read]=''
    for path in "$ROOT"/proc/[0-9]*/comm; do
      { IFS= read -r name <"$path"; } 2>/dev/null || continue
      path=${path%/comm}
      # With a sign before it, since a process may be called nothing at all, or `read`.
      [ -n "${PROCESSES[=$name]:-}" ] || PROCESSES[=$name]=${path##*/}
    done
  fi
  for name; do
    REPLY=${PROCESSES[=$name]:-}
    [ -z "$REPLY" ] || return 0
  done
  return 1
}

# CPUs that interrupts and packets should go to, out of the CPUs named: those that no shard is pinned to, where there are
# such, else all of them. Shard i of Ringlog is pinned to the i-th CPU it may use.
cpus_for_interrupts() {
  local cpu at=0 free=() near=" $* " all=("$@")
  if [ "$SHARDS" -lt "$CPUS" ]; then
    for cpu in $ONLINE; do
      [ "$at" -lt "$SHARDS" ] || case $near in *" $cpu "*) free+=("$cpu") ;; esac
      at=$((at + 1))
    done
  fi
  [ ${#free[@]} = 0 ] || all=("${free[@]}")
  REPLY=${all[*]}
}
