# shellcheck shell=bash
# Sourced. What a knob is, and the plan: one row for each item (a knob at a target), with what is and what is wanted.
#
# A knob is a file in knobs/ that defines
#   describe          calls `knob`, `risk` and `from`
#   detect            calls `found [TARGET]` for each thing on this host that it applies to
#   current TARGET    puts the present value into REPLY, or fails where there is none
#   want TARGET NOW   calls one of `wants`, `fine`, `advise`, `note`
# and, where it acts itself,
#   apply TARGET NEW, undo TARGET OLD    by `put` and `run` only (act.sh), so that they can be printed as well as done
#   persist TARGET NEW                   (if it can) by `as_sysctl`, `as_udev`, `as_tmpfile`: the same for the next boot

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ONLY=()
SKIP=()

ITEMS=()
# Every item that was looked at, filtered out or not, a TAB after each.
KNOWN=
declare -A knob_at=() target_at=() now_at=() wanted_at=() status_at=() why_at=() severity_at=() risk_at=() from_at=() command_at=() title_at=() reshapes_at=()

# knob acts|advises|notes high|medium|low|info ORDER TITLE: the lower the order the earlier it is applied (and restored).
knob() {
  K_KIND=$1 K_SEVERITY=$2 K_ORDER=$3 K_TITLE=$4
}
risk() { K_RISK=$1; }
# reshapes: what this knob sets makes targets of other knobs come and go; those are planned anew after it.
reshapes() { K_RESHAPES=yes; }
# reshaped: such a knob; while one that reshapes is still to be set, it wants nothing yet.
reshaped() { K_RESHAPED=yes; }
# The item that is still to be set, and (TAB before and after each) those that could not be.
RESHAPING=
GIVEN_UP=$'\t'
# from TEXT: where the number or the rule comes from.
from() { K_FROM=$1; }

# wants VALUE WHY: this knob can set it.
wants() { W_STATUS=want W_VALUE=$1 W_WHY=$2; }
# fine WHY: nothing is wanted.
fine() { W_STATUS=ok W_VALUE='' W_WHY=$1; }
# advise WHAT WHY [COMMAND]: wanted, but for the operator to do.
advise() { W_STATUS=advice W_VALUE=$1 W_WHY=$2 W_COMMAND=${3:-}; }
# note WHY: worth knowing, nothing to do.
note() { W_STATUS=note W_VALUE='' W_WHY=$1; }
# severe LEVEL, risky TEXT: for this target, other than the knob's own.
severe() { W_SEVERITY=$1; }
risky() { W_RISK=$1; }

# at_least NOW MINIMUM WHY: never lowers.
at_least() {
  if is_number "$1" && [ "$1" -gt "$2" ]; then fine "$3"; else wants "$2" "$3"; fi
}

load_knob() {
  unset -f describe detect current want apply undo persist
  K_RISK='' K_FROM='' K_RESHAPES='' K_RESHAPED=''
  # shellcheck source=/dev/null # each of knobs/
  . "$HERE/knobs/$1"
  describe
}

# make_plan: every item that the filters let pass, in order.
make_plan() {
  local path name sorted=()
  for path in "$HERE/knobs"/*; do
    name=${path##*/}
    load_knob "$name"
    sorted+=("$(printf '%03d %s' "$K_ORDER" "$name")")
  done
  check_filters
  mapfile -t sorted < <(printf '%s\n' "${sorted[@]}" | LC_ALL=C sort)
  for name in "${sorted[@]}"; do
    KNOB=${name#* }
    load_knob "$KNOB"
    detect
  done
}

# A filter that names no knob is a slip of the pen: said, not ignored.
check_filters() {
  local filter path
  for filter in "${ONLY[@]}" "${SKIP[@]}"; do
    for path in "$HERE/knobs"/*; do
      # shellcheck disable=SC2053 # a filter is a pattern
      [[ ${path##*/} == ${filter%%:*} ]] && continue 2
    done
    die "no knob is called \"${filter%%:*}\"; tuning/check --list names them"
  done
}

# Nor one that names an item which this host does not have (of TAB-framed names that there are): of a skip above all, which
# would else let something be changed.
check_items() {
  local filter known=$1 name names=()
  IFS=$'\t' read -r -a names <<<"$known"
  for filter in "${ONLY[@]}" "${SKIP[@]}"; do
    case $filter in *:*) ;; *) continue ;; esac
    for name in "${names[@]}"; do
      # shellcheck disable=SC2053 # a filter is a pattern
      [[ $name == $filter ]] && continue 2
    done
    die "there is no item \"$filter\" here; tuning/check --all names them"
  done
}

# passes KNOB ITEM: a filter is a pattern for the knob's name, or for the item's.
passes() {
  local filter
  for filter in "${SKIP[@]}"; do
    # shellcheck disable=SC2053 # a filter is a pattern
    if [[ $1 == $filter || $2 == $filter ]]; then return 1; fi
  done
  [ ${#ONLY[@]} -gt 0 ] || return 0
  for filter in "${ONLY[@]}"; do
    # shellcheck disable=SC2053 # a filter is a pattern
    if [[ $1 == $filter || $2 == $filter ]]; then return 0; fi
  done
  return 1
}

found() {
  local target=${1:-} item=$KNOB${1:+:$1} now
  KNOWN+=$item$'\t'
  [ -z "${knob_at[$item]:-}" ] && passes "$KNOB" "$item" || return 0
  # Not on this host, or not by this kernel: no item.
  current "$target" || return 0
  now=$REPLY
  W_SEVERITY='' W_RISK='' W_COMMAND=''
  want "$target" "$now"
  [ "$W_STATUS" != want ] || [ "$W_VALUE" != "$now" ] || W_STATUS=ok
  if [ "$W_STATUS" = want ]; then
    if [ -n "$K_RESHAPES" ]; then
      case $GIVEN_UP in *$'\t'"$item"$'\t'*) ;; *) RESHAPING=$item ;; esac
    elif [ -n "$K_RESHAPED" ] && [ -n "$RESHAPING" ]; then
      note "Decided when $RESHAPING is set, which changes what there is to set here. (tuning/apply does both.)"
    fi
  fi
  ITEMS+=("$item")
  knob_at[$item]=$KNOB
  target_at[$item]=$target
  title_at[$item]=$K_TITLE
  now_at[$item]=$now
  wanted_at[$item]=$W_VALUE
  status_at[$item]=$W_STATUS
  why_at[$item]=$W_WHY
  severity_at[$item]=${W_SEVERITY:-$K_SEVERITY}
  risk_at[$item]=${W_RISK:-$K_RISK}
  from_at[$item]=$K_FROM
  command_at[$item]=$W_COMMAND
  reshapes_at[$item]=$K_RESHAPES
}

# count_status STATUS: how many items have it, in REPLY.
count_status() {
  local item count=0
  for item in "${ITEMS[@]}"; do [ "${status_at[$item]}" != "$1" ] || count=$((count + 1)); done
  REPLY=$count
}

# A fault of the shell inside a knob unwinds to the program, which must not go on with half a plan.
COMPLETE=
complete() { [ -n "$COMPLETE" ] || die "the plan could not be completed (knob ${KNOB:-none}); nothing was changed"; }

# know_all: everything that knobs may ask of, then the plan.
know_all() {
  know_host
  know_broker
  usual_shards
  walk_disks
  walk_nics
  make_plan
  check_items "$KNOWN"
  COMPLETE=yes
}

# plan_again: as the host is now.
plan_again() {
  COMPLETE='' RESHAPING=''
  ITEMS=() knob_at=() target_at=() NICS=() BONDS=() irq_names=() PROCESSES=()
  walk_nics
  make_plan
  COMPLETE=yes
}
