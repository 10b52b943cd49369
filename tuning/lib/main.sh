# shellcheck shell=bash
# Sourced by the programs, after `set -u`: the parts in order, and the options that they share.

LC_ALL=C
export LC_ALL
[ "${BASH_VERSINFO[0]}" -gt 4 ] || { [ "${BASH_VERSINFO[0]}" = 4 ] && [ "${BASH_VERSINFO[1]}" -ge 4 ]; } || {
  echo "bash 4.4 or newer is needed" >&2
  exit 2
}
lib=$(dirname "${BASH_SOURCE[0]}")
for part in host disks nics plan act print; do
  # shellcheck source=/dev/null # each of lib/
  . "$lib/$part.sh" || exit 2
done

# The comment at the head of the program, without the signs.
usage() {
  local line
  while IFS= read -r line && [[ $line == '#'* ]]; do
    line=${line#'#'}
    [[ $line == '!'* ]] || printf '%s\n' "${line# }"
  done <"$0"
  exit "$1"
}

# parse ALLOWED ARG...: the options in ALLOWED (words) set their variables; anything else is an error.
parse() {
  local allowed=" $1 " option value
  shift
  while [ $# -gt 0 ]; do
    option=$1
    shift
    case $option in
    -h | --help) usage 0 ;;
    --*=*)
      value=${option#*=}
      option=${option%%=*}
      set -- "$value" "$@"
      ;;
    esac
    case $allowed in *" $option "*) ;; *) die "unknown argument \"$option\"; --help tells what there is" ;; esac
    case $option in
    --json | --all | --list | --yes | --plan | --force | --undo | --sysctl | --udev | --tmpfiles)
      [ "${value+set}" != set ] || die "$option takes no value"
      declare -g "OPT_${option#--}=yes"
      continue
      ;;
    esac
    [ $# -gt 0 ] || die "$option needs a value"
    value=$1
    shift
    case $option in
    --root)
      [ -d "$value" ] || die "--root $value: is not a directory"
      ROOT=$(cd -- "$value" && pwd -P) || die "--root $value: cannot be entered"
      [ "$ROOT" != / ] || ROOT=
      ;;
    --config) CONFIG=$value ;;
    --log-dir) LOG_DIRS+=("$value") ;;
    --nic) NICS_ASKED+=("$value") ;;
    --only) ONLY+=("$value") ;;
    --skip) SKIP+=("$value") ;;
    --state)
      case $value in /*) STATE=$value ;; *) STATE=$PWD/$value ;; esac
      ;;
    esac
    unset value
  done
}

# The state file is the host's, unless another is named.
state_path() { [ -n "$STATE" ] || STATE=$ROOT/var/lib/ringlog-tuning/state; }

must_be_root() {
  [ -n "$ROOT" ] || [ "$(id -u)" = 0 ] || die "must be root to $1; without --yes it only tells"
}
